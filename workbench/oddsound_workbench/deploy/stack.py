"""Commands of make for a deployed stack: settings, outputs, redrive, empty.

    python -m oddsound_workbench.deploy.stack architecture|region dev
    python -m oddsound_workbench.deploy.stack output dev ModelsBucketName
    python -m oddsound_workbench.deploy.stack redrive|empty dev
    python -m oddsound_workbench.deploy.stack as dev ModelsWriterRoleArn oddsound push s3://...

`dev` is an environment of samconfig.toml. Credentials are found as boto3 finds them; `as` runs a
command with those of a role that is an output of the stack.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from oddsound_workbench.files import SAMCONFIG

MODELS_WRITER = "ModelsWriterRoleArn"
"""The output with the role that may write to the bucket of the models."""


@dataclass(frozen=True)
class Stack:
    """An environment of samconfig.toml."""

    name: str
    region: str
    architecture: str

    @classmethod
    def of(cls, environment: str, samconfig: Path = SAMCONFIG) -> "Stack":
        """The stack of an environment. Raises SystemExit if samconfig.toml does not have it."""
        config = tomllib.loads(samconfig.read_text())
        known = sorted(name for name in config if name not in ("version", "default"))
        if environment not in known:
            raise SystemExit(f"{samconfig.name} has no {environment!r}; it has {', '.join(known)}")
        deploy = config[environment]["deploy"]["parameters"]
        overrides = dict(pair.split("=", 1) for pair in deploy["parameter_overrides"])
        return cls(deploy["stack_name"], deploy["region"], overrides.get("Architecture", "x86_64"))

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """A boto3 client for the region of the stack. credentials : as `assume` returns them"""
        given: Any = {name.lower(): value for name, value in (credentials or {}).items()}
        return boto3.client(service, region_name=self.region, **given)

    def assume(self, output: str) -> dict[str, str]:
        """Credentials, as environment variables, of a role whose ARN is an output of the stack."""
        answer = self.client("sts").assume_role(
            RoleArn=self.outputs()[output], RoleSessionName="oddsound"
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": answer["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": answer["SecretAccessKey"],
            "AWS_SESSION_TOKEN": answer["SessionToken"],
        }

    def outputs(self) -> dict[str, str]:
        """The outputs of the deployed stack by name."""
        stacks = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {found["OutputKey"]: found["OutputValue"] for found in stacks[0]["Outputs"]}


def redrive(stack: Stack) -> tuple[int, int, int]:
    """Move failed jobs and failed uploads to the jobs queue, to be processed again.

    SQS's own redrive (StartMessageMoveTask) is not used: it cannot convert the events in the
    failure queue, and it returns before anything is known about the messages.

    Returns the number of jobs, of uploads, and of other messages, which stay where they are.
    """
    sqs, outputs = stack.client("sqs"), stack.outputs()
    target = outputs["JobsQueueUrl"]
    jobs, _ = _move(sqs, outputs["JobsDeadLetterQueueUrl"], target, lambda body: body)
    uploads, others = _move(sqs, outputs["FailureQueueUrl"], target, upload_of)
    return jobs, uploads, others


def upload_of(body: str) -> str | None:
    """The S3 notification in an event of the failure queue; None if there is none."""
    try:
        return json.dumps(json.loads(body)["requestPayload"])
    except (ValueError, KeyError, TypeError):
        return None


def _move(
    sqs: Any, source: str, target: str, convert: Callable[[str], str | None]
) -> tuple[int, int]:
    """Move all messages that `convert` returns a body for. Returns how many moved and stayed."""
    moved, stayed = 0, set()
    for message in _messages(sqs, source):
        if (body := convert(message["Body"])) is None:
            stayed.add(message["MessageId"])
            continue
        # Send before deleting: an interrupted redrive may duplicate a message, but loses none.
        sqs.send_message(QueueUrl=target, MessageBody=body)
        sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    return moved, len(stayed)


def _messages(sqs: Any, queue: str) -> Iterator[Any]:
    """Every message of the queue; each stays hidden from other consumers for five minutes."""
    while found := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=300, WaitTimeSeconds=1
    ).get("Messages"):
        yield from found


def empty(stack: Stack, ask: Callable[[str], str] = input) -> None:
    """Delete all versions of all objects: CloudFormation deletes only empty buckets.

    Raises SystemExit if the answer is not the stack's name.
    """
    buckets = [name for key, name in stack.outputs().items() if key.endswith("BucketName")]
    print(f"This deletes all versions of all recordings, results and models of {stack.name}:")
    print(*(f"  {bucket}" for bucket in buckets), sep="\n")
    if ask("Type the name of the stack to continue: ") != stack.name:
        raise SystemExit("Nothing was deleted.")
    for bucket in buckets:
        # Only its own role may delete what is in the bucket of the models.
        is_models = bucket == stack.outputs().get("ModelsBucketName")
        s3 = stack.client("s3", stack.assume(MODELS_WRITER) if is_models else None)
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            if objects:
                s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})


def main(command: str, environment: str, *rest: str) -> None:
    """Run one command. Raises SystemExit if messages remain or the user declines."""
    stack = Stack.of(environment)
    if command == "redrive":
        jobs, uploads, others = redrive(stack)
        print(f"Moved to the jobs queue: {jobs} jobs, {uploads} uploads.")
        if others:
            raise SystemExit(f"Other messages in the failure queue, which stay there: {others}.")
    elif command == "as":
        environment_of = os.environ | stack.assume(rest[0]) | {"AWS_DEFAULT_REGION": stack.region}
        environment_of.pop("AWS_PROFILE", None)  # it would replace the credentials
        raise SystemExit(subprocess.run(rest[1:], env=environment_of, check=False).returncode)
    elif command == "empty":
        empty(stack)
    elif command == "output":
        print(stack.outputs()[rest[0]])
    else:
        print({"architecture": stack.architecture, "region": stack.region}[command])


if __name__ == "__main__":
    main(*sys.argv[1:])
