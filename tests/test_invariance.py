"""The recorder's channels and DC offset do not change the verdict of the shipped fan model."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound import pipeline, runtime
from oddsound.descriptors import Array
from oddsound.schemas import Prediction
from oddsound_workbench.synthesis import fan

MODELS = Path(__file__).parents[1] / "models" / "models.json"
RATE = 16000


@pytest.fixture(autouse=True)
def shipped(cold_start: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(MODELS))


DELIVERED: dict[str, Callable[[Array], Array]] = {
    "left only": lambda x: np.column_stack([x, 0 * x]),
    "right only": lambda x: np.column_stack([0 * x, x]),
    "dual mono": lambda x: np.column_stack([x, x]),
    "antiphase stereo": lambda x: np.column_stack([x, -x]),
    "a stuck channel": lambda x: np.column_stack([x, np.full_like(x, 0.7)]),
    "DC offset 0.05": lambda x: x + np.float32(0.05),
    "DC offset 0.3": lambda x: x + np.float32(0.3),
    "8 channels, one dead, one inverted": lambda x: np.column_stack([x, 0 * x, -x] + 5 * [x]),
}
WARNED = {
    "left only": "a silent channel",
    "right only": "a silent channel",
    "antiphase stereo": "an inverted channel",
    "a stuck channel": "a silent channel",
    "DC offset 0.05": "DC offset",
    "DC offset 0.3": "DC offset",
    "8 channels, one dead, one inverted": "a silent channel, an inverted channel",
}


def predict(samples: Array) -> Prediction:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
    model = runtime.registry().get("fan")
    return pipeline.predict(file.getvalue(), model, runtime.limits())


@pytest.mark.parametrize("way", DELIVERED)
@pytest.mark.parametrize("faulty", [False, True])
def test_the_anomaly_level_of_a_synthesised_fan(way: str, faulty: bool) -> None:
    sound = (fan(1, faulty=faulty, duration_s=10) / 2).astype(np.float32)
    expected, found = predict(sound), predict(DELIVERED[way](sound))
    assert expected.anomaly_level is not None
    assert found.anomaly_level == pytest.approx(expected.anomaly_level, rel=0.01)
    assert found.prediction == expected.prediction
    assert expected.signal is not None
    assert found.signal is not None
    assert expected.signal.warnings == []
    if found.is_anomaly and way in WARNED:
        assert found.signal.warnings[-1] == (
            f"the anomaly may come from the recorder, not from the machine: {WARNED[way]}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("way", DELIVERED)
def test_the_verdicts_on_real_recordings(way: str, real_data: Path) -> None:
    """False alarms and detection over the recordings of MIMII; clipped at no sample."""
    changed = []
    paths = sorted((real_data / "mimii_fan").rglob("*.wav"))
    for path in paths:
        samples, _ = soundfile.read(path, dtype="float32")
        expected, found = predict(samples), predict(DELIVERED[way](samples))
        changed.append(found.is_anomaly != expected.is_anomaly)
    assert sum(changed) <= 0.05 * len(paths)
