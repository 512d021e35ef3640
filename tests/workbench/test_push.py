"""Uploading models, tested with moto's S3: by content, merged, and never in the way of a reader."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from oddsound import runtime
from oddsound.artifacts import Artifacts, digest
from oddsound.errors import ModelArtifactError, ModelsConfigError, StorageError
from oddsound.registry import Registry
from oddsound.schemas import ARTIFACTS
from oddsound.settings import Settings
from oddsound_workbench.deploy.push import push
from oddsound_workbench.errors import FolderError
from tests.making import classifier, configured, saved, saved_classifier
from tests.workbench.command import read, run

pytestmark = pytest.mark.slow

URL = "s3://models/live/models.json"


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
    """A copy that a test may change."""
    shutil.copytree(trained.parent, tmp_path / "models")
    return tmp_path / "models" / "models.json"


def made(folder: Path, *names: str, **fields: Any) -> Path:
    """A models.json with small classifiers."""
    folder.mkdir(exist_ok=True)
    return configured(folder, **{name: saved_classifier(folder, name, **fields) for name in names})


def on_s3(s3: Any) -> dict[str, Any]:
    body = s3.get_object(Bucket="models", Key="live/models.json")["Body"].read()
    entries: dict[str, Any] = json.loads(body)
    return entries


def served(s3: Any, tmp_path: Path, name: str) -> str:
    """The version that a new process loads."""
    settings = Settings(models_config_path=URL, models_refresh_s=0)
    return Registry(settings, Artifacts(lambda: s3, tmp_path / "cache")).get(name).version


class TestByContent:
    def test_models_json_is_uploaded_last_and_the_models_can_be_loaded(
        self, s3: Any, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pushed = push(models, "s3://models/live", s3)
        assert pushed.uploaded[-1] == "live/models.json"
        assert pushed.states == {"bearing": "new", "fan": "new"}
        for entry in on_s3(s3).values():
            for key in ARTIFACTS:
                if (path := entry.get(key)) is not None:
                    assert f"live/{path}" in pushed.uploaded
                    assert path.startswith(f"artifacts/{entry['sha256'][key]}.")
                    body = s3.get_object(Bucket="models", Key=f"live/{path}")["Body"].read()
                    assert digest(body) == entry["sha256"][key]
        monkeypatch.setenv("MODELS_CONFIG_PATH", URL)
        runtime.clear()
        assert runtime.registry().get("bearing").name == "bearing"

    def test_nothing_is_uploaded_twice(self, s3: Any, models: Path) -> None:
        push(models, "s3://models", s3)
        again = push(models, "s3://models/", s3)
        assert again.uploaded == []
        assert set(again.states.values()) == {"unchanged"}

    def test_a_push_never_changes_what_a_running_service_is_about_to_read(
        self, s3: Any, tmp_path: Path
    ) -> None:
        """The same path with other content, as models made by hand have it."""
        models = made(tmp_path / "a", "fan", version="1")
        push(models, "s3://models/live", s3)
        settings = Settings(models_config_path=URL)
        running = Registry(settings, Artifacts(lambda: s3, tmp_path / "cache"))
        assert [info.loaded for info in running.describe().models] == [False]
        scaler, estimator = classifier(labels=["sound"] * 6 + ["pitted"] * 6)
        entry = saved(models.parent, "fan", model=estimator, scaler=scaler)
        configured(models.parent, fan={**entry, "version": "2"})
        push(models, "s3://models/live", s3)
        # It has read the first models.json, and reads its artifacts only now.
        assert running.get("fan").predictor.classes == ("faulty", "normal")
        assert served(s3, tmp_path, "fan") == "2"

    def test_an_incomplete_object_is_replaced(self, s3: Any, tmp_path: Path) -> None:
        models = made(tmp_path / "a", "fan")
        [key] = [k for k in push(models, "s3://models/live", s3).uploaded if k.endswith("json")]
        path = on_s3(s3)["fan"]["model_path"]
        s3.put_object(Bucket="models", Key=f"live/{path}", Body=b"half")
        assert push(models, "s3://models/live", s3).uploaded == [f"live/{path}"]
        assert key == "live/models.json"
        assert served(s3, tmp_path, "fan") == "unversioned"


class TestMerged:
    def test_the_models_of_a_colleague_stay(self, s3: Any, tmp_path: Path) -> None:
        push(made(tmp_path / "a", "fan", "pump"), "s3://models/live", s3)
        pushed = push(made(tmp_path / "b", "press"), "s3://models/live", s3)
        assert pushed.states == {"press": "new"}
        assert list(on_s3(s3)) == ["fan", "press", "pump"]
        assert served(s3, tmp_path, "pump") == "unversioned"

    def test_a_replaced_version_is_kept(self, s3: Any, tmp_path: Path) -> None:
        for version, window_s in (("1", 5.0), ("2", 6.0), ("3", 7.0)):
            models = made(tmp_path / version, "fan", version=version, window_s=window_s)
            pushed = push(models, "s3://models/live", s3)
        assert pushed.states == {"fan": "replaced"}
        fan = on_s3(s3)["fan"]
        assert [fan["version"], *(each["version"] for each in fan["previous"])] == ["3", "2", "1"]

    def test_a_push_of_an_old_copy_is_no_rollback(self, s3: Any, tmp_path: Path) -> None:
        old = made(tmp_path / "old", "fan", version="1", window_s=5.0)
        push(old, "s3://models/live", s3)
        push(made(tmp_path / "new", "fan", version="2", window_s=6.0), "s3://models/live", s3)
        pushed = push(old, "s3://models/live", s3)
        assert pushed.states == {"fan": "older"}
        assert pushed.served["fan"].startswith("2 (")
        assert pushed.uploaded == []
        assert served(s3, tmp_path, "fan") == "2"
        assert push(old, "s3://models/live", s3, replace=True).states == {"fan": "replaced"}
        assert served(s3, tmp_path, "fan") == "1"
        assert [each["version"] for each in on_s3(s3)["fan"]["previous"]] == ["2"]

    def test_a_rollback_that_was_made_here_is_pushed(self, s3: Any, tmp_path: Path) -> None:
        models = made(tmp_path / "a", "fan", version="1", window_s=5.0)
        first = json.loads(models.read_text())["fan"]
        second = {**first, "version": "2", "window_s": 6.0, "previous": [first]}
        configured(models.parent, fan=second)
        push(models, "s3://models/live", s3)
        del second["previous"]
        configured(models.parent, fan={**first, "previous": [second]})
        assert push(models, "s3://models/live", s3).states == {"fan": "replaced"}
        assert served(s3, tmp_path, "fan") == "1"
        assert [each["version"] for each in on_s3(s3)["fan"]["previous"]] == ["2"]

    def test_another_description_is_an_update_of_the_same_version(
        self, s3: Any, tmp_path: Path
    ) -> None:
        push(made(tmp_path / "a", "fan"), "s3://models/live", s3)
        models = made(tmp_path / "a", "fan", description="Hall 3", owner="maintenance")
        assert push(models, "s3://models/live", s3).states == {"fan": "updated"}
        fan = on_s3(s3)["fan"]
        assert (fan["description"], fan["owner"]) == ("Hall 3", "maintenance")
        assert "previous" not in fan

    def test_two_pushes_at_the_same_time_both_count(self, s3: Any, tmp_path: Path) -> None:
        push(made(tmp_path / "a", "fan"), "s3://models/live", s3)
        ours, theirs = made(tmp_path / "b", "pump"), made(tmp_path / "c", "press")
        write, busy = s3.put_object, iter([True])

        def meanwhile(**arguments: Any) -> Any:
            if arguments["Key"].endswith("models.json") and next(busy, False):
                s3.put_object = write
                push(theirs, "s3://models/live", s3)
            return write(**arguments)

        s3.put_object = meanwhile
        push(ours, "s3://models/live", s3)
        assert list(on_s3(s3)) == ["fan", "press", "pump"]

    def test_a_models_json_that_changes_all_the_time_is_an_error(
        self, s3: Any, tmp_path: Path
    ) -> None:
        push(made(tmp_path / "a", "fan"), "s3://models/live", s3)
        write = s3.put_object

        def always(**arguments: Any) -> Any:
            if arguments["Key"].endswith("models.json"):
                entries = on_s3(s3)
                entries["fan"]["description"] = entries["fan"].get("description", "") + "x"
                write(Bucket="models", Key="live/models.json", Body=json.dumps(entries).encode())
            return write(**arguments)

        s3.put_object = always
        with pytest.raises(StorageError, match="was changed by somebody else 5 times in a row"):
            push(made(tmp_path / "b", "pump"), "s3://models/live", s3)
        assert "pump" not in on_s3(s3)

    def test_replace_removes_what_is_not_here(self, s3: Any, tmp_path: Path) -> None:
        push(made(tmp_path / "a", "fan", "pump"), "s3://models/live", s3)
        pushed = push(made(tmp_path / "b", "fan"), "s3://models/live", s3, replace=True)
        assert pushed.removed == ["pump"]
        assert list(on_s3(s3)) == ["fan"]

    def test_an_invalid_models_json_is_only_replaced_on_request(
        self, s3: Any, tmp_path: Path
    ) -> None:
        s3.put_object(Bucket="models", Key="live/models.json", Body=b"{")
        models = made(tmp_path / "a", "fan")
        with pytest.raises(ModelsConfigError, match=r"s3://models/live/models\.json is not JSON"):
            push(models, "s3://models/live", s3)
        push(models, "s3://models/live", s3, replace=True)
        assert served(s3, tmp_path, "fan") == "unversioned"


class TestRefused:
    """Nothing is uploaded if something is wrong."""

    @pytest.fixture(autouse=True)
    def nothing_uploaded(self, s3: Any) -> Iterator[None]:
        yield
        assert s3.list_objects_v2(Bucket="models")["KeyCount"] == 0

    def test_a_changed_artifact(self, s3: Any, models: Path) -> None:
        fan = json.loads(models.read_text())["fan"]
        (models.parent / fan["model_path"]).write_bytes(b"changed")
        with pytest.raises(ModelArtifactError, match=r"fan\.model_path: the sha256 of fan/.*/mod"):
            push(models, "s3://models", s3)

    def test_a_missing_artifact(self, s3: Any, models: Path) -> None:
        bearing = json.loads(models.read_text())["bearing"]
        (models.parent / bearing["scaler_path"]).unlink()
        with pytest.raises(ModelArtifactError, match=r"bearing\.scaler_path: .*: No such file"):
            push(models, "s3://models", s3)

    def test_an_artifact_without_a_checksum(self, s3: Any, tmp_path: Path) -> None:
        models = made(tmp_path / "a", "fan", sha256={})
        with pytest.raises(ModelArtifactError, match=r"models\.json has nothing"):
            push(models, "s3://models", s3)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"predictor": "sklearn_outlier"}, "model 'fan': the predictor sklearn_outlier requ"),
            ({"feature_extractor": "yamnet"}, "model 'fan': no feature_extractor is called"),
            ({"sample_rate": 8000}, "model 'fan': StandardScaler was trained on 240 features"),
            ({"normal_label": "ok"}, "model 'fan': normal_label 'ok' is not a class"),
        ],
    )
    def test_a_model_that_does_not_load(
        self, s3: Any, tmp_path: Path, fields: dict[str, Any], words: str
    ) -> None:
        with pytest.raises((ModelArtifactError, ModelsConfigError), match=words):
            push(made(tmp_path / "a", "fan", **fields), "s3://models", s3)

    def test_swapped_files(self, s3: Any, tmp_path: Path) -> None:
        scaler, estimator = classifier()
        (tmp_path / "a").mkdir()
        entry = saved(tmp_path / "a", "fan", model=scaler, scaler=estimator)
        with pytest.raises(ModelArtifactError, match=r"LogisticRegression\) cannot scale"):
            push(configured(tmp_path / "a", fan=entry), "s3://models", s3)

    def test_joblib_files_if_they_are_not_allowed(self, s3: Any, tmp_path: Path) -> None:
        with pytest.raises(ModelArtifactError, match="run `oddsound compile fan`"):
            push(made(tmp_path / "a", "fan"), "s3://models", s3, allow_pickle=False)

    def test_an_artifact_outside_the_folder(self, s3: Any, models: Path) -> None:
        entries = json.loads(models.read_text())
        entries["fan"]["model_path"] = "../model.joblib"
        models.write_text(json.dumps(entries))
        with pytest.raises(ModelsConfigError, match=r"\.\./model.joblib is not in the folder of"):
            push(models, "s3://models", s3)

    @pytest.mark.parametrize("target", ["models", "s3://", "http://models"])
    def test_an_invalid_target(self, s3: Any, models: Path, target: str) -> None:
        with pytest.raises(
            FolderError, match="is not a valid target; use s3://bucket or s3://bucket/prefix"
        ):
            push(models, target, s3)

    def test_a_missing_bucket(self, s3: Any, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="NoSuchBucket"):
            push(made(tmp_path / "a", "fan"), "s3://elsewhere", s3)


def test_the_command_says_what_it_did(s3: Any, tmp_path: Path) -> None:
    first = made(tmp_path / "a", "fan", version="1", window_s=5.0)
    found = read(run("push", "s3://models/live", "--models", first, "--json"))
    assert found["states"] == {"fan": "new"}
    assert found["uploaded"][-1] == "live/models.json"
    second = made(tmp_path / "b", "fan", version="2", window_s=6.0)
    text = run("push", "s3://models/live", "--models", second).stdout
    assert "): replaces the version before it, which is kept" in text
    text = run("push", "s3://models/live", "--models", first).stdout
    assert "stays, because it has replaced the local version; see `oddsound rollback`" in text
    assert "0 objects uploaded to s3://models/live" in text
