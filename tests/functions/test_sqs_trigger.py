"""The handler for SQS batches, called as Lambda calls it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.sqs_trigger.app import handler
from oddsound import runtime
from oddsound.schemas import Job
from tests.cloud import (
    FAULTY,
    INPUT,
    MODELS,
    NORMAL,
    OTHER_NORMAL,
    TEST_EVENT,
    Cloud,
    LambdaContext,
    batch,
    from_event_bridge,
    from_sns,
    measured,
    notification,
    push,
    refuse,
)

pytestmark = pytest.mark.slow

Lines = Callable[[], list[dict[str, Any]]]


def message(job: Job, **more: str) -> dict[str, str]:
    return {"bucket": job.bucket, "key": job.key, **more}


def failed(event: dict[str, Any], context: LambdaContext | None = None) -> list[str]:
    """Ids of the messages that the handler returns to the queue."""
    answer = handler(event, context or LambdaContext())
    assert set(answer) == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_every_kind_of_message_produces_a_result(cloud: Cloud) -> None:
    one, two = cloud.put("a+b c.wav", NORMAL), cloud.put("2.wav", OTHER_NORMAL)
    three, four = cloud.put("drei über.wav", FAULTY), cloud.put("models/bearing/4.wav", NORMAL)
    event = batch(
        message(one),
        message(two, model_name="bearing"),
        from_sns(notification(three)),
        from_event_bridge(four),
        from_sns(TEST_EVENT),
        TEST_EVENT,
    )
    assert failed(event) == []
    assert cloud.results() == [
        "results/bearing/2.wav.json",
        "results/bearing/models/bearing/4.wav.json",
        "results/fan/a+b c.wav.json",
        "results/fan/drei über.wav.json",
    ]
    assert len(cloud.alerts()) == 1


def test_only_failed_messages_are_returned_to_the_queue(cloud: Cloud, lines: Lines) -> None:
    good, unknown = cloud.put("good.wav", NORMAL), cloud.put("models/pump/x.wav", NORMAL)
    event = batch(
        "hush, no JSON",
        message(good),
        {"bucket": INPUT},
        message(unknown),
        message(Job(bucket="no where", key="x.wav")),
        message(Job(bucket=INPUT, key="gone.wav")),
    )
    assert failed(event) == ["message-0", "message-2", "message-4"]
    assert cloud.result("good.wav").status == "succeeded"
    assert cloud.result(unknown.key, "pump").status == "failed"
    assert cloud.result("gone.wav").status == "failed"
    logged = lines()
    reasons = {
        line["correlation_id"]: f"{line['exception_name']}: {line['exception']}"
        for line in logged
        if "exception" in line
    }
    assert set(reasons) == {"message-0", "message-2", "message-4"}
    assert "the message is not JSON" in reasons["message-0"]
    assert "key: Field required" in reasons["message-2"]
    assert "StorageError" in reasons["message-4"]
    assert "hush" not in str(logged)
    (scored,) = [line for line in logged if line.get("message") == "scored"]
    assert scored["correlation_id"] == "message-1"


def test_if_all_messages_fail_all_are_returned(cloud: Cloud) -> None:
    assert failed(batch("{", "[]", "0")) == ["message-0", "message-1", "message-2"]


def test_a_duplicate_message_in_a_batch_is_scored_once(cloud: Cloud, lines: Lines) -> None:
    job = cloud.put("fan.wav", FAULTY)
    assert failed(batch(message(job), message(job), notification(job))) == []
    assert len(cloud.results()) == len(cloud.alerts()) == 1
    assert measured(lines(), "Predictions") == [1]


def test_a_poison_message_does_not_repeat_the_other_messages(cloud: Cloud) -> None:
    good = [message(cloud.put(f"{number}.wav", NORMAL)) for number in range(2)]
    event = batch(good[0], "poison", good[1])
    assert [failed(event) for _ in range(3)] == [["message-1"]] * 3
    assert len(cloud.results()) == 2


def test_a_partially_failed_notification_is_returned_as_a_whole(cloud: Cloud) -> None:
    broken = Job(bucket="no where", key="x.wav", etag="1")
    good = cloud.put("good.wav", FAULTY)
    event = batch(notification(broken, good))
    assert failed(event) == failed(event) == ["message-0"]
    assert len(cloud.results()) == len(cloud.alerts()) == 1


def test_a_batch_that_runs_out_of_time_returns_the_remaining_messages(
    cloud: Cloud, lines: Lines
) -> None:
    event = batch(*(message(cloud.put(f"{number}.wav", NORMAL)) for number in range(4)))
    remaining = iter([60_000, 15_001, 14_999, 14_000])
    assert failed(event, LambdaContext(lambda: next(remaining))) == ["message-2", "message-3"]
    assert len(cloud.results()) == 2
    assert "not started: 14999 ms remain, 15000 ms are reserved" in str(lines())
    assert failed(event) == []
    assert len(cloud.results()) == 4


def test_the_first_message_is_always_started(cloud: Cloud) -> None:
    event = batch(*(message(cloud.put(f"{number}.wav", NORMAL)) for number in range(2)))
    assert failed(event, LambdaContext(lambda: 3_000)) == ["message-1"]


def test_a_message_is_returned_if_s3_throttles(cloud: Cloud) -> None:
    event = batch(*(message(cloud.put(f"{number}.wav", NORMAL)) for number in range(2)))
    refuse(runtime.s3_client(), "HeadObject", 503, "SlowDown", times=1)
    assert failed(event) == ["message-0"]
    assert failed(event) == []
    assert len(cloud.results()) == 2


def test_a_model_with_a_wrong_checksum_fails_only_its_own_messages(
    cloud: Cloud, trained: Path
) -> None:
    key = json.loads(trained.read_text())["fan"]["compiled_path"]
    cloud.s3.put_object(Bucket=MODELS, Key=key, Body=b"other bytes")
    job = cloud.put("fan.wav", NORMAL)
    event = batch(message(job), message(job, model_name="bearing"))
    assert failed(event) == ["message-0"]
    push(cloud.s3, trained)
    assert failed(event) == []
    assert cloud.results() == ["results/bearing/fan.wav.json", "results/fan/fan.wav.json"]


def test_an_invalid_models_json_does_not_stop_the_processing(
    cloud: Cloud, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_REFRESH_S", "0")
    runtime.clear()
    assert failed(batch(message(cloud.put("1.wav", NORMAL)))) == []
    cloud.s3.put_object(Bucket=MODELS, Key="models.json", Body=b"{")
    assert failed(batch(message(cloud.put("2.wav", NORMAL)))) == []
    assert len(cloud.results()) == 2
    assert any(
        line.get("level") == "ERROR" and "the previous one stays" in line["message"]
        for line in lines()
    )
