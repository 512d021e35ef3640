"""The shipped models load unchanged, and perform on real recordings as their READMEs say."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from oddsound import pipeline, runtime
from oddsound.compiled.classifiers import CompiledClassifier
from oddsound.compiled.steps import CompiledScaler
from oddsound.descriptors import Array
from oddsound.model import Model
from oddsound.views import ViewDetector
from oddsound_workbench.cli import app
from oddsound_workbench.compiling.compiler import compiled
from oddsound_workbench.synthesis import write_fan
from tests.conftest import noise, sine
from tests.making import probabilities

MODELS = Path(__file__).parents[1] / "models" / "models.json"


@pytest.fixture(autouse=True)
def shipped(cold_start: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(MODELS))


@pytest.mark.parametrize(("name", "classes"), [("esc10", 10), ("fan", 2)])
def test_a_shipped_model_loads_verified_and_predicts(
    name: str, classes: int, tmp_path: Path
) -> None:
    model = runtime.registry().get(name)
    path = write_fan(tmp_path / "fan.wav", 1, faulty=False, duration_s=10)
    prediction = pipeline.predict(path, model, runtime.limits())
    assert len(prediction.all_probabilities) == classes
    assert sum(prediction.all_probabilities.values()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ["esc10", "fan"])
def test_a_shipped_model_is_served_from_its_compiled_file(name: str) -> None:
    model = runtime.registry().get(name)
    assert isinstance(model.scaler, CompiledScaler)
    assert isinstance(model.predictor.estimator, CompiledClassifier | ViewDetector)
    assert model.statistics is not None


@pytest.mark.parametrize("name", ["esc10", "fan"])
def test_the_compiled_file_of_a_shipped_model_is_made_from_its_joblib_files(name: str) -> None:
    """The same numbers, so that it was not edited."""
    catalogue = runtime.registry().catalogue
    _, entry = catalogue.entry(name)
    folder = MODELS.parent

    def fetch(key: str) -> bytes:
        path: Path = folder / getattr(entry, key)
        return path.read_bytes()

    found, expected = (
        np.load(io.BytesIO(data))
        for data in (fetch("compiled_path"), compiled(name, entry, 16000, fetch))
    )
    assert set(found) == set(expected)
    for key in expected:
        np.testing.assert_array_equal(found[key], expected[key])


def test_the_default_is_the_fan() -> None:
    assert runtime.registry().get().name == "fan"


@pytest.mark.parametrize("waveform", [noise(1, 10), sine(1000, 10)])
def test_other_sounds_are_anomalies_for_the_fan_model(waveform: Array, tmp_path: Path) -> None:
    path = tmp_path / "other.wav"
    soundfile.write(path, waveform, 16000, "FLOAT")
    prediction = pipeline.predict(path, runtime.registry().get("fan"), runtime.limits())
    assert prediction.is_anomaly is True


@pytest.mark.parametrize(("kind", "anomalies"), [("normal", 1), ("abnormal", 10)])
def test_the_fan_model_separates_the_recordings_of_mimii(
    real_data: Path, kind: str, anomalies: int
) -> None:
    """One normal recording contains a bang, and was left out of training."""
    result = CliRunner().invoke(app, ["predict", str(real_data / "mimii_fan" / kind), "--json"])
    found = json.loads(result.stdout)
    assert len(found) == 10
    assert sum(entry["is_anomaly"] for entry in found) == anomalies
    if kind == "normal":
        (bang,) = [entry for entry in found if entry["is_anomaly"]]
        assert Path(bang["file"]).name == "00000004.wav"
        assert any("a knock" in event["says"] for event in bang["events"])


@pytest.mark.parametrize("gain_db", [-20, 6])
def test_loudness_does_not_change_the_anomaly_score(real_data: Path, gain_db: float) -> None:
    from oddsound import audio

    model = runtime.registry().get("fan")
    path = real_data / "mimii_fan" / "abnormal" / "00000000.wav"
    waveform = audio.load(path, 16000, runtime.limits()).waveform
    scores = [
        probabilities(model, [waveform * np.float32(gain)])[0, 1]
        for gain in (1, 10 ** (gain_db / 20))
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-3)


@pytest.mark.parametrize("hz", [300, 1000, 2300, 3100, 6000])
def test_an_explanation_names_the_band_of_an_added_tone(
    real_data: Path, tmp_path: Path, hz: float
) -> None:
    model = runtime.registry().get("fan")
    path = sorted((real_data / "mimii_fan" / "normal").glob("*.wav"))[1]
    waveform, rate = soundfile.read(path, dtype="float32")
    tone = sine(hz, len(waveform) / rate, rate) * np.sqrt(2) * waveform.std()
    soundfile.write(tmp_path / "tone.wav", waveform + tone, rate, "FLOAT")
    found = pipeline.predict(tmp_path / "tone.wav", model, runtime.limits(), explain=True)
    assert found.explanation is not None
    top = found.explanation.bands[0]
    assert top.low_hz < hz < top.high_hz
    assert top.level_db > 5


@pytest.mark.parametrize("hz", [300, 1000, 2300, 3100, 6000])
def test_an_explanation_names_the_band_of_a_tone_in_noise_with_the_spectrum_of_the_fan(
    tmp_path: Path, hz: float
) -> None:
    model = runtime.registry().get("fan")
    sound = noise_like_training(model)
    tone = sine(hz, 10) * np.sqrt(2) * sound.std()
    soundfile.write(tmp_path / "tone.wav", sound + tone, 16000, "FLOAT")
    found = pipeline.predict(tmp_path / "tone.wav", model, runtime.limits(), explain=True)
    assert found.explanation is not None
    top = found.explanation.bands[0]
    assert top.low_hz < hz < top.high_hz
    assert top.says.startswith("Louder than normal")


def noise_like_training(model: Model) -> Array:
    """10 s of noise with the spectrum of the recordings that a model was trained on."""
    training = model.statistics
    assert training is not None
    levels = model.extractor.levels
    spectrum = np.fft.rfft(noise(3, 10))
    hz = np.fft.rfftfreq(10 * 16000, 1 / 16000)
    middle = model.extractor.bands[levels].mean(axis=1)
    level_db = np.interp(hz, middle, training.mean[np.searchsorted(model.kept, levels)])
    return np.fft.irfft(spectrum * 10 ** (level_db / 20)).astype(np.float32)
