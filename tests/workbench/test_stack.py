"""The commands of make for a deployed stack, tested with moto's account."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound.schemas import Job
from oddsound_workbench.deploy import events
from oddsound_workbench.deploy.stack import Stack, empty, main, redrive
from oddsound_workbench.files import SAMCONFIG

pytestmark = pytest.mark.slow

TEMPLATE = {
    "Resources": {
        "Jobs": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "jobs"}},
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead"}},
        "Failures": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "failures"}},
        "Results": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "results-here"}},
        "Models": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "models-here"}},
        "Writer": {
            "Type": "AWS::IAM::Role",
            "Properties": {"RoleName": "writer", "AssumeRolePolicyDocument": {}},
        },
    },
    "Outputs": {
        "JobsQueueUrl": {"Value": {"Ref": "Jobs"}},
        "JobsDeadLetterQueueUrl": {"Value": {"Ref": "Dead"}},
        "FailureQueueUrl": {"Value": {"Ref": "Failures"}},
        "ResultsBucketName": {"Value": {"Ref": "Results"}},
        "ModelsBucketName": {"Value": {"Ref": "Models"}},
        "ModelsWriterRoleArn": {"Value": {"Fn::GetAtt": ["Writer", "Arn"]}},
    },
}


@pytest.fixture
def stack() -> Iterator[Stack]:
    made = Stack.of("dev")
    with mock_aws():
        made.client("cloudformation").create_stack(
            StackName=made.name, TemplateBody=json.dumps(TEMPLATE)
        )
        yield made


def bodies(stack: Stack, output: str) -> list[str]:
    sqs = stack.client("sqs")
    found = sqs.receive_message(QueueUrl=stack.outputs()[output], MaxNumberOfMessages=10)
    return [message["Body"] for message in found.get("Messages", [])]


def send(stack: Stack, output: str, body: str) -> None:
    stack.client("sqs").send_message(QueueUrl=stack.outputs()[output], MessageBody=body)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_an_environment_is_one_of_samconfig(environment: str) -> None:
    assert Stack.of(environment) == Stack(f"audio-anomaly-{environment}", "eu-west-1", "x86_64")


def test_the_error_for_an_unknown_environment_lists_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="no 'test'; it has dev, prod"):
        Stack.of("test")


def test_the_architecture_is_read_from_samconfig(tmp_path: Path) -> None:
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(SAMCONFIG.read_text().replace("Architecture=x86_64", "Architecture=arm64"))
    assert Stack.of("prod", samconfig).architecture == "arm64"


def test_redrive_moves_jobs_and_uploads_to_the_jobs_queue_and_keeps_other_messages(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = events.notification(Job(bucket="b", key="hall 1/fan.wav", etag="0" * 32))
    parked = {"version": "1.0", "requestPayload": upload, "responsePayload": {"errorType": "x"}}
    for number in range(12):
        send(stack, "JobsDeadLetterQueueUrl", f'{{"bucket": "b", "key": "{number}.wav"}}')
    send(stack, "FailureQueueUrl", json.dumps(parked))
    send(stack, "FailureQueueUrl", "this is not JSON")
    with pytest.raises(
        SystemExit, match="Other messages in the failure queue, which stay there: 1"
    ):
        main("redrive", "dev")
    assert "Moved to the jobs queue: 12 jobs, 1 uploads" in capsys.readouterr().out
    found: list[Any] = []
    while more := bodies(stack, "JobsQueueUrl"):
        found += map(json.loads, more)
    assert len(found) == 13
    assert upload in found
    assert redrive(stack)[:2] == (0, 0)


def test_all_versions_are_deleted_and_only_after_the_name_of_the_stack_is_typed(
    stack: Stack,
) -> None:
    s3: Any = boto3.client("s3", region_name=stack.region)
    s3.put_bucket_versioning(Bucket="results-here", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"1", b"2"):
        s3.put_object(Bucket="results-here", Key="results/fan/a.wav.json", Body=body)
    s3.delete_object(Bucket="results-here", Key="results/fan/a.wav.json")
    with pytest.raises(SystemExit, match="Nothing was deleted"):
        empty(stack, lambda _: "y")
    assert len(s3.list_object_versions(Bucket="results-here")["Versions"]) == 2
    empty(stack, lambda _: stack.name)
    found = s3.list_object_versions(Bucket="results-here")
    assert not {"Versions", "DeleteMarkers"} & set(found)
    s3.delete_bucket(Bucket="results-here")


def test_the_bucket_of_the_models_is_emptied_with_its_role(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3: Any = boto3.client("s3", region_name=stack.region)
    for bucket in ("results-here", "models-here"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    deleted: list[tuple[str, bool]] = []
    made = Stack.client

    def client(self: Stack, service: str, credentials: Any = None) -> Any:
        one = made(self, service, credentials)

        def on_delete(params: Any, **_: Any) -> None:
            deleted.append((params["Bucket"], credentials is not None))

        if service == "s3":
            one.meta.events.register("provide-client-params.s3.DeleteObjects", on_delete)
        return one

    monkeypatch.setattr(Stack, "client", client)
    empty(stack, lambda _: stack.name)
    assert sorted(deleted) == [("models-here", True), ("results-here", False)]


def test_a_command_runs_with_the_credentials_of_a_role(
    stack: Stack, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setattr(Stack, "assume", lambda _, output: {"AWS_SESSION_TOKEN": output})
    program = "import os; print([os.environ.get(n) for n in ('AWS_PROFILE', 'AWS_SESSION_TOKEN')])"
    with pytest.raises(SystemExit) as ended:
        main("as", "dev", "ModelsWriterRoleArn", sys.executable, "-c", f"{program}; exit(7)")
    assert ended.value.code == 7
    assert capfd.readouterr().out == "[None, 'ModelsWriterRoleArn']\n"


def test_the_credentials_of_a_role_are_temporary(stack: Stack) -> None:
    credentials = stack.assume("ModelsWriterRoleArn")
    assert sorted(credentials) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ]
    caller = stack.client("sts", credentials).get_caller_identity()
    assert ":assumed-role/writer/oddsound" in caller["Arn"]


def test_the_settings_that_make_reads(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    main("architecture", "dev")
    main("region", "dev")
    main("output", "dev", "ResultsBucketName")
    assert capsys.readouterr().out.split() == ["x86_64", "eu-west-1", "results-here"]
