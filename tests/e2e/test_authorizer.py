"""The parameter Authorizer, as SAM's translator understands it; CloudFormation runs the same."""

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
(api,) = [r for r in translated["Resources"].values() if r["Type"] == "AWS::ApiGateway::RestApi"]
print(json.dumps(api["Properties"]["Body"]["paths"], default=str))
"""

OPEN = {"/", "/docs", "/docs/{proxy+}", "/openapi.json", "/ui", "/ui/{proxy+}"}


def security(authorizer: str) -> dict[tuple[str, str], list[str]]:
    """What each path and method of the API requires."""
    given: Any = {"template": template.load(TEMPLATE), "parameters": {"Authorizer": authorizer}}
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
    return {
        (path, method): sorted(name for scheme in operation["security"] for name in scheme)
        for path, methods in json.loads(done.stdout).items()
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
