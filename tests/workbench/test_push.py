"""Uploading models, tested with moto's S3."""

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
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        yield client


@pytest.fixture
def models(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(trained.parent, tmp_path / "models")
    return tmp_path / "models" / "models.json"


def test_models_json_is_uploaded_last_and_the_models_can_be_loaded(
    s3: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = push(models, "s3://models/live", s3)
    assert uploaded[-1] == "live/models.json"
    fan = json.loads(models.read_text())["fan"]
    assert f"live/{fan['model_path']}" in uploaded
    monkeypatch.setenv("MODELS_CONFIG_PATH", "s3://models/live/models.json")
    runtime.clear()
    assert runtime.registry().get("bearing").name == "bearing"


def test_an_unchanged_artifact_is_not_uploaded_again(s3: Any, models: Path) -> None:
    push(models, "s3://models", s3)
    assert push(models, "s3://models", s3) == ["models.json"]


def test_with_a_changed_artifact_nothing_is_uploaded(s3: Any, models: Path) -> None:
    fan = json.loads(models.read_text())["fan"]
    (models.parent / fan["model_path"]).write_bytes(b"changed")
    with pytest.raises(ModelArtifactError, match=r"fan\.model_path: the sha256 of fan/.*/model"):
        push(models, "s3://models", s3)
    assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 0


def test_with_a_missing_artifact_nothing_is_uploaded(s3: Any, models: Path) -> None:
    bearing = json.loads(models.read_text())["bearing"]
    (models.parent / bearing["scaler_path"]).unlink()
    with pytest.raises(ModelArtifactError, match=r"bearing\.scaler_path: .*: No such file"):
        push(models, "s3://models", s3)
    assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 0


def test_an_artifact_outside_the_folder_is_refused(s3: Any, models: Path) -> None:
    entries = json.loads(models.read_text())
    entries["fan"]["model_path"] = "../model.joblib"
    models.write_text(json.dumps(entries))
    with pytest.raises(ModelsConfigError, match=r"\.\./model.joblib is not in the folder of"):
        push(models, "s3://models", s3)


@pytest.mark.parametrize("target", ["models", "s3://", "http://models"])
def test_an_invalid_target_is_an_error(s3: Any, models: Path, target: str) -> None:
    with pytest.raises(
        FolderError, match="is not a valid target; use s3://bucket or s3://bucket/prefix"
    ):
        push(models, target, s3)
