"""`oddsound serve`: its end, its next start, and what it prepares for `sam local invoke`."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from oddsound_workbench.deploy import events
from oddsound_workbench.files import EVENTS, TEMPLATE
from oddsound_workbench.local import cloud, containers, unscored
from oddsound_workbench.local.aws import aws_client
from oddsound_workbench.local.cloud import LocalCloud
from tests import fake_docker
from tests.e2e.local_stack import wait_for_result

pytestmark = pytest.mark.slow


def is_gone(group: int, timeout_s: float = 10) -> bool:
    """Whether all processes of a group have ended; Python's resource tracker ends last."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def only_pump(trained: Path, tmp_path: Path) -> Path:
    """A models.json with a single model, which the template does not name as its default."""
    folder = shutil.copytree(trained.parent, tmp_path / "models")
    models = folder / "models.json"
    models.write_text(json.dumps({"pump": json.loads(trained.read_text())["fan"]}))
    return models


@contextmanager
def serving(models: Path, data: Path, stop: signal.Signals) -> Iterator[LocalCloud]:
    """Run `oddsound serve`; at the end, stop it by a signal, which must end all its processes."""
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--data", str(data), "--models", str(models)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        printed = json.loads(process.stdout.readline())
        url = printed.pop("url")
        yield LocalCloud(**printed)
        if stop == signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does: to the whole group
        else:
            process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert is_gone(process.pid)
        for each in (url, printed["endpoint_url"]):
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(each, timeout=2)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def test_serve_stops_with_all_of_its_processes_and_goes_on_after_a_restart(
    only_pump: Path, wavs: dict[str, Path], tmp_path: Path
) -> None:
    key = "hall-3/pump-07/2026-11-23T10-00-00.wav"
    path = "/machines/hall-3/pump-07"
    data = tmp_path / "data"
    with serving(only_pump, data, signal.SIGTERM) as local:
        assert httpx2.get(f"{local.api_url}/models", timeout=60).json()["default"] == "pump"
        sound = wavs["anomaly"].read_bytes()
        answer = httpx2.post(
            f"{local.api_url}/predict-anomaly", files={"file": sound}, timeout=60
        ).json()
        assert (answer["model_name"], answer["prediction"]) == ("pump", "anomaly")
        local.client("s3").put_object(Bucket=local.input_bucket, Key=key, Body=events.recording())
        result = wait_for_result(local, key)
        assert result["model"] == "pump"
        history = wait_for(f"{local.api_url}{path}/history", lambda body: body["rows"])
    # Uploaded, and stopped before it was scored.
    later = key.replace("10-00", "11-00")
    with closing(sqlite3.connect(data / cloud.OBJECTS)) as objects:
        objects.execute(
            "INSERT INTO objects SELECT bucket, ?, etag, modified, metadata, content FROM objects"
            " WHERE key = ?",
            (later, key),
        )
        objects.commit()
    buckets = (local.input_bucket, local.results_bucket)
    assert unscored.unscored(data / cloud.OBJECTS, *buckets) == [later]
    with serving(only_pump, data, signal.SIGINT) as local:
        resumed = wait_for_result(local, later)
        assert resumed["prediction"]["prediction"] == result["prediction"]["prediction"]
        rows = wait_for(f"{local.api_url}{path}/history", lambda body: len(body["rows"]) > 1)
        assert [row["key"] for row in rows["rows"]] == [later, key]
        assert rows["rows"][1:] == history["rows"]
        machine = httpx2.get(f"{local.api_url}{path}", timeout=60).json()
        assert machine["last_recorded_at"] == "2026-11-23T11:00:00Z"
        assert httpx2.get(f"{local.api_url}/results/{key}", timeout=60).json() == result
        stored = local.client("s3").get_object(Bucket=local.input_bucket, Key=key)
        assert stored["Body"].read() == events.recording()
    assert unscored.unscored(data / cloud.OBJECTS, *buckets) == []


def test_the_stack_can_be_prepared_for_sam_local_invoke(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_docker.install(tmp_path, [{"Subnet": "127.0.0.0/8", "Gateway": ""}])
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "env.json"
    with cloud.running(TEMPLATE, trained, env_vars_path=path) as local:
        variables = json.loads(path.read_text())
        assert set(variables) == {"ApiFunction", "S3TriggerFunction", "SqsTriggerFunction"}
        assert {function["RESULTS_BUCKET"] for function in variables.values()} == {
            local.results_bucket
        }
        (url,) = {function["AWS_ENDPOINT_URL"] for function in variables.values()}
        assert urlsplit(url).hostname == containers.HOST_NAME
        # On this machine, the name has the address of the bridge, here 127.0.0.1.
        s3 = aws_client("s3", f"http://127.0.0.1:{urlsplit(url).port}")
        stored = s3.get_object(Bucket=events.INPUT_BUCKET, Key=events.KEY)
        assert stored["Body"].read() == events.recording()
        assert s3.list_objects_v2(Bucket=local.results_bucket)["KeyCount"] == 0
        # The event that the user passes to sam names this bucket and this content.
        record = json.loads((EVENTS / "s3_put.json").read_text())["Records"][0]["s3"]
        assert record["bucket"]["name"] == local.input_bucket
        assert record["object"]["eTag"] == stored["ETag"].strip('"')


def test_without_docker_the_stack_is_not_started_for_containers(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "env.json"
    with (
        pytest.raises(containers.ContainerError, match="docker cannot be run"),
        cloud.running(TEMPLATE, trained, env_vars_path=path),
    ):
        pass
    assert not path.exists()


def wait_for(url: str, done: Callable[[Any], Any], timeout_s: float = 30) -> Any:
    """The answer of a URL as soon as it is 200 and complete: a row is stored after its result."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = httpx2.get(url, timeout=60)
        if answer.status_code == 200 and done(answer.json()):
            return answer.json()
        time.sleep(0.1)
    raise AssertionError(f"{url}: {answer.text}")
