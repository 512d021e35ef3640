"""Notifications of S3 through the handler, as Lambda calls it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.metrics.provider.base import reset_cold_start_flag_provider

from functions.s3_trigger.app import handler
from oddsound import runtime
from oddsound.errors import InvalidJobError, StorageError
from oddsound.schemas import Job
from tests.cloud import (
    FAULTY,
    INPUT,
    NORMAL,
    TEST_EVENT,
    Cloud,
    LambdaContext,
    measured,
    notification,
    refuse,
)

Lines = Callable[[], list[dict[str, Any]]]


def test_an_upload_becomes_a_result(cloud: Cloud) -> None:
    job = cloud.put("hall 3/Lüfter+1.wav", FAULTY)
    assert handler(notification(job), LambdaContext()) is None
    result = cloud.result("hall 3/Lüfter+1.wav")
    assert result.prediction is not None
    assert result.prediction.is_anomaly is True
    assert len(cloud.alerts()) == 1


def test_the_same_event_twice_is_one_result_one_alert_and_one_prediction(
    cloud: Cloud, lines: Lines
) -> None:
    event = notification(cloud.put("fan.wav", FAULTY))
    handler(event, LambdaContext())
    handler(event, LambdaContext())
    assert len(cloud.results()) == len(cloud.alerts()) == 1
    assert measured(lines(), "Predictions") == [1]


def test_a_permanent_failure_does_not_leave_the_handler(cloud: Cloud, lines: Lines) -> None:
    handler(notification(cloud.put("models/pump/fan.wav", NORMAL)), LambdaContext())
    handler(notification(cloud.put("models/bearing/fan.wav", b"text")), LambdaContext())
    assert cloud.result("models/pump/fan.wav", "pump").status == "failed"
    said = lines()
    assert measured(said, "FailedJobs", "bearing") == [1]
    # A name that somebody made up is not a metric of its own.
    assert measured(said, "FailedJobs", "unknown") == [1]
    assert measured(said, "Predictions", "bearing") == []


def test_a_transient_failure_leaves_the_handler_and_mends(cloud: Cloud) -> None:
    event = notification(cloud.put("fan.wav", NORMAL))
    runtime.registry().get()
    refuse(runtime.s3_client(), "GetObject", 503, "SlowDown", times=1)
    with pytest.raises(StorageError, match="SlowDown"):
        handler(event, LambdaContext())
    handler(event, LambdaContext())
    assert cloud.result("fan.wav").status == "succeeded"


@pytest.mark.parametrize(
    "event",
    [
        TEST_EVENT,
        notification(Job(bucket=INPUT, key="a/")),
        notification(Job(bucket=INPUT, key="a.txt")),
    ],
)
def test_what_is_no_recording_is_skipped(cloud: Cloud, lines: Lines, event: dict[str, Any]) -> None:
    handler(event, LambdaContext())
    assert cloud.results() == []
    assert any(line.get("message", "").startswith("skipped: ") for line in lines())


def test_what_is_no_notification_leaves_the_handler(cloud: Cloud) -> None:
    with pytest.raises(InvalidJobError, match="not an S3 event notification; its keys: detail"):
        handler({"detail": {}}, LambdaContext())


def test_what_cloudwatch_is_told(cloud: Cloud, lines: Lines) -> None:
    reset_cold_start_flag_provider()  # type: ignore[no-untyped-call]  # Powertools' own gap
    for key, data in (("1.wav", NORMAL), ("2.wav", FAULTY), ("models/bearing/3.wav", FAULTY)):
        handler(notification(cloud.put(key, data)), LambdaContext())
    said = lines()
    assert measured(said, "Predictions") == [1, 1]
    assert measured(said, "Anomalies") == [0, 1]
    assert measured(said, "FailedJobs") == [0, 0]
    normal, faulty = measured(said, "AnomalyScore")
    assert normal < 0.9 <= faulty <= 1
    assert all(0 < latency < 60_000 for latency in measured(said, "PredictionLatency"))
    assert len(measured(said, "ModelLoad")) == len(measured(said, "ModelLoad", "bearing")) == 1
    emf = [line for line in said if "_aws" in line]
    assert [line["ColdStart"] for line in emf if "ColdStart" in line] == [[1.0]]
    assert [line["Received"] for line in emf if "Received" in line] == [[1.0]] * 3
    assert {line["service"] for line in emf} == {"oddsound"}


def test_the_log_is_json_with_a_correlation_id_and_no_secret(
    cloud: Cloud, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-house")
    runtime.clear()
    handler(notification(cloud.put("fan.wav", NORMAL)), LambdaContext())
    handler(notification(cloud.put("text.wav", b"password=hush")), LambdaContext())
    said = lines()
    (scored,) = [line for line in said if line.get("message") == "scored"]
    assert scored["correlation_id"] == "C3D13FE58DE4C810"
    assert scored["function_request_id"] == LambdaContext.aws_request_id
    assert scored["service"] == "oddsound"
    assert (scored["key"], scored["model"], scored["prediction"]) == ("fan.wav", "fan", "normal")
    assert any(line.get("message", "").startswith("model fan ") for line in said)
    text = str(said)
    assert "the-secret-of-the-house" not in text
    assert "hush" not in text


@pytest.mark.parametrize("function", ["s3_trigger", "sqs_trigger"])
def test_a_trigger_starts_as_lambda_starts_it_and_without_what_only_the_api_needs(
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


def test_the_library_up_to_jobs_needs_no_aws() -> None:
    code = (
        "import sys, oddsound.aws.jobs, oddsound.aws.uploads, oddsound.runtime\n"
        "names = ('boto3', 'botocore', 'aws_lambda_powertools')\n"
        "print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
