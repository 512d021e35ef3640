"""Dockerfile, .dockerignore and compose.yaml: what can be checked without an engine."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from oddsound.http.app import create_app
from oddsound.settings import Settings
from oddsound_workbench.cli import app
from tests.pages import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions and their arguments by the name of the stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in DOCKERFILE.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            name = arguments.rpartition(" AS ")[2]
            found[name] = []
        found[name].append((instruction, " ".join(arguments.split())))
    return found


STAGES = stages()
FINAL = ("server", "lambda")


def arguments(stage: str, instruction: str) -> list[str]:
    return [given for name, given in STAGES[stage] if name == instruction]


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path of the project into the build."""
    allowed = [line.removeprefix("!") for line in IGNORED if line.startswith("!")]
    refused = [line.removeprefix("**/") for line in IGNORED if line.startswith("**/")]
    return any(path == a or path.startswith(f"{a}/") for a in allowed) and not any(
        fnmatch(part, pattern) for part in Path(path).parts for pattern in refused
    )


def test_the_server_is_the_default_and_both_are_made() -> None:
    assert list(STAGES)[-1] == "server"
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nimages:")[2]
    assert re.findall(r"--target (\w+)", recipe.partition("\n\n")[0]) == ["server", "lambda"]
    assert arguments("lambda", "FROM") == ["public.ecr.aws/lambda/python:3.13 AS lambda"]
    assert (ROOT / ".python-version").read_text().strip() == "3.13"
    for stage in STAGES:
        (base,) = arguments(stage, "FROM")
        assert re.search(r"python:3\.13\b", base) or base.partition(" ")[0] in STAGES


def test_nothing_is_installed_in_a_final_image() -> None:
    """Compilers and installers are in the stages before, of which only folders are copied."""
    for stage in FINAL:
        assert not [run for run in arguments(stage, "RUN") if re.search(r"apt|pip|uv |make", run)]
        for copied in arguments(stage, "COPY"):
            assert copied.startswith("--from=") or not copied.startswith((".", "*"))


def test_every_copied_path_exists_and_is_sent() -> None:
    copied = [
        source
        for stage in STAGES
        for given in arguments(stage, "COPY")
        if not given.startswith("--from=")
        for source in given.split()[:-1]
    ]
    assert {"shared/oddsound/", "functions/", "requirements/", "models/"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert is_sent(source.rstrip("/")), source


SECRET_OR_LARGE = (
    ".env",
    ".git/config",
    "samconfig.toml",
    "build/layer",
    "tests/cloud.py",
    "shared/oddsound/__pycache__/api.pyc",
)


@pytest.mark.parametrize("path", SECRET_OR_LARGE)
def test_nothing_else_is_sent(path: str) -> None:
    assert IGNORED[1] == "*"
    assert not is_sent(path)


def test_the_server_runs_without_root_and_says_whether_it_is_healthy() -> None:
    (user,) = arguments("server", "USER")
    number = int(user.partition(":")[0])
    assert number > 0
    (made,) = arguments("server", "RUN")
    assert f"chown {user} /data" in made
    assert arguments("server", "VOLUME") == ["/data"]
    (health,) = arguments("server", "HEALTHCHECK")
    path = re.search(r"127\.0\.0\.1:(\d+)(/[\w/]+)", health)
    assert path is not None
    assert path[1] in arguments("server", "EXPOSE")
    assert path[2] in create_app().openapi()["paths"]
    (command,) = arguments("server", "CMD")
    check_command(json.loads(command))


def check_command(words: list[str]) -> None:
    """Check that the command line has this command with these options."""
    command = COMMANDS[words[0]]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_functions_of_the_lambda_image_exist() -> None:
    named = set(re.findall(r"functions\.\w+\.app\.handler", (ROOT / "Dockerfile").read_text()))
    assert named == {
        f"functions.{path.parent.name}.app.handler" for path in ROOT.glob("functions/*/app.py")
    }


def test_the_packages_are_those_of_the_tests_and_include_what_the_commands_need() -> None:
    server, build, dev = pins("server"), pins("build"), pins("dev")
    assert server.items() <= dev.items()
    assert build.items() <= dev.items()
    assert pins("runtime").items() <= server.items()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    page = pins("page")
    for extra in ("serve", "watch", "mqtt", "aws", "ui"):
        for requirement in extras[extra]:
            name = re.split(r"[<>=\[]", requirement)[0]
            assert name in server | page, f"{extra}: {name}"


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_container_can_change_nothing_but_its_data(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    writable = [volume for volume in service["volumes"] if not volume.endswith(":ro")]
    assert writable == ["data:/data"]
    assert set(service["environment"]) <= {field.upper() for field in Settings.model_fields}
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:")
    if "command" in service:
        check_command(service["command"])


def test_both_containers_share_the_history_on_the_volume() -> None:
    history = "HISTORY=/data/history.sqlite"
    assert history in " ".join(arguments("server", "ENV"))
    assert set(COMPOSE["volumes"]) == {"data"}
    for service in COMPOSE["services"].values():
        assert "HISTORY" not in service["environment"]
        assert service["image"].startswith("oddsound:")
    described = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for variable in set(re.findall(r"\$\{(\w+):-", (ROOT / "compose.yaml").read_text())):
        assert f"`{variable}`" in described or variable == "ODDSOUND_TAG"
