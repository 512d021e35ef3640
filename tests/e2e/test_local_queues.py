"""Failing, repeated and concurrent jobs in the local stack; `oddsound worker`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.local.cloud import LocalCloud
from tests.e2e.local_stack import (
    ARCHIVE,
    archive,
    queue_depth,
    request_score,
    versions,
    wait_for_result,
    wait_until_empty,
)

pytestmark = pytest.mark.slow

INVALID = '{"buckett": "misspelt"}'
KINDS = ("good", "good", "good", "broken", "unknown model", "missing", "invalid")
MESSAGES = 10 * len(KINDS)
"""In seven batches, each with another selection of the kinds."""


def test_an_invalid_message_is_parked_and_the_rest_of_its_batch_is_stored(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    sqs = local_cloud.client("sqs")
    keys = [f"mate-{number}.wav" for number in range(4)]
    for key in keys:
        archive(local_cloud, key, wavs["normal"].read_bytes())
    bodies = [json.dumps({"bucket": ARCHIVE, "key": key}) for key in keys]
    entries = [
        {"Id": str(number), "MessageBody": body}
        for number, body in enumerate([*bodies[:2], INVALID, *bodies[2:]])
    ]
    before = queue_depth(local_cloud, "JobsDeadLetterQueue")
    sqs.send_message_batch(QueueUrl=local_cloud.jobs_queue_url, Entries=entries)
    assert all(wait_for_result(local_cloud, key)["status"] == "succeeded" for key in keys)
    wait_until_empty(local_cloud)
    assert queue_depth(local_cloud, "JobsDeadLetterQueue") == before + 1
    parked = sqs.receive_message(
        QueueUrl=local_cloud.names["JobsDeadLetterQueue"],
        AttributeNames=["All"],
        VisibilityTimeout=0,
        MaxNumberOfMessages=10,
    )["Messages"]
    assert INVALID in [message["Body"] for message in parked]


def test_each_of_many_messages_is_either_stored_or_parked(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    sqs, s3 = local_cloud.client("sqs"), local_cloud.client("s3")
    sound, noise = wavs["normal"].read_bytes(), b"not a recording"
    dead_before = queue_depth(local_cloud, "JobsDeadLetterQueue")
    bodies, expected = [], {}
    for number in range(MESSAGES):
        key = f"mixed/{number:03}.wav"
        kind = KINDS[number % len(KINDS)]
        if kind == "invalid":
            bodies.append("this is not JSON")
            continue
        if kind != "missing":
            body = noise if kind == "broken" else sound
            archive(local_cloud, key, body)
        model = "no-such-model" if kind == "unknown model" else "fan"
        bodies.append(json.dumps({"bucket": ARCHIVE, "key": key, "model_name": model}))
        expected[f"results/{model}/{key}.json"] = "succeeded" if kind == "good" else "failed"
    for start in range(0, MESSAGES, 10):
        sqs.send_message_batch(
            QueueUrl=local_cloud.jobs_queue_url,
            Entries=[
                {"Id": str(n), "MessageBody": body}
                for n, body in enumerate(bodies[start : start + 10])
            ],
        )
    wait_until_empty(local_cloud, wait_s=120)
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=local_cloud.results_bucket):
        for entry in page.get("Contents", []):
            if "/mixed/" in entry["Key"]:
                stored = s3.get_object(Bucket=local_cloud.results_bucket, Key=entry["Key"])
                found[entry["Key"]] = json.loads(stored["Body"].read())["status"]
    assert found == expected
    assert queue_depth(local_cloud, "JobsDeadLetterQueue") - dead_before == MESSAGES - len(expected)


def test_the_same_event_twice_gives_one_result(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    sound = wavs["anomaly"].read_bytes()
    bucket = archive(local_cloud, "twice.bin", sound)
    request_score(local_cloud, "twice.bin", bucket=bucket)
    first = wait_for_result(local_cloud, "twice.bin")
    request_score(local_cloud, "twice.bin", times=3, bucket=bucket)
    wait_until_empty(local_cloud)
    assert wait_for_result(local_cloud, "twice.bin") == first
    assert versions(local_cloud, "twice.bin") == 1


def test_an_upload_and_a_message_at_the_same_time_give_one_result(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    """Two functions, each in its own process, receive the same recording."""
    sound = wavs["normal"].read_bytes()
    local_cloud.client("s3").put_object(
        Bucket=local_cloud.input_bucket, Key="at-once.wav", Body=sound
    )
    request_score(local_cloud, "at-once.wav", times=5)
    assert wait_for_result(local_cloud, "at-once.wav")["status"] == "succeeded"
    wait_until_empty(local_cloud)
    time.sleep(1)
    assert versions(local_cloud, "at-once.wav") == 1


def test_the_worker_replaces_the_sqs_function(
    local_cloud: LocalCloud, wavs: dict[str, Path]
) -> None:
    """`oddsound worker` polls a separate queue until SIGTERM."""
    sqs = local_cloud.client("sqs")
    queue_url = sqs.create_queue(QueueName="own")["QueueUrl"]
    bucket = archive(local_cloud, "own.bin", wavs["anomaly"].read_bytes())
    body = json.dumps({"bucket": bucket, "key": "own.bin"})
    sqs.send_message(QueueUrl=queue_url, MessageBody=body)
    environment = CREDENTIALS | {
        "AWS_ENDPOINT_URL": local_cloud.endpoint_url,
        "RESULTS_BUCKET": local_cloud.results_bucket,
        "MODELS_CONFIG_PATH": f"s3://{local_cloud.names['ModelsBucket']}/models.json",
    }
    command = [sys.executable, "-m", "oddsound_workbench.cli", "worker", "--queue-url", queue_url]
    with subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            found = wait_for_result(local_cloud, "own.bin")
        finally:  # otherwise a failure would wait for ever for the end of the worker
            worker.terminate()
        _, errors = worker.communicate(timeout=30)
    assert found["prediction"]["prediction"] == "anomaly"
    assert worker.returncode == 0
    assert "Traceback" not in errors
