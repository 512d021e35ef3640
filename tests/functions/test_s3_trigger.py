"""The handler for S3 event notifications, called as Lambda calls it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.metrics.provider.base import reset_cold_start_flag_provider
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler
from oddsound import formats, runtime
from oddsound.errors import InvalidJobError, StorageError
from oddsound.schemas import Job
from tests.cloud import (
    FAULTY,
    INPUT,
    NORMAL,
    TEST_EVENT,
    Cloud,
    LambdaContext,
    from_event_bridge,
    measured,
    notification,
    refuse,
    sns_event,
)

pytestmark = pytest.mark.slow

Lines = Callable[[], list[dict[str, Any]]]


def test_an_upload_produces_a_result_and_an_alert(cloud: Cloud) -> None:
    job = cloud.put("hall 3/Lüfter+1.wav", FAULTY)
    (outcome,) = handler(notification(job), LambdaContext())
    assert outcome == {
        "key": "hall 3/Lüfter+1.wav",
        "model": "fan",
        "status": "succeeded",
        "is_anomaly": True,
        "error": None,
    }
    result = cloud.result("hall 3/Lüfter+1.wav")
    assert result.prediction is not None
    assert result.prediction.is_anomaly is True
    assert len(cloud.alerts()) == 1


def test_an_upload_is_scored_whichever_service_brings_its_event(cloud: Cloud) -> None:
    jobs = [cloud.put(f"a+b {number}.wav", NORMAL) for number in range(3)]
    handler(sns_event(notification(jobs[0])), LambdaContext())
    handler(from_event_bridge(jobs[1]), LambdaContext())
    handler(sns_event(from_event_bridge(jobs[2])), LambdaContext())
    handler(sns_event(TEST_EVENT), LambdaContext())
    assert cloud.results() == [f"results/fan/{job.key}.json" for job in jobs]


def test_a_duplicate_event_produces_one_result_one_alert_and_one_prediction(
    cloud: Cloud, lines: Lines
) -> None:
    event = notification(cloud.put("fan.wav", FAULTY))
    handler(event, LambdaContext())
    handler(event, LambdaContext())
    assert len(cloud.results()) == len(cloud.alerts()) == 1
    assert measured(lines(), "Predictions") == [1]


def test_a_permanent_failure_is_stored_and_not_raised(cloud: Cloud, lines: Lines) -> None:
    handler(notification(cloud.put("models/pump/fan.wav", NORMAL)), LambdaContext())
    handler(notification(cloud.put("models/bearing/fan.wav", b"text")), LambdaContext())
    assert cloud.result("models/pump/fan.wav", "pump").status == "failed"
    logged = lines()
    assert measured(logged, "FailedJobs", "bearing") == [1]
    # An unknown model name must not create a new metric dimension.
    assert measured(logged, "FailedJobs", "unknown") == [1]
    assert measured(logged, "Predictions", "bearing") == []


def test_a_transient_failure_is_raised_and_the_retry_succeeds(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_MODEL_NAME", "fan")  # otherwise models.json is read first
    runtime.clear()
    event = notification(cloud.put("fan.wav", NORMAL))
    runtime.registry().get()
    refuse(runtime.s3_client(), "GetObject", 503, "SlowDown", times=1)
    with pytest.raises(StorageError, match="SlowDown"):
        handler(event, LambdaContext())
    handler(event, LambdaContext())
    assert cloud.result("fan.wav").status == "succeeded"


@pytest.mark.parametrize(
    "event",
    [TEST_EVENT, notification(Job(bucket=INPUT, key="a.wav"), name="ObjectRemoved:Delete")],
)
def test_events_without_an_object_are_skipped(
    cloud: Cloud, lines: Lines, event: dict[str, Any]
) -> None:
    handler(event, LambdaContext())
    assert cloud.results() == []
    assert any(line.get("message", "").startswith("skipped: ") for line in lines())


@pytest.mark.parametrize(
    ("key", "data", "found"),
    [
        ("reports/", b"", "it is empty"),
        ("empty", b"", "it is empty"),
        ("notes.txt", b"pump 7, Monday", "it begins with b'pump 7, '"),
        ("models/pump/wav", b"\xff\xfep\0u\0m\0p\0", "it begins with b'\\xff\\xfep"),
        ("photo.heic", b"\0\0\0\x18ftypheic", "it begins with"),
    ],
)
def test_an_object_that_is_no_recording_is_skipped_and_the_result_says_so(
    cloud: Cloud, lines: Lines, key: str, data: bytes, found: str
) -> None:
    handler(notification(cloud.put(key, data)), LambdaContext())
    client = TestClient(app)
    body = client.get(f"/results/{key}").json()
    assert (body["status"], body["prediction"]) == ("skipped", None)
    assert body["error"]["error"] == "NotARecordingError"
    assert (
        f"neither its name nor its content is that of a recording: {found}"
        in (body["error"]["detail"])
    )
    logged = lines()
    assert measured(logged, "SkippedObjects", "unknown") == [1]
    assert measured(logged, "FailedJobs") == measured(logged, "FailedJobs", "unknown") == []
    assert any(line.get("message", "").startswith("skipped: ") for line in logged)


@pytest.mark.parametrize("key", ["fan", "fan.dat", "folder/", ".wav", "a.wav.json"])
def test_a_recording_is_scored_whatever_its_name_is(cloud: Cloud, key: str) -> None:
    handler(notification(cloud.put(key, NORMAL)), LambdaContext())
    assert cloud.result(key).status == "succeeded"


M4A = b"\0\0\0\x1cftypM4A \0\0\x02\0M4A isomiso2\0\0\0\x20moov\0\0\0\x18stsd" + bytes(12) + b"mp4a"


@pytest.mark.parametrize(
    ("key", "data", "error", "words"),
    [
        ("phone.m4a", M4A, "UnsupportedAudioError", "this is an MP4/M4A (AAC) file, which needs"),
        ("phone", M4A, "UnsupportedAudioError", "convert it to WAV or FLAC first"),
        ("fan.webm", b"text", "UnsupportedAudioError", "this is not a recording: it begins with"),
        ("fan.amr", b"", "InvalidAudioError", "the file is empty (0 bytes)"),
        ("fan", NORMAL[:44], "InvalidAudioError", "contains no audio (0 frames)"),
    ],
)
def test_a_recording_that_cannot_be_read_by_name_or_content_gives_a_failed_result(
    cloud: Cloud,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    data: bytes,
    error: str,
    words: str,
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda _: None)  # as on AWS
    handler(notification(cloud.put(key, data)), LambdaContext())
    result = cloud.result(key)
    assert (result.status, result.error and result.error.error) == ("failed", error)
    assert result.error is not None
    assert words in result.error.detail
    assert measured(lines(), "FailedJobs") == [1]


def test_an_event_that_is_not_a_notification_raises_an_error(cloud: Cloud) -> None:
    with pytest.raises(InvalidJobError, match="about new objects on S3; its keys: detail"):
        handler({"detail": {}}, LambdaContext())


def test_the_metrics_for_cloudwatch(cloud: Cloud, lines: Lines) -> None:
    reset_cold_start_flag_provider()  # type: ignore[no-untyped-call]  # Powertools' own gap
    for key, data in (("1.wav", NORMAL), ("2.wav", FAULTY), ("models/bearing/3.wav", FAULTY)):
        handler(notification(cloud.put(key, data)), LambdaContext())
    logged = lines()
    assert measured(logged, "Predictions") == [1, 1]
    assert measured(logged, "Anomalies") == [0, 1]
    assert measured(logged, "FailedJobs") == [0, 0]
    normal, faulty = measured(logged, "AnomalyScore")
    assert normal < 0.9 <= faulty <= 1
    assert all(0 < latency < 60_000 for latency in measured(logged, "PredictionLatency"))
    assert len(measured(logged, "ModelLoad")) == len(measured(logged, "ModelLoad", "bearing")) == 1
    emf = [line for line in logged if "_aws" in line]
    assert [line["ColdStart"] for line in emf if "ColdStart" in line] == [[1.0]]
    assert [line["Received"] for line in emf if "Received" in line] == [[1.0]] * 3
    assert {line["service"] for line in emf} == {"oddsound"}


def test_the_log_is_json_with_correlation_ids_and_without_secrets(
    cloud: Cloud, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-house")
    runtime.clear()
    handler(notification(cloud.put("fan.wav", NORMAL)), LambdaContext())
    handler(notification(cloud.put("text.wav", b"password=hush")), LambdaContext())
    logged = lines()
    (scored,) = [line for line in logged if line.get("message") == "scored"]
    assert scored["correlation_id"] == "C3D13FE58DE4C810"
    assert scored["function_request_id"] == LambdaContext.aws_request_id
    assert scored["service"] == "oddsound"
    assert (scored["key"], scored["model"], scored["prediction"]) == ("fan.wav", "fan", "normal")
    assert any(line.get("message", "").startswith("model fan ") for line in logged)
    text = str(logged)
    assert "the-secret-of-the-house" not in text
    assert "hush" not in text


@pytest.mark.slow
@pytest.mark.parametrize("function", ["s3_trigger", "sqs_trigger"])
def test_a_trigger_starts_without_the_packages_that_only_the_api_needs(
    function: str,
) -> None:
    root = Path(__file__).parents[2]
    code = (
        "import sys, app\n"
        "assert app.handler\n"
        "names = ('fastapi', 'starlette', 'mangum', 'boto3', 'librosa.display', 'workbench')\n"
        "print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root / "functions" / function,
        env={"PATH": "", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.strip() == "[]"


@pytest.mark.slow
def test_jobs_and_uploads_are_imported_without_boto3_or_powertools() -> None:
    code = (
        "import sys, oddsound.aws.jobs, oddsound.aws.uploads, oddsound.runtime\n"
        "names = ('boto3', 'botocore', 'aws_lambda_powertools')\n"
        "print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
