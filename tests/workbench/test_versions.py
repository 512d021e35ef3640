"""Versions of a model: listed, and rolled back while a service runs, on disk and on S3."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound import runtime
from oddsound.artifacts import Artifacts
from oddsound.registry import Registry
from oddsound.settings import Settings
from oddsound_workbench.deploy.push import push
from tests.making import classifier, configured, saved
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow

URL = "s3://models/live/models.json"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """`fan` in three versions; the classes tell them apart."""
    versions = []
    for number in (3, 2, 1):
        scaler, estimator = classifier(labels=["normal"] * 6 + [f"faulty-{number}"] * 6)
        entry = saved(tmp_path, f"fan{number}", model=estimator, scaler=scaler)
        versions.append({**entry, "version": str(number), "metrics": {"auc": 0.9}})
    current = {**versions[0], "previous": versions[1:], "owner": "hall 3"}
    return configured(tmp_path, fan=current, pump=versions[2])


@pytest.fixture(params=["disk", "S3"])
def location(
    request: pytest.FixtureRequest, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The same models.json as a path, and as a URL."""
    if request.param == "disk":
        yield str(models)
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="models")
        push(models, "s3://models/live", s3)
        yield URL
        runtime.clear()


def order(location: str) -> list[str]:
    found = read(run("versions", "fan", "--models", location, "--json"))
    assert [each["current"] for each in found["versions"]] == [True, False, False]
    return [each["version"] for each in found["versions"]]


def test_a_rollback_reaches_a_running_service(location: str, tmp_path: Path) -> None:
    settings = Settings(models_config_path=location, models_refresh_s=0)
    running = Registry(settings, Artifacts(runtime.s3_client, tmp_path / "cache"))
    assert running.get("fan").predictor.classes == ("faulty-3", "normal")
    found = read(run("rollback", "fan", "--models", location, "--json"))
    assert found["before"].startswith("3 (")
    assert found["now"].startswith("2 (")
    assert running.get("fan").predictor.classes == ("faulty-2", "normal")
    assert running.get("pump").version == "1"
    assert order(location) == ["2", "3", "1"]
    read(run("rollback", "fan", "3", "--models", location, "--json"))
    assert running.get("fan").version == "3"
    assert order(location) == ["3", "2", "1"]


def test_a_version_can_be_named_by_its_checksum(location: str) -> None:
    found = read(run("versions", "fan", "--models", location, "--json"))
    checksum = found["versions"][2]["checksum"]
    assert read(run("rollback", "fan", checksum, "--models", location, "--json"))["now"] == (
        f"1 ({checksum})"
    )
    assert order(location) == ["1", "3", "2"]


def test_a_version_that_cannot_be_loaded_is_not_rolled_back_to(models: Path) -> None:
    (models.parent / "fan2" / "model.joblib").write_bytes(b"half")
    before = models.read_bytes()
    result = run("rollback", "fan", "--models", models)
    assert result.exit_code == 3
    assert "its sha256 is" in result.output
    assert models.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fan", "9"], "model 'fan' has no version '9'; it has 3 ("),
        (["fan", "3"], "as its current version"),
        (["pump"], "model 'pump' has no earlier version in models.json"),
        (["press"], "no model is called 'press'; known models: fan, pump"),
    ],
)
def test_what_cannot_be_rolled_back_to(models: Path, arguments: list[str], words: str) -> None:
    before = models.read_bytes()
    result = run("rollback", *arguments, "--models", models)
    assert result.exit_code == 3
    assert words in " ".join(result.output.split())
    assert models.read_bytes() == before


def test_two_versions_of_one_name_are_told_apart(models: Path) -> None:
    entries = json.loads(models.read_text())
    for version in (entries["fan"], *entries["fan"]["previous"]):
        version.pop("version")
    models.write_text(json.dumps(entries))
    result = run("rollback", "fan", "unversioned", "--models", models)
    assert "more than one version 'unversioned'" in " ".join(result.output.split())
    assert run("rollback", "fan", "--models", models).exit_code == 0


def test_the_list_for_people(models: Path) -> None:
    lines = run("versions", "fan", "--models", models).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert ["served" in line for line in lines] == [True, False, False]
    assert "AUC 0.9" in lines[0]


def test_other_keys_stay(models: Path) -> None:
    run("rollback", "fan", "--models", models)
    entries: dict[str, Any] = json.loads(models.read_text())
    assert [each.get("owner") for each in entries["fan"]["previous"]] == ["hall 3", None]


def test_a_missing_models_json(tmp_path: Path) -> None:
    for command in ("versions", "rollback"):
        result = run(command, "fan", "--models", tmp_path / "gone.json")
        assert result.exit_code == 3
        assert "there is no such file" in " ".join(result.output.split())
