"""The public functions of `import oddsound`."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import oddsound
from oddsound_workbench.synthesis import write_fan


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    path = tmp_path / "faulty.wav"
    write_fan(path, 601, faulty=True, duration_s=2)
    return path


def test_the_five_lines_of_the_readme(configured: Path, faulty: Path) -> None:
    model = oddsound.load_model("fan")
    prediction = oddsound.predict(faulty, model)
    assert prediction.prediction == "anomaly"
    assert prediction.is_anomaly is True
    assert prediction.model_name == "fan"


def test_bytes_a_string_and_a_path_give_the_same_prediction(configured: Path, faulty: Path) -> None:
    scores = {
        oddsound.predict(recording, "fan").anomaly_score
        for recording in (faulty, str(faulty), faulty.read_bytes())
    }
    assert len(scores) == 1


def test_without_a_name_the_default_model_is_used(configured: Path, faulty: Path) -> None:
    assert oddsound.predict(faulty).model_name == "fan"
    assert oddsound.load_model().name == "fan"


def test_a_models_json_by_its_path(
    trained: Path, faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS_CONFIG_JSON", "{}")
    assert oddsound.load_model("bearing", models=trained).name == "bearing"
    assert oddsound.load_model("bearing", models=str(trained)).name == "bearing"


def test_an_explanation_on_request(configured: Path, faulty: Path) -> None:
    assert oddsound.predict(faulty, "fan").explanation is None
    assert oddsound.predict(faulty, "fan", explain=True).explanation is not None


def test_the_errors(configured: Path, tmp_path: Path) -> None:
    with pytest.raises(oddsound.UnknownModelError, match="known models: bearing, fan"):
        oddsound.load_model("pump")
    with pytest.raises(oddsound.ModelsConfigError, match="No such file"):
        oddsound.load_model(models=tmp_path / "models.json")
    with pytest.raises(oddsound.UnsupportedAudioError):
        oddsound.predict(b"not a recording")
    with pytest.raises(FileNotFoundError):
        oddsound.predict(tmp_path / "nowhere.wav")


def test_every_public_name_exists() -> None:
    for name in oddsound.__all__:
        assert getattr(oddsound, name) is not None
    assert set(oddsound.__all__) == set(dir(oddsound))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        importlib.import_module("oddsound").nonsense  # noqa: B018


def test_the_import_loads_no_library_and_leaves_the_garbage_collector_alone() -> None:
    code = (
        "import gc, json, sys; before = gc.get_threshold(); import oddsound\n"
        "heavy = {'numpy', 'pydantic', 'librosa', 'sklearn', 'boto3'} & set(sys.modules)\n"
        "oddsound.predict\n"
        "print(json.dumps([sorted(heavy), before == gc.get_threshold()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True]
