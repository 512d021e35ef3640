"""`oddsound backfill`: moto executes the template's state machine, with a function of the test."""

import json
import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.awslambda.models import LambdaBackend
from moto.stepfunctions import models
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_map import item_reader, result_writer
from moto.stepfunctions.parser.models import (
    StepFunctionsParserBackend,
    stepfunctions_parser_backends,
)

from oddsound_workbench.deploy import template
from oddsound_workbench.deploy.backfill import Backfills, Summary
from oddsound_workbench.deploy.events import INPUT_BUCKET, REGION
from oddsound_workbench.errors import BackfillError
from oddsound_workbench.files import TEMPLATE
from oddsound_workbench.local import step_functions
from oddsound_workbench.local.aws import STACK
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow

FAILED = {"errorType": "StorageError", "errorMessage": "S3 does not answer"}


def function(
    _backend: Any, _name: str, _alias: Any, body: Any, _headers: Any, answer: Any
) -> bytes:
    """Stands for the function: the first word of the file's name says what becomes of it."""
    key = json.loads(body)["detail"]["object"]["key"]
    kind = key.rpartition("/")[2].split("-")[0]
    if kind == "unreachable":
        answer["x-amz-function-error"] = "Unhandled"
        return json.dumps(FAILED).encode()
    status = {"text": "skipped", "broken": "failed"}.get(kind, "succeeded")
    error = {"failed": "InvalidAudioError", "skipped": "NotARecordingError"}.get(status)
    is_anomaly = kind == "anomaly" if status == "succeeded" else None
    found = {"key": key, "model": "fan", "status": status, "is_anomaly": is_anomaly, "error": error}
    return json.dumps([found]).encode()


@pytest.fixture
def backfills(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backfills]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(models, "stepfunctions_backends", stepfunctions_parser_backends)
    monkeypatch.setattr(LambdaBackend, "invoke", function)
    for owner, name in (
        (StepFunctionsParserBackend, "list_map_runs"),
        (item_reader.eval.resource_eval_s3.ResourceEvalS3, "_handle_list_objects_v2"),
        (result_writer.resource_eval.resource_eval_s3.ResourceEvalS3, "_handle_put_object"),
    ):  # restored after the test
        monkeypatch.setattr(owner, name, owner.__dict__[name])
    step_functions.complete_distributed_map()
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        cloudformation: Any = boto3.client("cloudformation")
        template.create(TEMPLATE, cloudformation, STACK)
        yield Backfills(STACK, cloudformation, boto3.client("stepfunctions"), boto3.client("s3"))


def put(*keys: str) -> None:
    for key in keys:
        boto3.client("s3").put_object(Bucket=INPUT_BUCKET, Key=key, Body=b"")


def finished(backfills: Backfills, prefix: str = "") -> Summary:
    execution = backfills.start(prefix, None, concurrency=4, tolerated_percent=50)
    *_, last = backfills.follow(execution, threading.Event(), poll_s=0.05)
    assert last.done == last.total
    return backfills.summary(execution)


def test_the_outcomes_are_counted(backfills: Backfills) -> None:
    put("a/normal-1.wav", "a/normal-2.wav", "a/anomaly-1.wav", "a/text-1.txt", "a/broken-1.wav")
    put("b/normal-3.wav")
    found = finished(backfills, "a/")
    assert (found.objects, found.scored, found.anomalies, found.skipped) == (5, 3, 1, 1)
    assert (found.unreadable, found.unfinished) == ({"InvalidAudioError": 1}, 0)
    assert not found.complete
    assert found.outcomes is not None
    assert "/backfills/" in found.outcomes
    assert finished(backfills, "b/").complete


def test_a_key_reaches_the_function_as_it_is(
    backfills: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"hall 1/a+b%20c.wav", "Lüfter/ü&=?.wav", '"quoted".wav'}
    put(*keys)
    events: list[Any] = []

    def remember(*arguments: Any) -> bytes:
        events.append(json.loads(arguments[3]))
        return function(*arguments)

    monkeypatch.setattr(LambdaBackend, "invoke", remember)
    assert finished(backfills).scored == 3
    assert {event["detail"]["object"]["key"] for event in events} == keys
    assert {event["detail"]["bucket"]["name"] for event in events} == {INPUT_BUCKET}


def test_more_than_a_page_of_objects_is_listed(
    backfills: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    put(*(f"normal-{number}.wav" for number in range(5)))
    assert finished(backfills).scored == 5


def test_an_object_whose_function_keeps_failing_is_unfinished(
    backfills: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("normal-1.wav", "unreachable-1.wav")
    tries: list[str] = []

    def count(*arguments: Any) -> bytes:
        tries.append(json.loads(arguments[3])["detail"]["object"]["key"])
        return function(*arguments)

    monkeypatch.setattr(LambdaBackend, "invoke", count)
    waits: list[float] = []
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=waits.append))
    found = finished(backfills)
    assert (found.scored, found.unfinished) == (1, 1)
    assert not found.complete
    assert tries.count("unreachable-1.wav") == 1 + len(waits) == 5


def test_the_reasons_of_unfinished_objects_are_counted(backfills: Backfills) -> None:
    """On AWS, the manifest names files with the records of executions that failed."""
    put("normal-1.wav")
    before = finished(backfills)
    assert before.outcomes is not None
    bucket, _, key = before.outcomes.removeprefix("s3://").partition("/")
    s3: Any = boto3.client("s3")
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    failed = f"{key.rpartition('/')[0]}/FAILED_0.jsonl"
    records = [{"Error": name, "Cause": "{}", "Input": "{}"} for name in ("Timeout", "A", "A")]
    body = "".join(f"{json.dumps(record)}\n" for record in records)
    s3.put_object(Bucket=bucket, Key=failed, Body=body.encode())
    manifest["ResultFiles"]["FAILED"] = [{"Key": failed, "Size": len(body)}]
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    after = backfills.summary(before.execution)
    assert list(after.reasons.items()) == [("A", 2), ("Timeout", 1)]
    assert (after.scored, after.outcomes) == (1, before.outcomes)


def test_an_execution_that_fails_says_why(backfills: Backfills) -> None:
    put("normal-1.wav")
    started = boto3.client("stepfunctions").start_execution(
        stateMachineArn=backfills.start("", None, 1, 0)
        .replace(":execution:", ":stateMachine:")
        .rpartition(":")[0],
        name="fails",
        input=json.dumps({"bucket": "no-such-bucket"}),
    )
    list(backfills.follow(started["executionArn"], threading.Event(), poll_s=0.05))
    found = backfills.summary(started["executionArn"])
    assert found.stopped_because is not None
    assert found.stopped_because.startswith("failed: ")
    assert not found.complete


def test_a_prefix_without_objects_and_an_old_stack_are_refused(backfills: Backfills) -> None:
    with pytest.raises(BackfillError, match=f"s3://{INPUT_BUCKET}/nothing/: no object"):
        backfills.start("nothing/", None, 1, 0)
    cloudformation: Any = boto3.client("cloudformation")
    resources = {"Topic": {"Type": "AWS::SNS::Topic"}}
    cloudformation.create_stack(StackName="old", TemplateBody=json.dumps({"Resources": resources}))
    with pytest.raises(BackfillError, match="the stack old has no output BackfillArn"):
        Backfills("old", cloudformation, None, None)


def test_the_command_prints_the_summary_and_exits_with_1_if_a_recording_failed(
    backfills: Backfills, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oddsound_workbench.deploy.backfill.POLL_S", 0.05)
    put("a/normal-1.wav", "a/anomaly-1.wav", "b/broken-1.wav")
    found = read(run("backfill", "--prefix", "a/", "--json"))
    assert (found["scored"], found["anomalies"], found["complete"]) == (2, 1, True)
    again = read(run("backfill", "--follow", found["execution"], "--json"))
    assert again == found
    printed = run("backfill", "--prefix", "b/")
    assert printed.exit_code == 1
    assert "InvalidAudioError 1" in printed.output
    url = printed.output.splitlines()[-1].removeprefix("Outcomes: ")
    assert re.fullmatch(r"s3://[\w-]+/backfills/[\w-]+/manifest\.json", url)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--prefix", "nothing/"], 3, "no object has this prefix"),
        (["--prefix", "", "--stack", "no-such-stack"], 3, "no-such-stack"),
        ([], 2, "name either --prefix or --follow"),
        (["--prefix", "a", "--follow", "arn"], 2, "name either --prefix or --follow"),
        (["--prefix", "a", "--concurrency", "0"], 2, "--concurrency"),
        (["--prefix", "a", "--tolerate", "101"], 2, "--tolerate"),
    ],
)
@pytest.mark.usefixtures("backfills")
def test_what_cannot_be_started_is_refused(arguments: list[str], code: int, text: str) -> None:
    refused = run("backfill", *arguments)
    assert refused.exit_code == code
    assert text in " ".join(refused.output.split())
