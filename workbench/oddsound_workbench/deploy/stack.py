"""What make asks of a deployed stack: its settings, its outputs, a redrive, emptying it.

    python -m oddsound_workbench.deploy.stack architecture|region dev
    python -m oddsound_workbench.deploy.stack output dev ModelsBucketName
    python -m oddsound_workbench.deploy.stack redrive|empty dev

`dev` is an environment of samconfig.toml. The credentials are those of boto3.
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from oddsound_workbench.files import SAMCONFIG


@dataclass(frozen=True)
class Stack:
    """An environment of samconfig.toml."""

    name: str
    region: str
    architecture: str

    @classmethod
    def of(cls, environment: str, samconfig: Path = SAMCONFIG) -> "Stack":
        """Raises SystemExit where samconfig.toml has no such environment."""
        config = tomllib.loads(samconfig.read_text())
        known = sorted(name for name in config if name not in ("version", "default"))
        if environment not in known:
            raise SystemExit(f"{samconfig.name} has no {environment!r}; it has {', '.join(known)}")
        deploy = config[environment]["deploy"]["parameters"]
        overrides = dict(pair.split("=", 1) for pair in deploy["parameter_overrides"])
        return cls(deploy["stack_name"], deploy["region"], overrides.get("Architecture", "x86_64"))

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name=self.region)

    def outputs(self) -> dict[str, str]:
        """What the template's Outputs are, in the account."""
        stacks = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {found["OutputKey"]: found["OutputValue"] for found in stacks[0]["Outputs"]}


def redrive(stack: Stack) -> tuple[int, int, int]:
    """Send what failed to the jobs queue, to be tried again.

    Returns how many jobs, how many uploads, and how many messages that are neither: they stay.
    """
    sqs, outputs = stack.client("sqs"), stack.outputs()
    jobs = outputs["JobsQueueUrl"]
    from_jobs, _ = _move(sqs, outputs["JobsDeadLetterQueueUrl"], jobs, lambda body: body)
    uploads, strange = _move(sqs, outputs["FailureQueueUrl"], jobs, upload_of)
    return from_jobs, uploads, strange


def upload_of(body: str) -> str | None:
    """The S3 notification in what Lambda parked; the jobs queue takes it as it is."""
    try:
        return json.dumps(json.loads(body)["requestPayload"])
    except (ValueError, KeyError, TypeError):
        return None


def _move(sqs: Any, source: str, target: str, body_of: Callable[[str], str | None]) -> Any:
    moved, strange = 0, set()
    for message in _messages(sqs, source):
        if (body := body_of(message["Body"])) is None:
            strange.add(message["MessageId"])
            continue
        # Sent before it is deleted: a redrive that is stopped doubles a message, and loses none.
        sqs.send_message(QueueUrl=target, MessageBody=body)
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved, len(strange)


def _messages(sqs: Any, queue: str) -> Iterator[Any]:
    """Every message that the queue has, hidden from others for five minutes."""
    while found := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=300, WaitTimeSeconds=1
    ).get("Messages"):
        yield from found


def empty(stack: Stack, ask: Callable[[str], str] = input) -> None:
    """Delete every object, in all its versions: CloudFormation deletes no bucket that has any.

    Raises SystemExit where the answer is not the stack's name.
    """
    buckets = [name for key, name in stack.outputs().items() if key.endswith("BucketName")]
    print(f"Every recording, result and model of {stack.name} will be deleted, with its versions:")
    print(*(f"  {bucket}" for bucket in buckets), sep="\n")
    if ask("Type the name of the stack to go on: ") != stack.name:
        raise SystemExit("Nothing was deleted.")
    s3 = stack.client("s3")
    for bucket in buckets:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            doomed = [{"Key": of["Key"], "VersionId": of["VersionId"]} for of in found]
            if doomed:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})


def main(command: str, environment: str, *rest: str) -> None:
    stack = Stack.of(environment)
    if command == "redrive":
        jobs, uploads, strange = redrive(stack)
        print(f"{jobs} jobs and {uploads} uploads are tried again.")
        if strange:
            raise SystemExit(f"{strange} messages of the failure queue are no uploads; they stay.")
    elif command == "empty":
        empty(stack)
    elif command == "output":
        print(stack.outputs()[rest[0]])
    else:
        print({"architecture": stack.architecture, "region": stack.region}[command])


if __name__ == "__main__":
    main(*sys.argv[1:])
