"""`oddsound worker` beside faults of SQS and S3."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from oddsound import runtime
from oddsound.errors import StorageError
from oddsound.schemas import Job
from oddsound_workbench.local import poller, worker
from tests.cloud import INPUT, NORMAL, OTHER_NORMAL
from tests.faults.conftest import Broken
from tests.faults.proxy import half_body, refusal, reset

pytestmark = pytest.mark.slow

type Start = Callable[..., threading.Thread]


@pytest.fixture
def queue(broken: Broken) -> str:
    """A queue whose messages are received at most once before they are parked."""
    sqs = broken.cloud.sqs
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 1}
    attributes = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "30"}
    return str(sqs.create_queue(QueueName="jobs", Attributes=attributes)["QueueUrl"])


@pytest.fixture
def start(broken: Broken, queue: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Runs the worker in a thread until the test ends."""
    monkeypatch.setattr(poller, "POLL_S", 0)
    monkeypatch.setattr(worker, "START_DELAYS_S", (0,))
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def start(batch_size: int = 1) -> threading.Thread:
        sqs = boto3.client("sqs", endpoint_url=broken.proxy.url)
        arguments = (sqs, queue, batch_size, stopped)
        threads.append(threading.Thread(target=worker.work, args=arguments))
        threads[-1].start()
        return threads[-1]

    yield start
    stopped.set()
    for thread in threads:
        thread.join(30)


def send(broken: Broken, queue: str, *jobs: Job) -> None:
    for job in jobs:
        body = json.dumps({"bucket": job.bucket, "key": job.key})
        broken.cloud.sqs.send_message(QueueUrl=queue, MessageBody=body)


def wait_for(broken: Broken, keys: list[str]) -> None:
    done = threading.Event()
    for _ in range(300):
        if broken.cloud.results() == keys:
            return
        done.wait(0.05)
    raise AssertionError(f"stored: {broken.cloud.results()}, expected {keys}")


def test_the_worker_waits_for_aws_when_it_starts(
    broken: Broken, queue: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    broken.proxy.on("GET", "/models.json", reset, times=7)
    broken.proxy.on("POST", "GetQueueAttributes", refusal(503), times=4)
    send(broken, queue, broken.cloud.put("fan.wav", NORMAL))
    thread = start()
    wait_for(broken, ["results/fan/fan.wav.json"])
    assert thread.is_alive()
    assert "AWS does not answer; next attempt" in caplog.text


def test_the_worker_ends_at_the_start_if_only_a_change_of_settings_helps(
    broken: Broken, queue: str
) -> None:
    broken.proxy.on("GET", "/models.json", refusal(403), times=99)
    sqs = boto3.client("sqs", endpoint_url=broken.proxy.url)
    with pytest.raises(StorageError, match=r"models\.json: (AccessDenied|403)"):
        worker.work(sqs, queue, 1, threading.Event())
    broken.proxy.heal()
    with pytest.raises(ClientError, match=r"NonExistentQueue|does not exist"):
        worker.work(sqs, f"{queue}-gone", 1, threading.Event())


def test_the_worker_stops_while_it_waits_for_aws(broken: Broken, queue: str) -> None:
    stopped = threading.Event()
    stopped.set()
    worker.work(boto3.client("sqs", endpoint_url=broken.proxy.url), queue, 1, stopped)
    assert broken.proxy.requests == []


def test_a_message_is_fetched_only_when_it_can_be_begun(
    broken: Broken, queue: str, start: Start
) -> None:
    """The first recording ends the worker's interest in others: none of them was received."""
    jobs = [broken.cloud.put("1.wav", NORMAL), broken.cloud.put("2.wav", OTHER_NORMAL)]
    send(broken, queue, *jobs)
    begun, go_on = threading.Event(), threading.Event()
    process = runtime.jobs().process

    def slow(job: Job) -> Any:
        begun.set()
        assert go_on.wait(30)
        return process(job)

    runtime.jobs().process = slow  # type: ignore[method-assign]
    start()
    assert begun.wait(30)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = broken.cloud.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    assert found["Attributes"] == {names[0]: "1", names[1]: "1"}
    go_on.set()
    wait_for(broken, ["results/fan/1.wav.json", "results/fan/2.wav.json"])


def test_a_broken_connection_costs_no_second_receive(
    broken: Broken, queue: str, start: Start
) -> None:
    send(broken, queue, broken.cloud.put("fan.wav", NORMAL))
    broken.proxy.on("GET", f"/{INPUT}/fan.wav", half_body, times=2)
    start()
    wait_for(broken, ["results/fan/fan.wav.json"])
