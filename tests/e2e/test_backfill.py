"""`oddsound backfill` against the local stack: moto's engine runs the template's state machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.local.cloud import LocalCloud
from tests.e2e.local_stack import archive, versions, wait_for_result


def backfill(local_cloud: LocalCloud, *arguments: str) -> tuple[int, Any]:
    """Run the command. Returns its exit code and its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "oddsound_workbench.cli", "backfill", "--json", *arguments],
        env=os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": local_cloud.endpoint_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_object_under_a_prefix_is_scored_once(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    normal, anomaly = wavs["normal"].read_bytes(), wavs["anomaly"].read_bytes()
    keys = ("old/hall 1/a+b.wav", "old/Lüfter.wav")
    bucket = archive(local_cloud, keys[0], anomaly)
    archive(local_cloud, keys[1], normal)
    archive(local_cloud, "old/broken.wav", b"not a recording")
    archive(local_cloud, "old/notes.txt", b"a text")
    archive(local_cloud, "other/c.wav", normal)
    code, first = backfill(local_cloud, "--prefix", "old/", "--bucket", bucket)
    assert code == 1, "one recording is broken"
    assert (first["objects"], first["scored"], first["anomalies"]) == (4, 2, 1)
    assert (first["unreadable"], first["skipped"]) == ({"UnsupportedAudioError": 1}, 1)
    assert (first["unfinished"], first["stopped_because"]) == (0, None)
    for key, prediction in zip(keys, ("anomaly", "normal"), strict=True):
        assert wait_for_result(local_cloud, key)["prediction"]["prediction"] == prediction
    other = httpx2.get(f"{local_cloud.api_url}/results/other/c.wav", timeout=60)
    assert other.status_code == 404
    code, again = backfill(local_cloud, "--prefix", "old/", "--bucket", bucket)
    assert code == 1
    assert {**first, "execution": None, "outcomes": None} == {
        **again,
        "execution": None,
        "outcomes": None,
    }
    assert [versions(local_cloud, key) for key in keys] == [1, 1]
