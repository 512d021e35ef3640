"""What template.yaml declares, for the tests of it."""

from collections.abc import Iterator
from typing import Any

from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE as TEMPLATE_PATH

TEMPLATE = template.load(TEMPLATE_PATH)
GLOBALS = TEMPLATE["Globals"]["Function"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource.get("Properties", {})
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == kind
    }


FUNCTIONS = of_type("AWS::Serverless::Function")
BUCKETS = of_type("AWS::S3::Bucket")


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every identity policy, with the name of its role or policy."""
    for name, role in of_type("AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement
    for name, policy in of_type("AWS::IAM::ManagedPolicy").items():
        for statement in policy["PolicyDocument"]["Statement"]:
            yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def environment(function: str) -> dict[str, Any]:
    own = FUNCTIONS[function].get("Environment", {}).get("Variables", {})
    variables: dict[str, Any] = GLOBALS["Environment"]["Variables"] | own
    return variables
