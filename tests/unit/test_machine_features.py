"""The extractor of detectors: what it depends on, and what it does not."""

import numpy as np
import pytest
import soxr

from oddsound.descriptors import Array
from oddsound.features import extractor
from oddsound_workbench.synthesis import fan

RATE = 16000
EXTRACT = extractor("machine", RATE)
LOUDNESS = len(EXTRACT.families["level"])


@pytest.fixture(scope="module")
def sound() -> Array:
    return fan(1, faulty=True, duration_s=4)


def family(name: str, features: Array) -> Array:
    return features[[EXTRACT.names.index(each) for each in EXTRACT.families[name]]]


def test_every_feature_has_a_name_of_its_own(sound: Array) -> None:
    assert EXTRACT(sound).shape == (len(EXTRACT.names),)
    assert len(set(EXTRACT.names)) == len(EXTRACT.names)
    assert EXTRACT.bands.shape == (len(EXTRACT.names), 2)


@pytest.mark.parametrize("change", ["gain", "offset", "polarity"])
def test_the_recorder_does_not_change_the_features(sound: Array, change: str) -> None:
    """Except for the loudness, which is not used unless the gain is fixed."""
    quieter = sound * np.float32(0.3)
    other = {"gain": quieter * np.float32(0.1), "offset": quieter + np.float32(0.3)}
    found, expected = EXTRACT(other.get(change, -quieter)), EXTRACT(quieter)
    np.testing.assert_allclose(found[:-LOUDNESS], expected[:-LOUDNESS], rtol=2e-3, atol=2e-2)


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000])
def test_a_higher_sample_rate_does_not_change_levels_and_shape(sound: Array, rate: int) -> None:
    there = soxr.resample(sound, RATE, rate)
    back = soxr.resample(there, rate, RATE)[: len(sound)]
    for name in ("log_mel", "shape"):
        found, expected = family(name, EXTRACT(back)), family(name, EXTRACT(sound))
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_tone_raises_the_bands_that_contain_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.01, size=2 * RATE).astype(np.float32)
    tone = 0.1 * np.sin(2 * np.pi * 1500 * np.arange(2 * RATE) / RATE).astype(np.float32)
    change = family("log_mel", EXTRACT(noise + tone)) - family("log_mel", EXTRACT(noise))
    low, high = EXTRACT.bands[int(change.argmax())]
    assert low < 1500 < high
    assert change.max() > 20


def test_the_level_of_a_sine_of_full_scale() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    found = family("level", EXTRACT(tone))
    np.testing.assert_allclose(found, 10 * np.log10(0.5), atol=0.1)


@pytest.mark.parametrize("samples", [EXTRACT.min_samples, RATE])
def test_silence_and_the_shortest_waveform_give_finite_features(samples: int) -> None:
    rng = np.random.default_rng(0)
    for waveform in (np.zeros(samples), rng.normal(size=samples)):
        assert np.isfinite(EXTRACT(waveform.astype(np.float32))).all()
