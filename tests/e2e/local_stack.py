"""Helpers for the tests of the local stack."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.local.cloud import LocalCloud

ARCHIVE = "archive"


def aws(local_cloud: LocalCloud, *arguments: object) -> Any:
    """Run the `aws` command. Returns its output, parsed if it is JSON."""
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", local_cloud.endpoint_url]
    done = subprocess.run(
        [*command, "--output", "json", *map(str, arguments)],
        env=os.environ | CREDENTIALS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def wait_for_result(
    local_cloud: LocalCloud, key: str, model: str | None = None, wait_s: float = 60
) -> Any:
    """Wait for a result, and until its alert is sent. Returns the answer of GET /results."""
    deadline = time.monotonic() + wait_s
    params = {} if model is None else {"model_name": model}
    while True:
        answer = httpx2.get(f"{local_cloud.api_url}/results/{key}", params=params, timeout=60)
        if answer.status_code == 200:
            found = answer.json()
            if found["alert"] is None or found["alert"]["status"] == "sent":
                return found
        else:
            assert answer.status_code == 404, answer.text
        assert time.monotonic() < deadline, f"no result of {key}: {answer.text}"
        time.sleep(0.1)


def queue_depth(local_cloud: LocalCloud, name: str) -> int:
    """Messages in the queue with this logical id, whether visible or not."""
    attributes = local_cloud.client("sqs").get_queue_attributes(
        QueueUrl=local_cloud.names[name],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(int(value) for value in attributes.values())


def wait_until_empty(local_cloud: LocalCloud, wait_s: float = 60) -> None:
    """Wait until the jobs queue is empty.

    The two counts are taken one after the other, so a message that becomes visible in between
    is in neither of them. The queue counts as empty after five counts of zero in a row.
    """
    deadline = time.monotonic() + wait_s
    empty = 0
    while empty < 5:
        empty = 0 if queue_depth(local_cloud, "JobsQueue") else empty + 1
        assert time.monotonic() < deadline, "the jobs queue does not empty"
        time.sleep(0.1)


def versions(local_cloud: LocalCloud, key: str) -> int:
    """How many results were stored: one that is stored again when its alert was sent is one."""
    s3, bucket = local_cloud.client("s3"), local_cloud.results_bucket
    found = s3.list_object_versions(Bucket=bucket, Prefix=f"results/fan/{key}.json")
    stored = [
        s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        for version in found.get("Versions", [])
    ]
    return len({json.loads(answer["Body"].read())["finished_at"] for answer in stored})


def archive(local_cloud: LocalCloud, key: str, body: bytes) -> str:
    """Store an object in a bucket whose uploads trigger nothing. Returns the bucket."""
    s3 = local_cloud.client("s3")
    region = {"LocationConstraint": CREDENTIALS["AWS_DEFAULT_REGION"]}
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=ARCHIVE, CreateBucketConfiguration=region)
    s3.put_object(Bucket=ARCHIVE, Key=key, Body=body)
    return ARCHIVE


def request_score(
    local_cloud: LocalCloud, key: str, model: str = "fan", times: int = 1, bucket: str | None = None
) -> None:
    """Send `times` equal messages for one recording to the jobs queue."""
    where = bucket or local_cloud.input_bucket
    body = json.dumps({"bucket": where, "key": key, "model_name": model})
    local_cloud.client("sqs").send_message_batch(
        QueueUrl=local_cloud.jobs_queue_url,
        Entries=[{"Id": str(number), "MessageBody": body} for number in range(times)],
    )
