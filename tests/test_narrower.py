"""Recordings without high frequencies are compared with the normal sound below them."""

from pathlib import Path

import numpy as np
import pytest
import soxr

from oddsound import pipeline, runtime, scanning
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound_workbench.synthesis import fan
from tests.unit.test_audio import encoded, without_length

MODELS = Path(__file__).parents[1] / "models" / "models.json"
RATE = 16_000
LIMITS = AudioLimits(max_bytes=10**8, max_duration_s=3600)


@pytest.fixture
def low() -> Array:
    """A recording at 8 kHz."""
    return np.asarray(soxr.resample(fan(7, faulty=False, duration_s=10), RATE, 8000))


@pytest.fixture(autouse=True)
def shipped(cold_start: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_CONFIG_PATH", str(MODELS))


def model(name: str) -> Model:
    return runtime.registry().get(name)


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("kind", ["WAV", "FLAC without length"])
def test_what_was_recorded_at_8_khz_is_compared_like_a_file_of_8_khz(
    kind: str, rate: int, low: Array
) -> None:
    detector = model("fan")
    direct = pipeline.predict(encoded(low, "WAV", rate=8000), detector, LIMITS)
    again = soxr.resample(low, 8000, rate)
    sent = (
        encoded(again, "WAV", rate=rate)
        if kind == "WAV"
        else without_length(encoded(again, "FLAC", rate=rate))
    )
    found = pipeline.predict(sent, detector, LIMITS)
    assert scanning.scan(sent, detector, LIMITS).model is detector.narrower[0]
    assert found.anomaly_level == pytest.approx(direct.anomaly_level, rel=0.02)
    assert found.signal is not None
    (warning,) = found.signal.warnings
    assert "nothing above 3.9 kHz; the model compares up to 7.2 kHz, and here only up" in warning


def test_all_that_is_there_is_compared(low: Array) -> None:
    detector = model("fan")
    assert detector.narrower
    full = encoded(fan(7, faulty=False, duration_s=10), "WAV", rate=RATE)
    assert scanning.scan(full, detector, LIMITS).model is detector


def test_a_classifier_has_one_model_for_every_recording(low: Array) -> None:
    classifier = model("esc10")
    sent = encoded(soxr.resample(low, 8000, RATE), "WAV", rate=RATE)
    assert scanning.scan(sent, classifier, LIMITS).model is classifier


@pytest.mark.parametrize(
    ("bandwidth_hz", "rate"), [(8000, RATE), (6500, RATE), (6400, 8000), (3300, 8000), (3200, RATE)]
)
def test_the_widest_model_that_a_bandwidth_contains_is_chosen(
    bandwidth_hz: float, rate: int
) -> None:
    """Models compare up to 7.2 and 3.6 kHz, of which a recording must have nine tenths."""
    assert model("fan").for_bandwidth(bandwidth_hz).sample_rate == rate
