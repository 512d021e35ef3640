"""The recorder's files, channels and levels do not change the verdict of the shipped fan model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.conditions.deliveries import DELIVERIES, LOW_RATES_HZ, headroom, wav
from oddsound import load_model, pipeline
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.schemas import Prediction
from oddsound_workbench.synthesis import fan

MODELS = Path(__file__).parents[1] / "models" / "models.json"
RATE = 16000
LIMITS = AudioLimits(max_bytes=50_000_000, max_duration_s=60)
ONLY_HERE = ("right only", "a stuck channel", "8 channels, one dead, one inverted")
"""Keys of DELIVERED that are not in the benchmark's DELIVERIES under another name."""

LOW_RATES = [f"{before}{hz / 1000:g} kHz" for hz in LOW_RATES_HZ for before in ("", "recorded at ")]
MAX_CHANGED = 0.05
"""Share of the recordings whose verdict may change."""


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("fan", MODELS)


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


def predict(content: bytes, model: Model) -> Prediction:
    return pipeline.predict(content, model, LIMITS)


@pytest.mark.parametrize("way", DELIVERED)
@pytest.mark.parametrize("faulty", [False, True])
def test_the_anomaly_level_of_a_synthesised_fan(way: str, faulty: bool, model: Model) -> None:
    sound = (fan(1, faulty=faulty, duration_s=10) / 2).astype(np.float32)
    expected = predict(wav(sound, RATE), model)
    found = predict(wav(DELIVERED[way](sound), RATE), model)
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


@pytest.fixture(scope="module")
def real(real_data: Path, model: Model) -> list[tuple[Array, bool]]:
    """The recordings of MIMII, and whether the model raises an alarm."""
    paths = sorted((real_data / "mimii_fan").rglob("*.wav"))
    samples = [headroom(soundfile.read(path, dtype="float32")[0]) for path in paths]
    return [(each, predict(wav(each, RATE), model).is_anomaly is True) for each in samples]


@pytest.mark.slow
@pytest.mark.parametrize("way", [*ONLY_HERE, *(way for way in DELIVERIES if way not in LOW_RATES)])
def test_the_verdicts_on_real_recordings(
    way: str, real: list[tuple[Array, bool]], model: Model
) -> None:
    def deliver(samples: Array) -> bytes:
        if way in ONLY_HERE:
            return wav(DELIVERED[way](samples), RATE)
        return DELIVERIES[way](samples, RATE)

    changed = [predict(deliver(each), model).is_anomaly is not alarm for each, alarm in real]
    assert sum(changed) <= MAX_CHANGED * len(real)


@pytest.mark.slow
@pytest.mark.parametrize("way", LOW_RATES)
def test_a_low_sample_rate_is_named_and_raises_few_more_alarms(
    way: str, real: list[tuple[Array, bool]], model: Model
) -> None:
    found = [predict(DELIVERIES[way](each, RATE), model) for each, _ in real]
    warnings = [each.signal.warnings for each in found if each.signal]
    assert len(warnings) == len(real)
    assert all(any("contains nothing above" in text for text in each) for each in warnings)
    alarms = sum(each.is_anomaly is True for each in found)
    assert alarms <= sum(alarm for _, alarm in real) + MAX_CHANGED * len(real)
