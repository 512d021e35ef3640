"""Models on their way to S3, against moto's S3."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound import runtime
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound_workbench.deploy.push import push
from oddsound_workbench.errors import FolderError


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield client


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(trained.parent, tmp_path / "models")
    return tmp_path / "models" / "models.json"


def test_models_json_comes_last_and_the_models_serve(
    s3: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = push(models, "s3://models/live", s3)
    assert uploaded[-1] == "live/models.json"
    fan = json.loads(models.read_text())["fan"]
    assert f"live/{fan['model_path']}" in uploaded
    monkeypatch.setenv("MODELS_CONFIG_PATH", "s3://models/live/models.json")
    runtime.clear()
    assert runtime.registry().get("bearing").name == "bearing"


def test_what_is_there_already_is_left_alone(s3: Any, models: Path) -> None:
    push(models, "s3://models", s3)
    assert push(models, "s3://models", s3) == ["models.json"]


def test_a_spoilt_artifact_stops_everything(s3: Any, models: Path) -> None:
    fan = json.loads(models.read_text())["fan"]
    (models.parent / fan["model_path"]).write_bytes(b"spoilt")
    with pytest.raises(ModelArtifactError, match=r"fan\.model_path: the sha256 of fan/.*/model"):
        push(models, "s3://models", s3)
    assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 0


def test_a_missing_artifact_stops_everything(s3: Any, models: Path) -> None:
    bearing = json.loads(models.read_text())["bearing"]
    (models.parent / bearing["scaler_path"]).unlink()
    with pytest.raises(ModelArtifactError, match=r"bearing\.scaler_path: .*: No such file"):
        push(models, "s3://models", s3)
    assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 0


def test_an_artifact_elsewhere_is_refused(s3: Any, models: Path) -> None:
    entries = json.loads(models.read_text())
    entries["fan"]["model_path"] = "../model.joblib"
    models.write_text(json.dumps(entries))
    with pytest.raises(ModelsConfigError, match="does not lie beside"):
        push(models, "s3://models", s3)


@pytest.mark.parametrize("target", ["models", "s3://", "http://models"])
def test_a_faulty_target_is_named(s3: Any, models: Path, target: str) -> None:
    with pytest.raises(FolderError, match="is no target; s3://bucket"):
        push(models, target, s3)
