"""The pollers have Lambda's semantics for queues and uploads, tested with moto's SQS."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound_workbench.local import poller
from oddsound_workbench.local.poller import NotificationPoller, QueuePoller

pytestmark = pytest.mark.slow

ARN = "arn:aws:sqs:us-east-1:123456789012:jobs"


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(poller, "POLL_S", 0)
    with mock_aws():
        yield boto3.client("sqs")


@pytest.fixture
def dead(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName="dead")["QueueUrl"])


@pytest.fixture
def jobs(sqs: Any, dead: str) -> str:
    policy = {"deadLetterTargetArn": ARN.replace("jobs", "dead"), "maxReceiveCount": 3}
    attributes = {"VisibilityTimeout": "1", "RedrivePolicy": json.dumps(policy)}
    return str(sqs.create_queue(QueueName="jobs", Attributes=attributes)["QueueUrl"])


def bodies(sqs: Any, queue_url: str) -> list[str]:
    answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [message["Body"] for message in answer.get("Messages", [])]


def poll_for(queue: QueuePoller, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not queue.poll_once():
            time.sleep(0.1)


def test_a_successful_message_is_deleted_and_a_failing_one_is_retried_then_parked(
    sqs: Any, jobs: str, dead: str
) -> None:
    attempts: list[str] = []

    def handler(event: dict[str, Any]) -> Any:
        attempts.extend(record["body"] for record in event["Records"])
        failed = [r["messageId"] for r in event["Records"] if r["body"] == "poison"]
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}

    for body in ("good", "poison", "better"):
        sqs.send_message(QueueUrl=jobs, MessageBody=body)
    poll_for(QueuePoller(sqs, jobs, ARN, handler), 5)
    assert attempts.count("poison") == 3
    assert attempts.count("good") == attempts.count("better") == 1
    assert bodies(sqs, jobs) == []
    assert bodies(sqs, dead) == ["poison"]


def test_if_the_handler_raises_the_whole_batch_stays_in_the_queue(sqs: Any, jobs: str) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("out of memory")

    sqs.send_message(QueueUrl=jobs, MessageBody="first")
    assert QueuePoller(sqs, jobs, ARN, broken).poll_once() == 1
    seen: list[str] = []
    time.sleep(1.1)
    QueuePoller(sqs, jobs, ARN, lambda e: seen.extend(r["body"] for r in e["Records"])).poll_once()
    assert seen == ["first"]


def test_messages_stay_hidden_while_their_batch_is_processed(
    sqs: Any, jobs: str, dead: str
) -> None:
    """The batch takes longer than the visibility timeout of one second."""
    for body in "abc":
        sqs.send_message(QueueUrl=jobs, MessageBody=body)
    extended = threading.Semaphore(0)
    sqs.meta.events.register(
        "after-call.sqs.ChangeMessageVisibilityBatch", lambda **_: extended.release()
    )
    begun: list[int] = []

    def slow(event: dict[str, Any]) -> None:
        begun.append(len(event["Records"]))
        for _ in range(5):
            assert extended.acquire(timeout=10)
        assert bodies(sqs, jobs) == []

    QueuePoller(sqs, jobs, ARN, slow).poll_once()
    assert begun == [3]
    time.sleep(1.1)
    assert bodies(sqs, jobs) == bodies(sqs, dead) == []


def test_messages_that_were_not_begun_return_at_once_when_polling_stops(
    sqs: Any, jobs: str
) -> None:
    for body in "abc":
        sqs.send_message(QueueUrl=jobs, MessageBody=body)
    stopped = threading.Event()
    begun: list[str] = []

    def handler(event: dict[str, Any]) -> None:
        begun.extend(record["body"] for record in event["Records"])
        stopped.set()

    QueuePoller(sqs, jobs, ARN, handler, one_by_one=True).run(stopped)
    assert len(begun) == 1
    assert sorted(begun + bodies(sqs, jobs)) == ["a", "b", "c"]


def test_a_record_has_the_form_of_lambda(sqs: Any, jobs: str) -> None:
    events: list[dict[str, Any]] = []
    attributes = {"trace": {"DataType": "String", "StringValue": "7"}}
    sqs.send_message(QueueUrl=jobs, MessageBody="{}", MessageAttributes=attributes)
    QueuePoller(sqs, jobs, ARN, events.append).poll_once()
    (record,) = events[0]["Records"]
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == ARN
    assert record["awsRegion"] == "us-east-1"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["trace"]["stringValue"] == "7"


@pytest.mark.parametrize(("failures", "given_up"), [(0, False), (2, False), (3, True)])
def test_an_upload_is_attempted_three_times_then_parked(
    sqs: Any, dead: str, failures: int, given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "RETRY_DELAYS_S", (0, 0))
    url = sqs.create_queue(QueueName="notifications")["QueueUrl"]
    upload = {"Records": [{"s3": {"object": {"key": "a.wav"}}}]}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Event": "s3:TestEvent"}))
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(upload))
    attempts: list[Any] = []
    stopped = threading.Event()

    def handler(event: Any) -> None:
        attempts.append(event)
        if len(attempts) <= failures:
            raise RuntimeError("SlowDown")

    notifications = NotificationPoller(sqs, url, ARN, handler, retries=2, failure_queue_url=dead)
    thread = threading.Thread(target=notifications.run, args=(stopped,))
    thread.start()
    time.sleep(1.5)
    stopped.set()
    thread.join(timeout=10)
    assert attempts == [upload] * min(failures + 1, 3)
    parked = [json.loads(body) for body in bodies(sqs, dead)]
    assert len(parked) == given_up
    if given_up:
        assert parked[0]["requestPayload"] == upload
        assert parked[0]["requestContext"]["condition"] == "RetriesExhausted"
        assert parked[0]["requestContext"]["approximateInvokeCount"] == 3
        assert "SlowDown" in parked[0]["responsePayload"]["errorMessage"]
