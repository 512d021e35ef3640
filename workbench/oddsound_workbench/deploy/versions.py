"""`make prune`: deletes versions of the functions that no alias uses.

    python -m oddsound_workbench.deploy.versions dev [--dry-run]

Every deployment publishes a version of each function and CloudFormation keeps the old ones, so that
the alias can return to them. SnapStart charges for each version's snapshot as long as it exists.
"""

import sys
from collections.abc import Iterator
from typing import Any

from oddsound_workbench.deploy.stack import Stack

KEPT = 1
"""Versions that are kept besides those in use: the one to return to by hand."""


def functions(stack: Stack) -> list[str]:
    """Names of the stack's functions."""
    pages = stack.client("cloudformation").get_paginator("list_stack_resources")
    return [
        resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=stack.name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    ]


def unused(client: Any, function: str, kept: int = KEPT) -> list[str]:
    """Versions that no alias uses, oldest first, without the newest `kept` of them.

    Newer versions than those in use stay too: a deployment may be about to use them.
    """
    used = _in_use(client, function)
    numbers = [
        int(version["Version"])
        for page in client.get_paginator("list_versions_by_function").paginate(
            FunctionName=function
        )
        for version in page["Versions"]
        if version["Version"] != "$LATEST"
    ]
    if not used:
        return []
    old = sorted(number for number in numbers if number not in used and number < max(used))
    return [str(number) for number in old[: max(0, len(old) - kept)]]


def _in_use(client: Any, function: str) -> set[int]:
    """Versions that the aliases point to, also those of a deployment that is under way."""
    pages = client.get_paginator("list_aliases").paginate(FunctionName=function)
    used = set()
    for alias in (alias for page in pages for alias in page["Aliases"]):
        weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        used |= {number for number in (alias["FunctionVersion"], *weights) if number != "$LATEST"}
    return {int(number) for number in used}


def prune(stack: Stack, *, dry_run: bool) -> Iterator[str]:
    """Delete unused versions. Yields a line for each of them, before it is deleted."""
    client = stack.client("lambda")
    for function in functions(stack):
        for version in unused(client, function):
            yield f"{function}:{version}"
            if not dry_run:
                client.delete_function(FunctionName=function, Qualifier=version)


def main(environment: str, *options: str) -> None:
    """Print what is deleted, or would be. Raises SystemExit for an unknown option."""
    if set(options) - {"--dry-run"}:
        raise SystemExit(f"unknown option {options[0]}; there is only --dry-run")
    count = 0
    for line in prune(Stack.of(environment), dry_run=bool(options)):
        print(line, flush=True)
        count += 1
    print(f"{count} versions {'would be' if options else 'were'} deleted.")


if __name__ == "__main__":
    main(*sys.argv[1:])
