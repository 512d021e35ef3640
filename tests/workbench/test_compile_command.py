"""`oddsound compile`: models made by hand, and models that cannot be compiled."""

import json
from pathlib import Path

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from oddsound import runtime
from oddsound.compiled.classifiers import CompiledClassifier
from oddsound_workbench.compiling.compiler import KINDS
from tests.making import LABELS, configured, features, saved, saved_classifier
from tests.pages import page
from tests.workbench.command import read, run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models made by hand, one of which cannot be compiled, and a key of somebody else."""
    neighbours = KNeighborsClassifier(3).fit(features(), LABELS)
    return configured(
        tmp_path,
        pump={**saved_classifier(tmp_path, "pump"), "owner": "hall 3"},
        press=saved(tmp_path, "press", model=neighbours),
    )


def test_a_model_made_by_hand_is_compiled_and_served_without_pickles(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads(models.read_text())
    [found] = read(run("compile", "pump", "--models", models, "--json"))
    assert found["bytes"] == Path(found["compiled"]).stat().st_size
    after = json.loads(models.read_text())
    assert after["press"] == before["press"]
    assert after["pump"]["owner"] == "hall 3"
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(models))
    monkeypatch.setenv("ALLOW_PICKLE", "false")
    runtime.clear()
    model = runtime.registry().get("pump")
    assert isinstance(model.predictor.estimator, CompiledClassifier)
    assert model.predictor.classes == ("faulty", "normal")


def test_a_model_that_cannot_be_compiled_says_so_and_the_others_are_compiled(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read(run("compile", "press", "pump", "--models", models, "--json"), code=3)
    assert found[0]["error"] == "NotCompilableError"
    assert "KNeighborsClassifier cannot be compiled; here, scikit-learn's" in found[0]["detail"]
    assert "compiled" in found[1]
    assert "compiled_path" not in json.loads(models.read_text())["press"]
    # It is served as before.
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(models))
    runtime.clear()
    assert runtime.registry().get("press").predictor.classes == ("faulty", "normal")


def test_compiling_again_after_the_joblib_files_changed(models: Path, tmp_path: Path) -> None:
    read(run("compile", "pump", "--models", models, "--json"))
    first = json.loads(models.read_text())["pump"]
    forest = RandomForestClassifier(5, random_state=0).fit(features(), LABELS)
    entry = {**saved(tmp_path, "pump", model=forest), "compiled_path": first["compiled_path"]}
    entry["sha256"]["compiled_path"] = first["sha256"]["compiled_path"]
    configured(tmp_path, pump=entry)
    assert (
        "compiled from other files"
        in run("predict", "a.wav", "--model", "pump", "--models", models).output
    )
    [found] = read(run("compile", "pump", "--models", models, "--json"))
    # The file that a service may be reading is still there.
    assert (tmp_path / first["compiled_path"]).exists()
    assert Path(found["compiled"]) != tmp_path / first["compiled_path"]


def test_an_unknown_name_and_a_missing_file_are_errors(models: Path, tmp_path: Path) -> None:
    result = run("compile", "fan", "--models", models)
    assert result.exit_code == 3
    assert "no model is called 'fan'; known models: press, pump" in result.output
    assert run("compile", "fan", "--models", tmp_path / "gone.json").exit_code == 3


def test_the_page_lists_every_class_that_can_be_compiled() -> None:
    text = page("add-a-model")
    section = text[text.index("## Compiled models") :]
    for translators in KINDS.values():
        for name in translators:
            assert f"`{name}`" in section, name
