"""Each way in to the local stack, with real servers, real clients and the real `aws` command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from oddsound_workbench.local.cloud import LocalCloud, ways_in
from oddsound_workbench.synthesis import write_fan
from tests.e2e.local_stack import aws, wait_for_result

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("label", ["normal", "anomaly"])
def test_a_recording_over_http(local_cloud: LocalCloud, wavs: dict[str, Path], label: str) -> None:
    files = {"file": wavs[label].read_bytes()}
    answer = httpx2.post(f"{local_cloud.api_url}/predict-anomaly", files=files, timeout=60)
    assert answer.json()["prediction"] == label


def test_an_upload_with_the_aws_command(local_cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "hall 3/fan+pump é.wav"
    aws(local_cloud, "s3", "cp", wavs["anomaly"], f"s3://{local_cloud.input_bucket}/{key}")
    found = wait_for_result(local_cloud, key)
    assert found["status"] == "succeeded"
    assert found["prediction"]["prediction"] == "anomaly"
    assert found["key"] == key
    listed = aws(
        local_cloud, "s3", "ls", f"s3://{local_cloud.results_bucket}/results/fan/", "--recursive"
    )
    assert f"results/fan/{key}.json" in listed


def test_the_key_chooses_the_model(local_cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "models/bearing/fan.wav"
    aws(local_cloud, "s3", "cp", wavs["anomaly"], f"s3://{local_cloud.input_bucket}/{key}")
    assert wait_for_result(local_cloud, key)["model"] == "bearing"


def test_a_message_with_the_aws_command(local_cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "kept-elsewhere.bin"
    aws(local_cloud, "s3", "cp", wavs["normal"], f"s3://{local_cloud.input_bucket}/{key}")
    body = json.dumps({"bucket": local_cloud.input_bucket, "key": key, "model_name": "bearing"})
    queue = ("--queue-url", local_cloud.jobs_queue_url)
    aws(local_cloud, "sqs", "send-message", *queue, "--message-body", body)
    found = wait_for_result(local_cloud, key, "bearing")
    assert found["status"] == "succeeded"
    assert found["model"] == "bearing"


def test_a_recording_that_cannot_be_scored_has_a_result(local_cloud: LocalCloud) -> None:
    local_cloud.client("s3").put_object(
        Bucket=local_cloud.input_bucket, Key="notes.wav", Body=b"Dear fan,"
    )
    found = wait_for_result(local_cloud, "notes.wav")
    assert found["status"] == "failed"
    assert found["error"]["error"] == "UnsupportedAudioError"


def test_a_large_recording_is_sent_by_a_presigned_upload(
    local_cloud: LocalCloud, wavs: dict[str, Path], tmp_path: Path
) -> None:
    large = write_fan(tmp_path / "hour.wav", 602, faulty=True, duration_s=150)
    assert large.stat().st_size > 4_500_000
    answer = httpx2.post(
        f"{local_cloud.api_url}/predict-anomaly", files={"file": large.read_bytes()}, timeout=60
    )
    assert answer.status_code == 413
    assert "POST /uploads" in answer.json()["detail"]
    upload = httpx2.post(f"{local_cloud.api_url}/uploads", json={"filename": "hour.wav"}).json()
    files = {"file": large.read_bytes()}
    sent = httpx2.post(upload["url"], data=upload["fields"], files=files, timeout=60)
    assert sent.status_code in (200, 201, 204), sent.text
    found = wait_for_result(local_cloud, upload["key"])
    assert found["prediction"]["is_anomaly"] is True
    assert len(found["prediction"]["windows"]) == 75
    assert httpx2.get(upload["result_url"]).json() == found


def test_each_line_of_the_banner_can_be_run(
    local_cloud: LocalCloud, wavs: dict[str, Path], tmp_path: Path
) -> None:
    """Every line is run unchanged in a shell, in a folder that contains fan.wav."""
    (tmp_path / "fan.wav").write_bytes(wavs["normal"].read_bytes())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, line in ways_in(local_cloud).items():
        if name == "result":
            wait_for_result(local_cloud, "fan.wav")
        done = subprocess.run(
            line,
            shell=True,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        if name in ("HTTP", "result"):
            assert '"prediction":"normal"' in done.stdout.replace(": ", ":")
