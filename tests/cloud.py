"""AWS in memory: the buckets, the topic, the models; and what Lambda hands to a handler."""

import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
import soundfile
from botocore.awsrequest import AWSResponse, HTTPHeaders
from moto import mock_aws

from oddsound import runtime
from oddsound.aws.results import result_key
from oddsound.schemas import Job, JobResult
from oddsound_workbench.synthesis import fan

INPUT, RESULTS, MODELS = "recordings-in", "results-out", "models-here"


def recording(seed: int, *, faulty: bool = False) -> bytes:
    """Two seconds of the fan as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, fan(seed, faulty=faulty, duration_s=2), 16000, "PCM_16", format="WAV")
    return file.getvalue()


NORMAL, OTHER_NORMAL, FAULTY = recording(500), recording(502), recording(501, faulty=True)


class LambdaContext:
    """What a handler is told of its call."""

    function_name = "audio-anomaly"
    function_version = "$LATEST"
    memory_limit_in_mb = 2048
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:audio-anomaly"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def __init__(self, remaining_ms: Callable[[], int] = lambda: 60_000) -> None:
        self.get_remaining_time_in_millis = remaining_ms


@dataclass
class Cloud:
    """Buckets of the service, versioned results, and a queue that hears of every alert."""

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
        """Keys of all results, one for each time that one was written."""
        versions = self.s3.list_object_versions(Bucket=RESULTS).get("Versions", [])
        return sorted(version["Key"] for version in versions)

    def alerts(self) -> list[dict[str, Any]]:
        """Those that came since the last look."""
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
    """The files of a models folder into the models bucket."""
    for path in models.parent.rglob("*"):
        if path.is_file():
            key = path.relative_to(models.parent).as_posix()
            s3.put_object(Bucket=MODELS, Key=key, Body=path.read_bytes())


def set_up(trained: Path, **client: Any) -> Cloud:
    """Everything that the stack has, made anew."""
    s3, sqs, sns = (boto3.client(name, **client) for name in ("s3", "sqs", "sns"))
    for bucket in (INPUT, RESULTS, MODELS):
        s3.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
    s3.put_bucket_versioning(Bucket=RESULTS, VersioningConfiguration={"Status": "Enabled"})
    push(s3, trained)
    topic_arn = sns.create_topic(Name="anomalies")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    sns.subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint="arn:aws:sqs:eu-central-1:123456789012:alerts"
    )
    return Cloud(s3, sqs, queue, topic_arn)


@pytest.fixture
def cloud(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A deployed service, cold. Whatever happens in a test, /tmp must be empty after it."""
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
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_MAX_ATTEMPTS": "1",
    "MODELS_CONFIG_PATH": f"s3://{MODELS}/models.json",
    "INPUT_BUCKET": INPUT,
    "RESULTS_BUCKET": RESULTS,
}


def notification(*jobs: Job, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """What S3 sends when these objects were created."""
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-central-1",
                "eventTime": "2026-11-23T10:00:00.000Z",
                "eventName": name,
                "userIdentity": {"principalId": "AWS:AIDAEXAMPLE"},
                "requestParameters": {"sourceIPAddress": "192.0.2.1"},
                "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "id-2"},
                "s3": {
                    "s3SchemaVersion": "1.0",
                    "configurationId": "recordings",
                    "bucket": {"name": job.bucket, "arn": f"arn:aws:s3:::{job.bucket}"},
                    "object": {
                        "key": quote_plus(job.key, safe="/"),
                        "size": 64044,
                        "eTag": job.etag,
                        "sequencer": "0055AED6DCD90281E5",
                    },
                },
            }
            for job in jobs
        ]
    }


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-11-23T10:00:00.000Z",
    "Bucket": INPUT,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}


def batch(*bodies: str | dict[str, Any]) -> dict[str, Any]:
    """What Lambda hands on of a queue; the messages are called message-0, message-1..."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:jobs",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def refuse(client: Any, operation: str, status: int, code: str, times: int = 1000) -> None:
    """Let S3 answer so, the next `times` that this client asks."""
    left = iter(range(times))

    def answer(**_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        if next(left, None) is None:
            return None
        metadata = {"HTTPStatusCode": status}
        error = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": metadata}
        return AWSResponse(client.meta.endpoint_url, status, HTTPHeaders(), None), error

    client.meta.events.register(f"before-call.s3.{operation}", answer)


def one_at_a_time(client: Any, before: Callable[[], object] = lambda: None) -> None:
    """Conditional writes that are atomic, as S3's are and moto's, between threads, are not."""
    write, lock = client.put_object, threading.Lock()

    def put_object(**arguments: Any) -> Any:
        before()
        with lock:
            return write(**arguments)

    client.put_object = put_object


class _Stdout:
    """What is sys.stdout at the moment: pytest has another one for every test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


runtime.logger().logger_handler.stream = _Stdout()  # type: ignore[attr-defined]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Gives what a function wrote to its log since the last look; every line is JSON."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def measured(lines: list[dict[str, Any]], name: str, model: str = "fan") -> list[float]:
    """The values of a metric, from lines of Embedded Metric Format."""
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
