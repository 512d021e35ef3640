"""`oddsound evaluate`: figures of a recipe or a model, also for altered recordings."""

import shutil
from pathlib import Path

import pytest

from oddsound_workbench.learn import intervals
from oddsound_workbench.learn.robustness import CONDITIONS
from oddsound_workbench.synthesis import write_fan
from tests.workbench.command import read, run


def test_evaluate_warns_about_recordings_that_the_model_was_trained_on(
    trained: Path, recordings: Path
) -> None:
    options = ("--model", "bearing", "--models", trained)
    result = run("evaluate", recordings, *options)
    assert result.exit_code == 0
    assert "32 of the 32 recordings were trained on" in result.stdout.replace("\n", " ")
    assert "Confusion" in result.stdout
    result = run("evaluate", recordings, *options, "--json")
    assert "32 of the 32 recordings were trained on" in result.stderr.replace("\n", " ")
    found = read(result)
    assert found["trained_on_recordings"] == 32
    assert found["accuracy"] == 1
    assert dict(zip(found["classes"], found["confusion"], strict=True)) == {
        "faulty": [8, 0],
        "normal": [0, 24],
    }


def test_evaluate_a_detector_on_new_recordings(trained: Path, tmp_path: Path) -> None:
    for seed in range(4):
        write_fan(tmp_path / "normal" / f"{seed}.wav", 700 + seed, faulty=False, duration_s=2)
        write_fan(tmp_path / "abnormal" / f"{seed}.wav", 800 + seed, faulty=True, duration_s=2)
    result = run("evaluate", tmp_path, "--model", "fan", "--models", trained, "--json")
    found = read(result)
    assert found["auc"] == 1
    assert found["detection_rate"] == 1
    assert found["normal_recordings"] == found["anomaly_recordings"] == 4
    assert found["trained_on_recordings"] == 0
    # Independent recordings that no model was trained on: an interval of their share alone.
    limits = found["detection_rate_interval"]
    assert limits["low"] == pytest.approx(intervals.share(1, 4).low, abs=1e-4)
    assert "more_recordings_to_halve_interval" not in found


def test_a_model_without_training_json_may_have_been_trained_on_the_recordings(
    trained: Path, recordings: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.parent, tmp_path / "models")
    for path in (tmp_path / "models" / "fan").glob("*/training.json"):
        path.unlink()
    options = ("--model", "fan", "--models", tmp_path / "models" / "models.json")
    result = run("evaluate", recordings / "normal", *options)
    assert "it is unknown whether the model was trained on" in result.stdout.replace("\n", " ")


@pytest.mark.slow
def test_evaluate_the_recipe_for_each_machine(recordings: Path, tmp_path: Path) -> None:
    for machine in ("fan_1", "fan_2"):
        shutil.copytree(recordings / "normal", tmp_path / machine / "normal")
        shutil.copytree(recordings / "faulty", tmp_path / machine / "abnormal")
    found = read(run("evaluate", tmp_path, "--json"))
    assert set(found["each"]) == {"fan_1", "fan_2"}
    assert found["auc"] > 0.9
    assert found["worst"] in found["each"]


@pytest.mark.slow
def test_evaluate_each_class_as_the_normal_one(recordings: Path) -> None:
    found = read(run("evaluate", recordings, "--each-class-as-normal", "--json"))
    assert set(found["each"]) == {"normal", "faulty"}
    assert found["auc"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "detects"),
    [
        (["by-kind", "--copies", "0"], False),
        (["by-kind/normal", "--anomalies", "by-kind/faulty"], True),
        (["by-kind", "--each-class-as-normal"], True),
        (["machines"], True),
        (["by-kind", "--model", "bearing"], False),
        (["by-kind/normal", "--anomalies", "by-kind/faulty", "--model", "fan"], True),
    ],
    ids=["classifier", "detector", "each class", "machines", "model", "detecting model"],
)
def test_evaluate_under_alterations(
    options: list[str],
    detects: bool,
    trained: Path,
    recordings: Path,
    tmp_path: Path,
) -> None:
    few = shutil.ignore_patterns("1?.wav", "06.wav", "07.wav")
    shutil.copytree(recordings, tmp_path / "by-kind", ignore=few)
    shutil.copytree(recordings / "normal", tmp_path / "machines" / "fan_1" / "normal", ignore=few)
    shutil.copytree(recordings / "faulty", tmp_path / "machines" / "fan_1" / "abnormal", ignore=few)
    placed = [tmp_path / o if o.startswith(("by-kind", "machines")) else o for o in options]
    models = ["--models", trained] if "--model" in options else []
    page = tmp_path / "out" / "report.html"
    found = read(run("evaluate", *placed, *models, "--robustness", "--html", page, "--json"))
    conditions = found["robustness"]
    assert list(conditions) == ["as_recorded", *CONDITIONS]
    figures = {"auc", "pauc", "false_alarm_rate", "detection_rate"} if detects else {"accuracy"}
    for name, each in conditions.items():
        assert figures <= set(each), name
    main = "auc" if detects else "accuracy"
    assert conditions["as_recorded"][main] == found[main]
    if detects and "--each-class-as-normal" not in options:
        # As in a prediction, the detector for 8 kHz is used: nothing above 4 kHz is compared.
        assert conditions["rate_8_khz"]["false_alarm_rate"] <= found["false_alarm_rate"] + 0.1
        assert conditions["rate_8_khz"]["detection_rate"] == 1
    # The synthesised fault is obvious, and no model uses the level.
    assert conditions["gain_minus_20_db"][main] >= found[main] - 0.05
    assert 64 <= conditions["mp3_64_kbps"]["kbit_per_s"] < 70
    text = page.read_text(encoding="utf-8")
    assert all(condition.title in text for condition in CONDITIONS.values())
