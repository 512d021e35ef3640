"""Checks before a build that the names which contain the stack's name are valid: `make build`.

    python -m oddsound_workbench.deploy.names

CloudFormation would find a name that is too long only while it creates the stack.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oddsound_workbench.deploy import template
from oddsound_workbench.files import SAMCONFIG, TEMPLATE

MAX_LENGTHS = {
    "BucketName": 63,
    "StateMachineName": 80,
    "BudgetName": 100,
    "LayerName": 140,
    "DashboardName": 255,
    "LogGroupName": 512,
}
"""Longest names that AWS allows, by the property of a resource."""

VALUES = {"${AWS::AccountId}": "123456789012"}
VALID = re.compile(r"[a-z][a-z0-9-]*")
"""Stack names: what CloudFormation and S3 both allow."""


def problems(stack: str, region: str, path: Path = TEMPLATE) -> Iterator[str]:
    """What is wrong with a stack's name, as sentences with what was found and what is allowed."""
    if not VALID.fullmatch(stack):
        yield (
            f"the stack name {stack!r} is part of bucket names: it may have lower-case letters,"
            " digits and hyphens, and begins with a letter"
        )
    allowed, kind, pattern = min(_allowances(path, region))
    if len(stack) > allowed:
        yield (
            f"the stack name {stack!r} has {len(stack)} characters; in {region} it may have"
            f" {allowed}, because the {kind} {pattern} may have {MAX_LENGTHS[kind]}"
        )


def _allowances(path: Path, region: str) -> Iterator[tuple[int, str, str]]:
    """Longest stack name that each name of the template allows, with its property and pattern."""
    for kind, pattern in _named(template.load(path)["Resources"]):
        rest = pattern.replace("${AWS::StackName}", "").replace("${AWS::Region}", region)
        for variable, value in VALUES.items():
            rest = rest.replace(variable, value)
        yield MAX_LENGTHS[kind] - len(rest), kind, pattern


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Properties of `MAX_LENGTHS` with names that contain the stack's name, as patterns."""
    if not isinstance(value, dict):
        return
    for key, part in value.items():
        if key in MAX_LENGTHS:
            intrinsic = part if isinstance(part, dict) else {}
            pattern = intrinsic.get("Fn::Sub") or f"${{{intrinsic.get('Ref')}}}"
            if "${AWS::StackName}" in pattern:
                yield key, pattern
        else:
            yield from _named(part)


def check(samconfig: Path = SAMCONFIG) -> None:
    """Check every environment of samconfig.toml. Raises SystemExit with the problems."""
    found = []
    for name, commands in tomllib.loads(samconfig.read_text()).items():
        parameters = commands.get("deploy", {}).get("parameters", {}) if name != "version" else {}
        if stack := parameters.get("stack_name"):
            found += [
                f"{samconfig.name}, {name}: {problem}"
                for problem in problems(stack, parameters["region"])
            ]
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    check()
