"""The template as SAM's translator understands it; CloudFormation runs the same.

The parameters Authorizer and Deployment; the rest of the template has to be translated for them.
"""

import json
import os
import subprocess
from typing import Any

import pytest

from oddsound_workbench.deploy import template
from oddsound_workbench.files import PROJECT, TEMPLATE

pytestmark = pytest.mark.slow

TRANSLATE = """
import json, sys, boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
given = json.load(sys.stdin)
translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="eu-west-1"))
translated = translator.translate(given["template"], given["parameters"])
print(json.dumps(translated["Resources"], default=str))
"""

OPEN = {"/", "/docs", "/docs/{proxy+}", "/openapi.json", "/ui", "/ui/{proxy+}"}


def translated(**parameters: str) -> dict[str, dict[str, Any]]:
    """The resources that CloudFormation creates, by logical id."""
    given: Any = {"template": template.load(TEMPLATE), "parameters": parameters}
    for resource in given["template"]["Resources"].values():
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://bucket/code"
        if "ContentUri" in resource.get("Properties", {}):
            resource["Properties"]["ContentUri"] = "s3://bucket/layer"
    done = subprocess.run(
        [PROJECT / ".venv-sam" / "bin" / "python", "-c", TRANSLATE],
        input=json.dumps(given),
        env=os.environ | {"AWS_DEFAULT_REGION": "eu-west-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resources: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return resources


def of_type(resources: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [found["Properties"] for found in resources.values() if found["Type"] == kind]


def security(authorizer: str) -> dict[tuple[str, str], list[str]]:
    """What each path and method of the API requires."""
    (api,) = of_type(translated(Authorizer=authorizer), "AWS::ApiGateway::RestApi")
    return {
        (path, method): sorted(name for scheme in operation["security"] for name in scheme)
        for path, methods in api["Body"]["paths"].items()
        for method, operation in methods.items()
    }


def test_by_default_the_key_is_required_and_the_pages_are_open() -> None:
    found = security("")
    assert found.pop(("/{proxy+}", "options")) == []
    assert found.pop(("/{proxy+}", "x-amazon-apigateway-any-method")) == ["api_key"]
    assert {path for path, _ in found} == OPEN
    assert set(map(tuple, found.values())) == {()}


def test_with_iam_every_request_is_signed_except_a_preflight() -> None:
    found = security("AWS_IAM")
    assert found.pop(("/{proxy+}", "options")) == []
    assert found.pop(("/{proxy+}", "x-amazon-apigateway-any-method")) == ["AWS_IAM", "api_key"]
    assert {path for path, _ in found} == OPEN
    assert set(map(tuple, found.values())) == {("AWS_IAM",)}


def test_a_backfill_invokes_the_alias_and_may_invoke_nothing_else() -> None:
    resources = translated()
    alias = {"Ref": "S3TriggerFunctionAliaslive"}
    assert alias["Ref"] in resources
    (machine,) = of_type(resources, "AWS::StepFunctions::StateMachine")
    assert machine["DefinitionSubstitutions"]["ScoreFunction"] == alias
    (policy,) = resources["BackfillRole"]["Properties"]["Policies"]
    invoked = [
        statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "lambda:InvokeFunction"
    ]
    assert invoked == [alias]
    assert ".Alias" not in json.dumps(resources)


@pytest.mark.parametrize("deployment", ["AllAtOnce", "Canary10Percent10Minutes"])
def test_a_deployment_moves_each_alias_and_watches_alarms_only_if_it_is_gradual(
    deployment: str,
) -> None:
    resources = translated(Deployment=deployment)
    aliases = [r for r in resources.values() if r["Type"] == "AWS::Lambda::Alias"]
    assert len(aliases) == 3
    assert all("CodeDeployLambdaAliasUpdate" in alias["UpdatePolicy"] for alias in aliases)
    groups = of_type(resources, "AWS::CodeDeploy::DeploymentGroup")
    assert len(groups) == 3
    for group in groups:
        assert deployment in json.dumps(group["DeploymentConfigName"])
        condition, watched, otherwise = group["AlarmConfiguration"]["Fn::If"]
        assert (condition, otherwise) == ("IsGradual", {})
        names = {alarm["Name"]["Ref"] for alarm in watched["Alarms"]}
        assert names
        assert names <= resources.keys()
