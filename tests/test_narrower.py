"""Recordings without high frequencies are compared with the normal sound below them."""

from dataclasses import replace
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
    ("trained_hz", "bandwidth_hz", "rate"),
    [
        pytest.param(None, 8000, RATE, id="an older model"),
        pytest.param(None, 4000, 8000, id="an older model, a recording of 8 kHz"),
        pytest.param(8000, 24_000, RATE, id="both contain everything"),
        pytest.param(8000, 7000, RATE, id="nearly everything"),
        pytest.param(8000, 6800, 8000, id="the highest bands are missing"),
        pytest.param(8000, 3400, 8000, id="a telephone line"),
        pytest.param(5500, 5500, RATE, id="both contain the same part"),
        pytest.param(5500, 8000, 8000, id="the recording contains more"),
        pytest.param(5500, 4000, 8000, id="the recording contains less"),
        pytest.param(4000, 4000, 8000, id="both contain what the narrower model compares"),
        pytest.param(4000, 8000, 8000, id="trained at 8 kHz"),
    ],
)
def test_what_both_recorders_deliver_is_compared(
    trained_hz: float | None, bandwidth_hz: float, rate: int
) -> None:
    """The models of the fan compare up to 7.2 and 3.6 kHz."""
    detector = model("fan")
    narrower = tuple(replace(each, bandwidth_hz=trained_hz) for each in detector.narrower)
    detector = replace(detector, bandwidth_hz=trained_hz, narrower=narrower)
    assert detector.for_bandwidth(bandwidth_hz).sample_rate == rate


@pytest.mark.parametrize(
    ("sample_rate", "rate"), [(8000, 8000), (11_025, 8000), (14_400, RATE), (44_100, RATE)]
)
def test_the_sample_rate_limits_the_bandwidth(sample_rate: int, rate: int) -> None:
    assert model("fan").for_rate(sample_rate).sample_rate == rate
