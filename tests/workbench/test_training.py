"""What training saves, and that it is evaluated on recordings it was not trained on."""

import hashlib
import json
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
import soundfile
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.svm import SVC

from oddsound import pipeline, runtime
from oddsound.features import extractor
from oddsound.schemas import ModelEntry
from oddsound_workbench import assessment, training
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import (
    classifier,
    dataset,
    intervals,
    metrics,
)
from oddsound_workbench.learn.classifier import ClassifierRecipe
from oddsound_workbench.learn.dataset import ExtractionSettings
from oddsound_workbench.learn.fitted import FeatureChoice
from oddsound_workbench.learn.plan import Plan, TrainingData, no_progress
from oddsound_workbench.learn.recordings import Labelled, labelled, unlabelled

pytestmark = pytest.mark.slow


def entry_of(models: Path, name: str) -> ModelEntry:
    return ModelEntry.model_validate(json.loads(models.read_text())[name])


@pytest.mark.parametrize("name", ["fan", "bearing"])
def test_every_artifact_exists_and_has_its_checksum(trained: Path, name: str) -> None:
    entry = entry_of(trained, name)
    assert {"model_path", "compiled_path"} <= set(entry.sha256)
    for key, checksum in entry.sha256.items():
        data = (trained.parent / getattr(entry, key)).read_bytes()
        assert hashlib.sha256(data).hexdigest() == checksum
    assert entry.sklearn_version == sklearn.__version__
    assert entry.sample_rate == 16000
    assert entry.window_s == 2.0
    folder = (trained.parent / entry.model_path).parent
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert f"Model {name}" in (folder / "report.txt").read_text()


def test_the_artifacts_contain_only_objects_of_scikit_learn_and_arrays(trained: Path) -> None:
    paths = list(trained.parent.rglob("*.joblib"))
    assert len(paths) == 7
    for path in paths:
        artifact = joblib.load(path)
        module = type(artifact).__module__.split(".")[0]
        assert module in {"sklearn", "builtins", "numpy"}, f"{path}: {type(artifact)}"


def test_level_features_are_dropped_unless_the_gain_is_fixed(trained: Path) -> None:
    dropped = joblib.load(trained.parent / str(entry_of(trained, "fan").dropped_features_path))
    assert dropped == ["level_rms_dbfs", "level_max_dbfs"]
    extract = extractor("default", 16000)
    assert FeatureChoice.of(extract, fixed_gain=True).dropped == ()


def test_a_louder_recording_gets_the_same_prediction(
    configured: Path, recordings: Path, tmp_path: Path
) -> None:
    waveform, rate = soundfile.read(recordings / "faulty" / "00.wav", dtype="float32")
    predictions = []
    for gain_db in (0, -20):
        path = tmp_path / f"{gain_db}.wav"
        soundfile.write(path, waveform * 10 ** (gain_db / 20), rate, "FLOAT")
        model = runtime.registry().get("bearing")
        predictions.append(pipeline.predict(path, model, runtime.limits()).all_probabilities)
    for name, probability in predictions[0].items():
        assert predictions[1][name] == pytest.approx(probability, abs=1e-3)


def test_the_same_seed_gives_the_same_bytes_from_any_number_of_processes(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for in_processes in (False, True):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache-{in_processes}"))
        minimum = 0 if in_processes else 1_000_000
        monkeypatch.setattr(dataset, "PARALLEL_FROM_S", minimum)
        monkeypatch.setattr(classifier, "PARALLEL_FROM_ROWS", minimum)
        models = tmp_path / str(in_processes) / "models.json"
        training.train(Plan(recordings, "bearing", models, copies=2, seed=5, version="1"))
        files = sorted(models.parent.rglob("*.*"))
        digests.append([(f.name, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files])
    assert len(digests[0]) == 10
    assert digests[0] == digests[1]


def test_another_seed_gives_other_copies(recordings: Path) -> None:
    found = labelled(recordings)[:2]
    rows = [
        dataset.rows_of(found, ExtractionSettings(16000, 2.0, copies=1, seed=s)) for s in (1, 2)
    ]
    same = (rows[0].values == rows[1].values).all(axis=1)
    np.testing.assert_array_equal(same, ~rows[0].copy)


@pytest.mark.usefixtures("no_plots")
def test_other_models_stay_in_models_json(recordings: Path, tmp_path: Path, trained: Path) -> None:
    models = tmp_path / "models.json"
    shutil.copytree(trained.parent, tmp_path, dirs_exist_ok=True)
    before = json.loads(models.read_text())
    training.train(Plan(recordings / "normal", "second", models))
    after = json.loads(models.read_text())
    assert after.pop("second")["predictor"] == "mahalanobis_views"
    assert after == before


def test_recordings_of_one_group_are_never_in_both_parts_of_a_split(recordings: Path) -> None:
    """Labels are random for each group, so only a model that saw a recording's group knows it.

    Each recording appears twice; if a pair were in both parts, accuracy would be far above
    chance.
    """
    found = unlabelled(recordings / "normal", "normal")
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=len(found))
    pairs = [
        Labelled(r.path, f"class {label}", r.group)
        for r, label in zip(found, labels, strict=True)
        for _ in range(2)
    ]
    rows = dataset.rows_of(pairs, ExtractionSettings(16000, 2.0, copies=1))
    choice = FeatureChoice.of(extractor("default", 16000), fixed_gain=False)
    recipe = ClassifierRecipe(Plan(recordings, "x", recordings / "models.json"))
    summary = dataset.summarize_headers(pairs)
    data = TrainingData(rows, None, choice, ExtractionSettings(16000, 2.0), summary, 8000)
    result = recipe.evaluate(recipe.folds(data, no_progress), data)
    assert result.metrics()["accuracy"] < 0.8
    for fold in set(result.folds.tolist()):
        inside = {r.group for r, f in zip(pairs, result.folds, strict=True) if f == fold}
        outside = {r.group for r, f in zip(pairs, result.folds, strict=True) if f != fold}
        assert not inside & outside


def test_folds_and_groups_are_read_from_file_names(tmp_path: Path, recordings: Path) -> None:
    for label in ("normal", "faulty"):
        for number, path in enumerate(sorted((recordings / label).glob("*.wav"))[:6]):
            (tmp_path / label).mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / label / f"{1 + number % 3}-machine{number // 2}-take.wav")
    found = labelled(tmp_path, r"machine(\d)", r"^(\d)-")
    assert {r.fold for r in found} == {"1", "2", "3"}
    assert {r.group for r in found} == {"0", "1", "2"}
    with pytest.raises(FolderError, match="'pump' does not match the file name"):
        labelled(tmp_path, "pump")
    with pytest.raises(FolderError, match="not a valid regular expression"):
        labelled(tmp_path, "(")


def test_a_detector_needs_enough_normal_recordings(recordings: Path, tmp_path: Path) -> None:
    for name in ("00.wav", "01.wav", "02.wav"):
        shutil.copy(recordings / "normal" / name, tmp_path / name)
    with pytest.raises(FolderError, match="at least 4 normal recordings, found 3"):
        training.train(Plan(tmp_path, "fan", tmp_path / "models" / "models.json"))


def test_a_class_with_too_few_recordings_is_named(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings / "normal", tmp_path / "normal")
    (tmp_path / "faulty").mkdir()
    for name in ("1.wav", "2.wav", "3.wav"):
        shutil.copy(recordings / "faulty" / "00.wav", tmp_path / "faulty" / name)
    with pytest.raises(FolderError, match=r"class 'faulty' has 1 recording \(identical files"):
        training.train(Plan(tmp_path, "x", tmp_path / "models" / "models.json"))


def test_recordings_next_to_class_folders_are_refused(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings, tmp_path, dirs_exist_ok=True)
    shutil.copy(recordings / "faulty" / "00.wav", tmp_path / "stray.wav")
    with pytest.raises(FolderError, match=r"class folders and recordings, such as stray\.wav"):
        training.train(Plan(tmp_path, "x", tmp_path / "models" / "models.json"))


def test_recordings_of_silence_are_refused(tmp_path: Path) -> None:
    for seconds in range(1, 7):
        soundfile.write(tmp_path / f"{seconds}.wav", np.zeros(16000 * seconds), 16000)
    with pytest.raises(FolderError, match="was the microphone on"):
        training.train(Plan(tmp_path, "x", tmp_path / "models" / "models.json"))


def test_a_recording_that_cannot_be_read_is_named(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings / "normal", tmp_path, dirs_exist_ok=True)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(FolderError, match=r"broken\.wav"):
        training.train(Plan(tmp_path, "fan", tmp_path / "models" / "models.json"))


def test_the_entry_of_a_detector_says_how_certain_it_is(trained: Path) -> None:
    metrics = entry_of(trained, "fan").metrics
    (details,) = (trained.parent / "fan").glob("*/training.json")
    full = json.loads(details.read_text())["metrics"]
    assert metrics["normal_recordings"] == 24
    expected = intervals.false_alarm_rate(full["false_alarm_rate"], 24)
    assert metrics["false_alarm_rate_interval"] == expected.as_dict()
    more = intervals.more_recordings_to_halve(full["false_alarm_rate"], 24)
    assert metrics["more_recordings_to_halve_interval"] == more
    assert [row["threshold"] for row in full["thresholds"]] == [
        *(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    ]
    metrics = entry_of(trained, "bearing").metrics
    expected = intervals.share(metrics["accuracy"], 32)
    assert metrics["accuracy_interval"] == pytest.approx(expected.as_dict(), abs=1e-3)


@pytest.mark.usefixtures("no_plots")
def test_a_recording_that_is_both_normal_and_anomalous_is_named(
    recordings: Path, tmp_path: Path
) -> None:
    shutil.copytree(recordings / "faulty", tmp_path / "faulty")
    shutil.copy(min((recordings / "normal").iterdir()), tmp_path / "faulty" / "copy.wav")
    plan = Plan(recordings / "normal", "fan", tmp_path / "m.json", anomalies=tmp_path / "faulty")
    trained = training.train(plan)
    assert "1 of the 9 anomalous recordings are also among the normal" in " ".join(trained.notes)
    assert "also among the normal" in " ".join(trained.report.split())


def test_auc_and_pauc_of_scores_that_can_be_counted_by_hand() -> None:
    normal = np.arange(10) / 10
    assert metrics.aucs(normal, normal + 10) == (1, 1)
    auc, _ = metrics.aucs(normal, np.array([0.45]))
    assert auc == pytest.approx(0.5)
    # One of ten normal scores is higher: nothing is detected up to a false-alarm rate of 0.1.
    auc, pauc = metrics.aucs(normal, np.array([0.85]))
    assert auc == pytest.approx(0.9)
    assert pauc == pytest.approx(0.5 * (1 + (0 - 0.005) / (0.1 - 0.005)))


def test_calibration_error_of_an_overconfident_model() -> None:
    right = np.array([True, False] * 50)
    assert metrics.calibration_error(np.full(100, 0.5), right) == pytest.approx(0)
    assert metrics.calibration_error(np.full(100, 0.95), right) == pytest.approx(0.45)


@pytest.mark.parametrize("count", [2, 4])
def test_the_fitted_model_uses_the_chosen_temperatures(count: int) -> None:
    """They are set in the objects of scikit-learn as factors of the logits."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(count), 15)
    rows = rng.normal(size=(len(classes), 6)) + np.eye(6)[classes]
    vote = classifier.Vote(classifier.PROJECTIONS[0], 3.0, 1.7, 0.4, 1.3, 0.0)
    found = classifier._fit_vote(vote, rows, classes).predict_proba(rows)
    decision = SVC(C=3.0, gamma="scale").fit(rows, classes).decision_function(rows)
    svc = np.column_stack([-decision, decision]) if count == 2 else decision
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(rows, classes)
    probabilities = softmax(1.7 * svc, axis=1), softmax(0.4 * lda.predict_log_proba(rows), axis=1)
    expected = softmax(1.3 * np.log(sum(probabilities) / 2 + 1e-12), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def folded(folder: Path, recordings: Path, **digits_of: str) -> Path:
    """One folder per class with a recording for each digit, which begins the name."""
    sources = {"a": "normal", "b": "faulty"}
    for label, digits in digits_of.items():
        (folder / label).mkdir(parents=True)
        for number, digit in enumerate(digits):
            source = recordings / sources[label] / f"{number:02}.wav"
            shutil.copy(source, folder / label / f"{digit}-{number}.wav")
    return folder


def test_folds_that_leave_too_few_recordings_of_a_class_are_refused(
    recordings: Path, tmp_path: Path
) -> None:
    folder = folded(tmp_path / "few", recordings, a="001", b="000111")
    plan = Plan(folder, "x", tmp_path / "models.json", fold_pattern=r"^(\d)-", copies=1)
    recipe = ClassifierRecipe(plan)
    data = recipe.read(no_progress)
    with pytest.raises(FolderError, match="outside fold 0, the class 'a' has 1 recordings"):
        recipe.folds(data, no_progress)


def test_a_fold_without_a_class_does_not_test_its_detector(
    recordings: Path, tmp_path: Path
) -> None:
    folder = folded(tmp_path / "gap", recordings, a="00001111", b="00112222")
    plan = Plan(folder, "x", tmp_path / "models.json", fold_pattern=r"^(\d)-")
    found = assessment.of_each_class(plan, no_progress)
    assert set(found.metrics["each"]) == {"a", "b"}
    assert found.metrics["each"]["a"]["normal_recordings"] == 8


@pytest.mark.usefixtures("no_plots")
def test_three_recordings_of_each_class_and_one_copy_are_enough(
    recordings: Path, tmp_path: Path
) -> None:
    folder = folded(tmp_path / "small", recordings, a="012", b="012")
    trained = training.train(Plan(folder, "x", tmp_path / "models.json", copies=1))
    assert trained.entry.classes == ["a", "b"]
