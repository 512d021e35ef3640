"""An AWS in memory with buckets, a topic and models; events and contexts for the handlers."""

import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import soundfile
from botocore.awsrequest import AWSResponse, HTTPHeaders
from mangum.types import LambdaCognitoIdentity, LambdaMobileClientContext
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID

from oddsound import runtime
from oddsound.aws.results import result_key
from oddsound.schemas import Job, JobResult
from oddsound_workbench.deploy import events
from oddsound_workbench.deploy.events import notification as notification
from oddsound_workbench.synthesis import fan

REGION = "eu-central-1"
INPUT, RESULTS, MODELS = "recordings-in", "results-out", "models-here"


def recording(seed: int, *, faulty: bool = False) -> bytes:
    """Two seconds of the fan as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, fan(seed, faulty=faulty, duration_s=2), 16000, "PCM_16", format="WAV")
    return file.getvalue()


NORMAL, OTHER_NORMAL, FAULTY = recording(500), recording(502), recording(501, faulty=True)


class LambdaContext:
    """The context object of an invocation."""

    function_name = "audio-anomaly"
    function_version = "$LATEST"
    memory_limit_in_mb = 2048
    invoked_function_arn = f"arn:aws:lambda:{REGION}:123456789012:function:audio-anomaly"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"
    log_group_name = "/aws/lambda/audio-anomaly"
    log_stream_name = "2026/11/23/[$LATEST]c6af9ac67b6111e69a4193e8deadbeef"
    identity: LambdaCognitoIdentity | None = None
    client_context: LambdaMobileClientContext | None = None

    def __init__(self, remaining_ms: Callable[[], int] = lambda: 60_000) -> None:
        self.get_remaining_time_in_millis = remaining_ms


@dataclass
class Cloud:
    """The service's buckets, with versioned results, and a queue that receives every alert."""

    s3: Any
    sqs: Any
    alert_queue: str
    topic_arn: str

    def put(self, key: str, data: bytes, **metadata: str) -> Job:
        names = {name.replace("_", "-"): value for name, value in metadata.items()}
        answer = self.s3.put_object(Bucket=INPUT, Key=key, Body=data, Metadata=names)
        return Job(bucket=INPUT, key=key, etag=answer["ETag"].strip('"'))

    def result(self, key: str, model: str = "fan") -> JobResult:
        answer = self.s3.get_object(Bucket=RESULTS, Key=result_key(model, key))
        assert answer["ContentType"] == "application/json"
        return JobResult.model_validate_json(answer["Body"].read())

    def results(self) -> list[str]:
        """Keys of all results that were ever stored: one that was scored twice is listed twice.

        A result is stored again when its alert was sent; that does not count.
        """
        versions = self.s3.list_object_versions(Bucket=RESULTS).get("Versions", [])
        scored = set()
        for version in versions:
            answer = self.s3.get_object(
                Bucket=RESULTS, Key=version["Key"], VersionId=version["VersionId"]
            )
            scored.add((version["Key"], json.loads(answer["Body"].read()).get("finished_at")))
        return sorted(key for key, _ in scored)

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts since the last call."""
        found = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.alert_queue, MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(
                    QueueUrl=self.alert_queue, ReceiptHandle=message["ReceiptHandle"]
                )
        return found


def push(s3: Any, models: Path) -> None:
    """Upload the files of a models folder that a service reads to the models bucket."""
    for key, data in _read_by_services(models):
        s3.put_object(Bucket=MODELS, Key=key, Body=data)


def _read_by_services(models: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(models.parent.rglob("*")):
        if path == models or path.suffix in (".joblib", ".npz"):
            yield path.relative_to(models.parent).as_posix(), path.read_bytes()


def set_up(trained: Path, **client: Any) -> Cloud:
    """Create the resources of the stack.

    client : of which AWS, such as endpoint_url; by default moto's in this process
    """
    s3, sqs, sns = (boto3.client(name, **client) for name in ("s3", "sqs", "sns"))
    for bucket in (INPUT, RESULTS, MODELS):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=RESULTS, VersioningConfiguration={"Status": "Enabled"})
    if client:
        push(s3, trained)
    else:  # without requests, because many tests do it
        from moto.s3.models import s3_backends

        for key, data in _read_by_services(trained):
            s3_backends[ACCOUNT_ID]["aws"].put_object(MODELS, key, data)
    topic_arn = sns.create_topic(Name="anomalies")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:alerts"
    )
    return Cloud(s3, sqs, queue, topic_arn)


@pytest.fixture
def cloud(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A deployed service before its first call. After each test, /tmp must be empty."""
    tmp = tmp_path / "tmp"
    tmp.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        made = set_up(trained)
        monkeypatch.setenv("ANOMALY_TOPIC_ARN", made.topic_arn)
        runtime.clear()
        yield made
    runtime.clear()
    assert list(tmp.iterdir()) == []


ENVIRONMENT = {
    "AWS_DEFAULT_REGION": REGION,
    "AWS_MAX_ATTEMPTS": "1",
    "MODELS_CONFIG_PATH": f"s3://{MODELS}/models.json",
    "INPUT_BUCKET": INPUT,
    "RESULTS_BUCKET": RESULTS,
}


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-11-23T10:00:00.000Z",
    "Bucket": INPUT,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def from_sns(message: dict[str, Any]) -> dict[str, Any]:
    """The body in which SNS delivers a message to a queue."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": f"arn:aws:sns:{REGION}:123456789012:uploads",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(message),
        "Timestamp": "2026-11-23T10:00:00.000Z",
        "SignatureVersion": "1",
    }


def sns_event(message: dict[str, Any]) -> dict[str, Any]:
    """The event with which SNS invokes a function."""
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": from_sns(message)}
    return {"Records": [record]}


def from_event_bridge(job: Job, **more: str) -> dict[str, Any]:
    """The event of EventBridge for a new object."""
    found = {"key": job.key, "size": 64044, "etag": job.etag, "sequencer": "0055AED6DCD90281E5"}
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-23T10:00:00Z",
        "region": REGION,
        "resources": [f"arn:aws:s3:::{job.bucket}"],
        "detail": {
            "version": "0",
            "bucket": {"name": job.bucket},
            "object": found | more,
            "reason": "PutObject",
        },
    }


def failed_invocation(event: dict[str, Any]) -> dict[str, Any]:
    """What Lambda sends to the failure queue when it has tried an event three times."""
    return {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responsePayload": {"errorMessage": "SlowDown"},
    }


def batch(*bodies: str | dict[str, Any]) -> dict[str, Any]:
    """The event of an SQS batch, with message ids message-0, message-1..."""
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return events.batch({f"message-{number}": text for number, text in enumerate(texts)})


def refuse(
    client: Any, operation: str, status: int, code: str, times: int = 1000, message: str = ""
) -> None:
    """Make S3 answer the next `times` requests of this client with this error."""
    left = iter(range(times))

    def answer(**_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if next(left, None) is None:
            return None
        metadata = {"HTTPStatusCode": status}
        error = {"Error": {"Code": code, "Message": message or code}, "ResponseMetadata": metadata}
        return AWSResponse(client.meta.endpoint_url, status, HTTPHeaders(), None), error

    client.meta.events.register(f"before-call.s3.{operation}", answer)


def one_at_a_time(client: Any, before_first: Callable[[], object] = lambda: None) -> None:
    """Make conditional writes atomic: S3's are, but moto's are not atomic between threads.

    before_first : called before each write of an object that must not exist yet
    """
    write, lock = client.put_object, threading.Lock()

    def put_object(**arguments: Any) -> Any:
        if "IfNoneMatch" in arguments:
            before_first()
        with lock:
            return write(**arguments)

    client.put_object = put_object


class _Stdout:
    """The current sys.stdout: pytest replaces it for every test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


runtime.logger().logger_handler.stream = _Stdout()  # type: ignore[attr-defined]  # Powertools does not declare it


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Returns the log lines, parsed from JSON, since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def measured(lines: list[dict[str, Any]], name: str, model: str = "fan") -> list[float]:
    """The values of a metric in log lines of the Embedded Metric Format."""
    found: list[float] = []
    for line in lines:
        if "_aws" not in line or line.get("model") != model:
            continue
        (metrics,) = line["_aws"]["CloudWatchMetrics"]
        assert metrics["Namespace"] == "AudioAnomaly"
        assert sorted(metrics["Dimensions"][0]) == ["model", "service"]
        if name in [metric["Name"] for metric in metrics["Metrics"]]:
            found += line[name]
    return found
