"""The whole stack on this machine: real servers, real clients, the real `aws` command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from oddsound_workbench.local import cloud as local_cloud
from oddsound_workbench.local.cloud import LocalCloud
from oddsound_workbench.synthesis import write_fan

ROOT = Path(__file__).parents[2]
POISON = '{"buckett": "misspelt"}'


@pytest.fixture(scope="module")
def cloud(trained: Path) -> Iterator[LocalCloud]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELS_REFRESH_S", "0.5")
        with local_cloud.running(ROOT / "template.yaml", trained, visibility_timeout_s=1) as it:
            yield it


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wavs")
    return {
        "normal": write_fan(folder / "normal.wav", 600, faulty=False, duration_s=2),
        "anomaly": write_fan(folder / "anomaly.wav", 601, faulty=True, duration_s=2),
    }


def aws(cloud: LocalCloud, *arguments: object) -> Any:
    """What the `aws` command prints, as JSON where there is any."""
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", cloud.endpoint_url]
    done = subprocess.run(
        [*command, "--output", "json", *map(str, arguments)],
        env=os.environ | local_cloud.CREDENTIALS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def result(cloud: LocalCloud, key: str, model: str | None = None, wait_s: float = 60) -> Any:
    """The stored result, as GET /results answers it, waited for."""
    until = time.monotonic() + wait_s
    params = {} if model is None else {"model_name": model}
    while True:
        answer = httpx2.get(f"{cloud.api_url}/results/{key}", params=params, timeout=60)
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code == 404, answer.text
        assert time.monotonic() < until, f"no result of {key}: {answer.text}"
        time.sleep(0.1)


def depth(cloud: LocalCloud, name: str) -> int:
    attributes = cloud.client("sqs").get_queue_attributes(
        QueueUrl=cloud.names[name],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(int(value) for value in attributes.values())


def settled(cloud: LocalCloud, wait_s: float = 60) -> None:
    """Waits until the jobs queue is empty.

    The two counts are taken one after the other, so a message that becomes visible between
    them is in neither; an empty queue is one found empty again and again.
    """
    until = time.monotonic() + wait_s
    empty = 0
    while empty < 5:
        empty = 0 if depth(cloud, "JobsQueue") else empty + 1
        assert time.monotonic() < until, "the jobs queue does not empty"
        time.sleep(0.1)


@pytest.mark.parametrize("verdict", ["normal", "anomaly"])
def test_a_recording_over_http(cloud: LocalCloud, wavs: dict[str, Path], verdict: str) -> None:
    files = {"file": wavs[verdict].read_bytes()}
    answer = httpx2.post(f"{cloud.api_url}/predict-anomaly", files=files, timeout=60)
    assert answer.json()["prediction"] == verdict


def test_an_upload_with_the_aws_command(cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "hall 3/fan+pump é.wav"
    aws(cloud, "s3", "cp", wavs["anomaly"], f"s3://{cloud.input_bucket}/{key}")
    found = result(cloud, key)
    assert found["status"] == "succeeded"
    assert found["prediction"]["prediction"] == "anomaly"
    assert found["key"] == key
    listed = aws(cloud, "s3", "ls", f"s3://{cloud.results_bucket}/results/fan/", "--recursive")
    assert f"results/fan/{key}.json" in listed


def test_the_key_chooses_the_model(cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "models/bearing/fan.wav"
    aws(cloud, "s3", "cp", wavs["anomaly"], f"s3://{cloud.input_bucket}/{key}")
    assert result(cloud, key)["model"] == "bearing"


def test_a_message_with_the_aws_command(cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    key = "kept-elsewhere.bin"
    aws(cloud, "s3", "cp", wavs["normal"], f"s3://{cloud.input_bucket}/{key}")
    body = json.dumps({"bucket": cloud.input_bucket, "key": key, "model_name": "bearing"})
    queue = ("--queue-url", cloud.jobs_queue_url)
    aws(cloud, "sqs", "send-message", *queue, "--message-body", body)
    found = result(cloud, key, "bearing")
    assert found["status"] == "succeeded"
    assert found["model"] == "bearing"


def test_a_recording_that_cannot_be_scored_has_a_result_too(cloud: LocalCloud) -> None:
    cloud.client("s3").put_object(Bucket=cloud.input_bucket, Key="notes.wav", Body=b"Dear fan,")
    found = result(cloud, "notes.wav")
    assert found["status"] == "failed"
    assert found["error"]["error"] == "UnsupportedAudioError"


def test_a_large_recording_takes_the_signed_way(
    cloud: LocalCloud, wavs: dict[str, Path], tmp_path: Path
) -> None:
    large = write_fan(tmp_path / "hour.wav", 602, faulty=True, duration_s=150)
    assert large.stat().st_size > 4_500_000
    answer = httpx2.post(
        f"{cloud.api_url}/predict-anomaly", files={"file": large.read_bytes()}, timeout=60
    )
    assert answer.status_code == 413
    assert "POST /uploads" in answer.json()["detail"]
    leave = httpx2.post(f"{cloud.api_url}/uploads", json={"filename": "hour.wav"}).json()
    files = {"file": large.read_bytes()}
    sent = httpx2.post(leave["url"], data=leave["fields"], files=files, timeout=60)
    assert sent.status_code in (200, 201, 204), sent.text
    found = result(cloud, leave["key"])
    assert found["prediction"]["is_anomaly"] is True
    assert len(found["prediction"]["windows"]) == 75
    assert httpx2.get(leave["result_url"]).json() == found


def test_a_poison_message_is_parked_and_its_batch_mates_are_stored(
    cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    sqs, s3 = cloud.client("sqs"), cloud.client("s3")
    keys = [f"mate-{number}.bin" for number in range(4)]
    for key in keys:
        s3.put_object(Bucket=cloud.input_bucket, Key=key, Body=wavs["normal"].read_bytes())
    bodies = [json.dumps({"bucket": cloud.input_bucket, "key": key}) for key in keys]
    entries = [
        {"Id": str(number), "MessageBody": body}
        for number, body in enumerate([*bodies[:2], POISON, *bodies[2:]])
    ]
    before = depth(cloud, "JobsDeadLetterQueue")
    sqs.send_message_batch(QueueUrl=cloud.jobs_queue_url, Entries=entries)
    assert all(result(cloud, key)["status"] == "succeeded" for key in keys)
    settled(cloud)
    assert depth(cloud, "JobsDeadLetterQueue") == before + 1
    parked = sqs.receive_message(
        QueueUrl=cloud.names["JobsDeadLetterQueue"],
        AttributeNames=["All"],
        VisibilityTimeout=0,
        MaxNumberOfMessages=10,
    )["Messages"]
    assert POISON in [message["Body"] for message in parked]


def test_of_200_messages_every_one_ends_somewhere(cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    sqs, s3 = cloud.client("sqs"), cloud.client("s3")
    sound, noise = wavs["normal"].read_bytes(), b"no recording"
    dead_before = depth(cloud, "JobsDeadLetterQueue")
    bodies, expected = [], {}
    for number in range(200):
        key = f"mixed/{number:03}.bin"
        kind = ("good", "good", "good", "broken", "unknown model", "missing", "poison")[number % 7]
        if kind == "poison":
            bodies.append("this is no JSON")
            continue
        if kind != "missing":
            body = noise if kind == "broken" else sound
            s3.put_object(Bucket=cloud.input_bucket, Key=key, Body=body)
        model = "no-such-model" if kind == "unknown model" else "fan"
        bodies.append(json.dumps({"bucket": cloud.input_bucket, "key": key, "model_name": model}))
        expected[f"results/{model}/{key}.json"] = "succeeded" if kind == "good" else "failed"
    for start in range(0, 200, 10):
        sqs.send_message_batch(
            QueueUrl=cloud.jobs_queue_url,
            Entries=[
                {"Id": str(n), "MessageBody": body}
                for n, body in enumerate(bodies[start : start + 10])
            ],
        )
    settled(cloud, wait_s=120)
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=cloud.results_bucket):
        for entry in page.get("Contents", []):
            if "/mixed/" in entry["Key"]:
                body = s3.get_object(Bucket=cloud.results_bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = json.loads(body)["status"]
    assert found == expected
    assert depth(cloud, "JobsDeadLetterQueue") - dead_before == 200 - len(expected)


def versions(cloud: LocalCloud, key: str) -> int:
    """How often a result was written; the results bucket is versioned."""
    found = cloud.client("s3").list_object_versions(
        Bucket=cloud.results_bucket, Prefix=f"results/fan/{key}.json"
    )
    return len(found.get("Versions", []))


def ask(cloud: LocalCloud, key: str, model: str = "fan", times: int = 1) -> None:
    body = json.dumps({"bucket": cloud.input_bucket, "key": key, "model_name": model})
    cloud.client("sqs").send_message_batch(
        QueueUrl=cloud.jobs_queue_url,
        Entries=[{"Id": str(number), "MessageBody": body} for number in range(times)],
    )


def test_the_same_event_twice_is_one_result(cloud: LocalCloud, wavs: dict[str, Path]) -> None:
    sound = wavs["anomaly"].read_bytes()
    cloud.client("s3").put_object(Bucket=cloud.input_bucket, Key="twice.bin", Body=sound)
    ask(cloud, "twice.bin")
    first = result(cloud, "twice.bin")
    ask(cloud, "twice.bin", times=3)
    settled(cloud)
    assert result(cloud, "twice.bin") == first
    assert versions(cloud, "twice.bin") == 1


def test_an_upload_and_a_message_at_once_are_one_result(
    cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    """Two functions, each in its own process, are told of the same recording."""
    sound = wavs["normal"].read_bytes()
    cloud.client("s3").put_object(Bucket=cloud.input_bucket, Key="at-once.wav", Body=sound)
    ask(cloud, "at-once.wav", times=5)
    assert result(cloud, "at-once.wav")["status"] == "succeeded"
    settled(cloud)
    time.sleep(1)
    assert versions(cloud, "at-once.wav") == 1


def test_the_worker_does_the_work_of_the_sqs_function(
    cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    """`oddsound worker` on a queue of its own, ended by SIGTERM."""
    sqs, s3 = cloud.client("sqs"), cloud.client("s3")
    queue_url = sqs.create_queue(QueueName="own")["QueueUrl"]
    s3.put_object(Bucket=cloud.input_bucket, Key="own.bin", Body=wavs["anomaly"].read_bytes())
    body = json.dumps({"bucket": cloud.input_bucket, "key": "own.bin"})
    sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    environment = local_cloud.CREDENTIALS | {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "RESULTS_BUCKET": cloud.results_bucket,
        "MODELS_CONFIG_PATH": f"s3://{cloud.names['ModelsBucket']}/models.json",
    }
    command = [sys.executable, "-m", "oddsound_workbench.cli", "worker", "--queue-url", queue_url]
    with subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        found = result(cloud, "own.bin")
        worker.terminate()
        _, errors = worker.communicate(timeout=30)
    assert found["prediction"]["prediction"] == "anomaly"
    assert worker.returncode == 0
    assert "Traceback" not in errors


def test_a_broken_models_json_leaves_the_old_one_serving(
    cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    s3, bucket = cloud.client("s3"), cloud.names["ModelsBucket"]
    files = {"file": wavs["normal"].read_bytes()}
    good = s3.get_object(Bucket=bucket, Key="models.json")["Body"].read()
    s3.put_object(Bucket=bucket, Key="models.json", Body=b'{"fan": ')
    try:
        until = time.monotonic() + 30
        while not httpx2.get(f"{cloud.api_url}/models", timeout=60).json()["config_error"]:
            answer = httpx2.post(f"{cloud.api_url}/predict-anomaly", files=files, timeout=60)
            assert answer.json()["prediction"] == "normal"
            assert time.monotonic() < until
        answer = httpx2.post(f"{cloud.api_url}/predict-anomaly", files=files, timeout=60)
        assert answer.json()["prediction"] == "normal"
    finally:
        s3.put_object(Bucket=bucket, Key="models.json", Body=good)
    while httpx2.get(f"{cloud.api_url}/models", timeout=60).json()["config_error"]:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_an_artifact_whose_bytes_changed_is_not_loaded(
    cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    s3, bucket = cloud.client("s3"), cloud.names["ModelsBucket"]
    good = s3.get_object(Bucket=bucket, Key="models.json")["Body"].read()
    entries = json.loads(good)
    entries["spoilt"] = entries["fan"] | {"model_path": "spoilt/model.joblib"}
    s3.put_object(Bucket=bucket, Key="spoilt/model.joblib", Body=b"other bytes")
    entries["spoilt"]["sha256"] = entries["fan"]["sha256"] | {"model_path": "0" * 64}
    s3.put_object(Bucket=bucket, Key="models.json", Body=json.dumps(entries).encode())
    time.sleep(1)
    answer = httpx2.post(
        f"{cloud.api_url}/predict-anomaly?model_name=spoilt",
        files={"file": wavs["normal"].read_bytes()},
        timeout=60,
    )
    s3.put_object(Bucket=bucket, Key="models.json", Body=good)
    assert answer.status_code == 500
    assert answer.json()["error"] == "ModelArtifactError"
    assert "is not the file that models.json describes" in answer.json()["detail"]


def test_a_new_model_is_live_without_a_restart(
    cloud: LocalCloud, trained: Path, wavs: dict[str, Path]
) -> None:
    s3 = cloud.client("s3")
    bucket = cloud.names["ModelsBucket"]
    entries = json.loads(trained.read_text())
    entries["second-fan"] = entries["fan"]
    s3.put_object(Bucket=bucket, Key="models.json", Body=json.dumps(entries).encode())
    key = "for-the-second.bin"
    s3.put_object(Bucket=cloud.input_bucket, Key=key, Body=wavs["normal"].read_bytes())
    message = {"bucket": cloud.input_bucket, "key": key, "model_name": "second-fan"}
    cloud.client("sqs").send_message(QueueUrl=cloud.jobs_queue_url, MessageBody=json.dumps(message))
    until = time.monotonic() + 60
    at = f"results/second-fan/{key}.json"
    while not s3.list_objects_v2(Bucket=cloud.results_bucket, Prefix=at)["KeyCount"]:
        assert time.monotonic() < until
        time.sleep(0.2)
    stored = json.loads(s3.get_object(Bucket=cloud.results_bucket, Key=at)["Body"].read())
    assert stored["status"] == "succeeded"


def is_gone(group: int, within_s: float = 10) -> bool:
    """Whether no process of a group is left; Python's own resource tracker ends a moment later."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_serve_stops_and_leaves_nothing_running(trained: Path, number: int) -> None:
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--models", str(trained)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = json.loads(process.stdout.readline())
    assert httpx2.get(f"{said['url']}/models", timeout=60).json()["default"] == "fan"
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the whole group gets it
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert is_gone(process.pid)
    for url in (said["url"], said["endpoint_url"]):
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(url, timeout=2)


def test_the_banner_has_a_line_to_copy_for_each_way_in(
    cloud: LocalCloud, wavs: dict[str, Path], tmp_path: Path
) -> None:
    """Every line is run as it stands, in a shell, where a recording lies as fan.wav."""
    (tmp_path / "fan.wav").write_bytes(wavs["normal"].read_bytes())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, line in local_cloud.ways_in(cloud).items():
        if name == "result":
            result(cloud, "fan.wav")
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
