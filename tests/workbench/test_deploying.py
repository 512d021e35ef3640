"""Checks and questions of `make build` and `make deploy`, and `make prune`, in moto's account."""

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound_workbench.deploy import first_deployment, names, template, versions
from oddsound_workbench.deploy.stack import Stack
from oddsound_workbench.files import SAMCONFIG, TEMPLATE

pytestmark = pytest.mark.slow

PARAMETERS = template.load(TEMPLATE)["Parameters"]


@pytest.fixture
def stack() -> Iterator[Stack]:
    with mock_aws():
        yield Stack.of("dev")


def create(stack: Stack, **resources: Any) -> None:
    body = {"Resources": resources or {"Topic": {"Type": "AWS::SNS::Topic"}}}
    stack.client("cloudformation").create_stack(StackName=stack.name, TemplateBody=json.dumps(body))


@pytest.mark.parametrize(
    ("region", "allowed"), [("eu-west-1", 32), ("ap-southeast-1", 27), ("us-gov-west-1", 28)]
)
def test_the_longest_stack_name_is_that_of_the_longest_bucket_name(
    region: str, allowed: int
) -> None:
    assert list(names.problems("a" * allowed, region)) == []
    (problem,) = names.problems("a" * (allowed + 1), region)
    assert f"has {allowed + 1} characters; in {region} it may have {allowed}," in problem
    assert "the BucketName ${AWS::StackName}-results-" in problem


@pytest.mark.parametrize("name", ["Audio", "audio_1", "1audio", "-a", "", "audio.x", "äudio"])
def test_what_no_bucket_name_may_contain_is_refused(name: str) -> None:
    (problem,) = names.problems(name, "eu-west-1")
    assert repr(name) in problem
    assert "lower-case letters, digits and hyphens" in problem


def test_every_environment_is_checked(tmp_path: Path) -> None:
    names.check()
    path = tmp_path / "samconfig.toml"
    long = "audio-anomaly-of-the-second-plant-in-spain"
    path.write_text(SAMCONFIG.read_text().replace('"audio-anomaly-prod"', f'"{long}"', 1))
    with pytest.raises(SystemExit, match=f"^samconfig.toml, prod: the stack name '{long}' has 42"):
        names.check(path)


def answers(*texts: str) -> Any:
    left = iter(texts)
    return lambda _question: next(left)


def test_the_first_deployment_asks_for_both_addresses(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    given = answers("nobody", "ops@example.com", "")
    added = first_deployment.arguments("dev", given)
    assert added[0] == "--parameter-overrides"
    assert "AlarmEmail=ops@example.com" in added
    assert not [pair for pair in added if pair.startswith("AnomalyEmail")]
    assert {f"{k}={v}" for k, v in first_deployment.overrides("dev").items()} < set(added)
    assert "'nobody' is not an email address" in capsys.readouterr().out
    assert set(first_deployment.QUESTIONS) < set(PARAMETERS)


@pytest.mark.parametrize("address", ["a@b", "a b@c.de", "a@b.c,d@e.f", "a=b@c.de", '"a"@b.cd'])
def test_what_is_no_address_is_asked_for_again(address: str) -> None:
    assert first_deployment.ask({}, answers(address, "a@b.cd", address, "")) == {
        "AlarmEmail": "a@b.cd"
    }


def test_nobody_is_asked_again_or_without_a_terminal(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert first_deployment.arguments("dev") == []
    assert "No terminal to ask for AlarmEmail and AnomalyEmail" in capsys.readouterr().err
    assert first_deployment.arguments("dev", answers("", "")) == []
    create(stack)
    assert first_deployment.arguments("dev", answers()) == []


def test_the_command_runs_with_the_answers(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    create(stack)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        f"import sys; open({str(out)!r}, 'w').write(str(sys.argv[1:]))",
    ]
    with pytest.raises(SystemExit, match=r"^0$"):
        first_deployment.main("dev", *command, "--config-env", "dev")
    assert out.read_text() == "['--config-env', 'dev']"


def code() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("app.py", "")
    return data.getvalue()


@pytest.fixture
def deployed(stack: Stack) -> Any:
    """A function with six versions: the alias uses 5, and 3 while traffic is moved."""
    iam: Any = boto3.client("iam")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": "api",
            "Runtime": "python3.13",
            "Handler": "app.handler",
            "Role": role,
            "Code": {"ZipFile": "x"},
        },
    }
    create(stack, Api=function)
    client = stack.client("lambda")
    for number in range(6):
        client.update_function_configuration(FunctionName="api", Description=str(number))
        client.update_function_code(FunctionName="api", ZipFile=code())
        client.publish_version(FunctionName="api")
    client.create_alias(
        FunctionName="api",
        Name="live",
        FunctionVersion="5",
        RoutingConfig={"AdditionalVersionWeights": {"3": 0.1}},
    )
    return client


def remaining(client: Any) -> list[str]:
    found = client.list_versions_by_function(FunctionName="api")["Versions"]
    return sorted(version["Version"] for version in found)


def test_prune_deletes_what_no_alias_uses_except_the_newest_of_it(
    stack: Stack, deployed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = remaining(deployed)
    assert before == ["$LATEST", "1", "2", "3", "4", "5", "6"]
    versions.main("dev", "--dry-run")
    assert capsys.readouterr().out == "api:1\napi:2\n2 versions would be deleted.\n"
    assert remaining(deployed) == before
    versions.main("dev")
    assert remaining(deployed) == ["$LATEST", "3", "4", "5", "6"]
    versions.main("dev")
    assert capsys.readouterr().out.endswith("\n0 versions were deleted.\n")


def test_prune_deletes_nothing_of_a_function_without_an_alias(stack: Stack, deployed: Any) -> None:
    deployed.delete_alias(FunctionName="api", Name="live")
    assert list(versions.prune(stack, dry_run=False)) == []
    with pytest.raises(SystemExit, match="unknown option --force"):
        versions.main("dev", "--force")
