"""Versions of a model: unique, kept when they are replaced, never overwritten."""

import datetime
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from oddsound import pipeline, runtime
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.schemas import ModelEntry
from oddsound_workbench import model_folder, training
from oddsound_workbench.cli import app
from oddsound_workbench.deploy.push import push
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.recordings import Labelled
from oddsound_workbench.report import plots
from oddsound_workbench.synthesis import write_fan
from oddsound_workbench.training import Plan, Trained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_plots")]

VERSION = re.compile(r"\d{4}-\d{2}-\d{2}-[0-9a-f]{6}")


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short recordings of a normal fan."""
    folder = tmp_path_factory.mktemp("normal")
    for seed in range(5):
        write_fan(folder / f"{seed}.wav", seed, faulty=False, duration_s=1)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models" / "models.json"


@pytest.fixture(scope="module")
def trained_once(normal: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Trained]:
    """Two versions of a model in folders of their own, for all tests that begin with them.

    The second folder contains the first version too.
    """
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "png", lambda *_: b"")
        patch.setattr(plots, "svg", lambda *_: "<svg/>")
        first = train(normal, folder / "1" / "models.json")
        shutil.copytree(folder / "1", folder / "2")
        return first, train(normal, folder / "2" / "models.json", threshold=0.95)


@pytest.fixture
def first(trained_once: tuple[Trained, Trained], models: Path) -> Trained:
    """A models.json with a model that was just trained."""
    return placed(trained_once[0], models)


@pytest.fixture
def replaced(trained_once: tuple[Trained, Trained], models: Path) -> tuple[Trained, Trained]:
    """A models.json with a model and, as its previous version, the one that it replaced."""
    second = placed(trained_once[1], models)
    version = trained_once[0].entry.version
    return replace(trained_once[0], folder=models.parent / "fan" / version), second


def placed(trained: Trained, models: Path) -> Trained:
    """Copy a models.json, with all of its folder, that was written by a training."""
    shutil.copytree(trained.folder.parents[1], models.parent)
    return replace(trained, folder=models.parent / "fan" / trained.entry.version)


def train(normal: Path, models: Path, **settings: Any) -> Trained:
    return training.train(Plan(normal, "fan", models, **settings))


def entry(models: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(models.read_text())["fan"]
    return found


def set_today(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    class Today(datetime.date):
        @classmethod
        def today(cls) -> "Today":
            return cls(2026, 11, day)

    monkeypatch.setattr(model_folder, "date", Today)


def serve(models: Path, monkeypatch: pytest.MonkeyPatch, recording: Path) -> str:
    """Score a recording with the model of a models.json; returns the model's version."""
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(models))
    runtime.clear()
    model = runtime.registry().get("fan")
    return pipeline.predict(recording, model, runtime.limits()).model_version


def test_a_version_is_the_date_with_a_checksum_and_has_a_folder(
    trained_once: tuple[Trained, Trained],
) -> None:
    trained, _ = trained_once
    models = trained.folder.parents[1] / "models.json"
    assert VERSION.fullmatch(trained.entry.version)
    assert trained.folder == models.parent / "fan" / trained.entry.version
    assert trained.entry.model_path == f"fan/{trained.entry.version}/model.joblib"
    names = {path.name for path in trained.folder.iterdir()}
    assert {"model.joblib", "report.html", "training.json"} <= names
    assert "previous" not in entry(models)


def test_the_same_inputs_on_the_same_day_are_the_same_version(
    normal: Path, models: Path, first: Trained
) -> None:
    before = models.read_bytes()
    assert train(normal, models).entry == first.entry
    assert models.read_bytes() == before


def test_other_settings_on_the_same_day_are_another_version_and_the_first_is_kept(
    normal: Path, models: Path, first: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {path: path.read_bytes() for path in first.folder.iterdir()}
    second = train(normal, models, threshold=0.95)
    assert second.entry.version != first.entry.version
    assert second.entry.previous == [first.entry]
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == kept
    assert serve(models, monkeypatch, normal / "0.wav") == second.entry.version
    (previous,) = entry(models)["previous"]
    models.write_text(json.dumps({"fan": previous}))
    assert serve(models, monkeypatch, normal / "0.wav") == first.entry.version


def test_previous_versions_are_newest_first_without_previous_of_their_own(
    normal: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = []
    for day in (1, 2, 3):
        set_today(monkeypatch, day)
        versions.append(train(normal, models).entry.version)
    assert [version[:10] for version in versions] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    previous = entry(models)["previous"]
    assert [each["version"] for each in previous] == [versions[1], versions[0]]
    assert all("previous" not in each for each in previous)


def test_a_version_that_comes_back_is_not_previous_to_itself(
    normal: Path, models: Path, replaced: tuple[Trained, Trained]
) -> None:
    first, second = replaced
    again = train(normal, models)
    assert again.entry.version == first.entry.version
    assert [each.version for each in again.entry.previous] == [second.entry.version]


def test_a_new_description_is_no_new_version(normal: Path, models: Path, first: Trained) -> None:
    second = train(normal, models, description="The fan in hall 3.")
    assert second.entry.version == first.entry.version
    assert second.entry.previous == []
    assert entry(models)["description"] == "The fan in hall 3."


def test_an_explicit_version_with_other_content_is_refused(normal: Path, models: Path) -> None:
    first = train(normal, models, version="v1")
    before = {path: path.read_bytes() for path in models.parent.rglob("*") if path.is_file()}
    assert train(normal, models, version="v1").entry == first.entry
    with pytest.raises(FolderError, match=r"already has a version 'v1' with other content; choose"):
        train(normal, models, version="v1", threshold=0.95)
    train(normal, models, version="v2", threshold=0.95)
    with pytest.raises(FolderError, match="already has a version 'v1'"):
        train(normal, models, version="v1", threshold=0.99)
    assert all(path.read_bytes() == data for path, data in before.items() if path != models)


def test_artifacts_of_a_version_that_models_json_does_not_name_are_not_overwritten(
    normal: Path, models: Path
) -> None:
    path = models.parent / "fan" / "v1" / "model.joblib"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"made by hand")
    with pytest.raises(FolderError, match="already has a version 'v1'"):
        train(normal, models, version="v1")
    assert path.read_bytes() == b"made by hand"


@pytest.mark.parametrize("version", ["../v1", "", ".v1", "a/b", "v 1"])
def test_a_version_that_cannot_be_a_folder_is_refused(
    normal: Path, models: Path, version: str
) -> None:
    with pytest.raises(FolderError, match="cannot name a version"):
        train(normal, models, version=version)
    assert not models.parent.exists()


def in_first_layout(trained: Trained, models: Path) -> dict[str, bytes]:
    """Move a model to models/<name>/, as earlier releases saved it; returns its files."""
    fields = entry(models)
    for key in ("model_path", "scaler_path", "dropped_features_path"):
        name = Path(fields[key]).name
        (trained.folder / name).rename(models.parent / "fan" / name)
        fields[key] = f"fan/{name}"
    del fields["compiled_path"], fields["sha256"]["compiled_path"]
    shutil.move(trained.folder / "training.json", models.parent / "fan" / "training.json")
    shutil.rmtree(trained.folder)
    fields["version"] = "2026-11-23"
    models.write_text(json.dumps({"fan": fields}))
    return {path.name: path.read_bytes() for path in (models.parent / "fan").iterdir()}


def test_a_model_of_the_first_layout_loads_and_stays_where_it_is(
    normal: Path, models: Path, first: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = in_first_layout(first, models)
    assert serve(models, monkeypatch, normal / "0.wav") == "2026-11-23"
    old = ModelEntry.model_validate(entry(models))
    recordings = [Labelled(p, "normal", p.name) for p in sorted(normal.iterdir())]
    assert model_folder.count_trained_on(models, old, recordings) == 5
    new = train(normal, models, threshold=0.95).entry
    assert [each.version for each in new.previous] == ["2026-11-23"]
    for name, data in files.items():
        assert (models.parent / "fan" / name).read_bytes() == data


def test_other_models_and_their_unknown_keys_stay_in_models_json(
    normal: Path, models: Path
) -> None:
    """Also if it begins with a byte order mark."""
    models.parent.mkdir()
    other = {"model_path": "other/model.joblib", "owner": "hall 3"}
    models.write_text(json.dumps({"other": other}), encoding="utf-8-sig")
    train(normal, models)
    found = json.loads(models.read_text(encoding="utf-8"))
    assert set(found) == {"fan", "other"}
    assert found["other"] == other


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"fan": ', "is not JSON"),
        (b"\xff\xfe{}", "is not UTF-8 text: byte 0 is 0xff"),
        (b'{"fan": {"model_path": 3}}', "fan.model_path: Input should be a valid string, found 3"),
    ],
)
def test_an_unusable_models_json_is_one_sentence_and_is_not_overwritten(
    normal: Path, models: Path, content: bytes, reason: str
) -> None:
    models.parent.mkdir()
    models.write_bytes(content)
    with pytest.raises(ModelsConfigError, match=r"fix or delete the file first$") as caught:
        train(normal, models)
    assert reason in str(caught.value)
    arguments = ["train", str(normal), "--name", "fan", "--models", str(models)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert reason in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert models.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_an_error(normal: Path, models: Path) -> None:
    models.parent.mkdir()
    (models.parent / "fan").write_text("not a folder")
    with pytest.raises(FolderError, match=r"model\.joblib cannot be written"):
        train(normal, models)
    assert not models.exists()


def test_a_push_uploads_previous_versions_for_rollback(
    models: Path, replaced: tuple[Trained, Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (each.entry for each in replaced)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="models")
        uploaded = push(models, "s3://models/live", s3).uploaded
        for each in (first, second):
            key = f"live/artifacts/{each.sha256['model_path']}.joblib"
            assert key in uploaded
            body = s3.get_object(Bucket="models", Key=key)["Body"].read()
            assert hashlib.sha256(body).hexdigest() == each.sha256["model_path"]
        (models.parent / first.model_path).unlink()
        with pytest.raises(ModelArtifactError, match=rf"fan, version {first.version}\.model_path"):
            push(models, "s3://models/live", s3)


def test_a_classifier_with_a_normal_class_is_explained(recordings: Path, models: Path) -> None:
    trained = training.train(Plan(recordings, "bearing", models, copies=0))
    (note,) = trained.notes
    assert note.startswith("A classifier of 2 classes (faulty, normal): it names the class and")
    assert "raises an alarm if all classes except 'normal' together have a probability of" in note
    command = f"oddsound train {recordings}/normal --anomalies {recordings}/faulty --name bearing"
    assert note.endswith(command)
    assert trained.entry.normal_label == "normal"
    assert note in trained.report
    assert command in (trained.folder / "report.html").read_text()


def test_a_classifier_without_a_normal_class_says_that_it_raises_no_alarm(
    recordings: Path, models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "by kind"
    shutil.copytree(recordings / "normal", folder / "good")
    shutil.copytree(recordings / "faulty", folder / "faulty")
    trained = training.train(Plan(folder, "bearing", models, copies=0))
    (note,) = trained.notes
    assert "never raises an alarm, because no class is called 'normal'" in note
    assert f"oddsound train '{folder}/NORMAL_CLASS' --anomalies '{folder}/OTHER_CLASS'" in note
    assert trained.entry.normal_label is None


def test_a_folder_of_machines_gets_a_note(recordings: Path, models: Path, tmp_path: Path) -> None:
    for machine in ("fan_1", "fan_2"):
        shutil.copytree(recordings / "normal", tmp_path / "m" / machine / "normal")
    trained = training.train(Plan(tmp_path / "m", "fans", models, copies=0))
    assert (
        "2 of the classes contain a folder 'normal', as if each were a machine" in trained.notes[1]
    )


def test_a_detector_says_when_it_raises_an_alarm(first: Trained) -> None:
    (note,) = first.notes
    assert note == (
        "A detector trained on 5 normal recordings: it raises an alarm if the anomaly score is at"
        " least 0.9. To measure how many anomalies it detects, add --anomalies FOLDER."
    )


def test_the_command_prints_the_notes(normal: Path, models: Path) -> None:
    arguments = ["train", str(normal), "--name", "fan", "--models", str(models)]
    text = CliRunner().invoke(app, arguments).stdout
    assert "A detector trained on 5 normal recordings" in text
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert found["notes"][0].startswith("A detector trained on 5 normal recordings")
