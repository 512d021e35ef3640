"""Each degradation does what its name says, checked on simple sounds."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from oddsound import audio
from oddsound_workbench.learn import dataset, robustness
from oddsound_workbench.learn.dataset import LIMITS, ExtractionSettings
from oddsound_workbench.learn.recordings import unlabelled
from oddsound_workbench.learn.robustness import CONDITIONS
from tests.conftest import click, noise, sine

pytestmark = pytest.mark.slow

RATE = 16000


def decoded(data: bytes) -> tuple[Any, int]:
    """Samples and rate of a file, as float64."""
    samples, rate = soundfile.read(io.BytesIO(data))
    return samples, rate


def altered(waveform: Any, condition: str, rate: int = RATE, seed: int = 0) -> bytes:
    return robustness.altered(waveform, rate, condition, [seed])


def power_db(samples: Any) -> float:
    return float(10 * np.log10(np.mean(np.square(samples))))


def test_20_db_less_gain_is_a_tenth_of_the_amplitude() -> None:
    found, rate = decoded(altered(0.5 * sine(1000), "gain_minus_20_db"))
    assert rate == RATE
    np.testing.assert_allclose(found, 0.05 * sine(1000), atol=0.6 / 2**15)


def test_6_db_more_gain_is_clipped_at_full_scale() -> None:
    found, _ = decoded(altered(0.8 * sine(100), "gain_plus_6_db"))
    expected = np.clip(0.8 * 10 ** (6 / 20) * sine(100), -1, 1 - 2**-15)
    np.testing.assert_allclose(found, expected, atol=0.6 / 2**15)
    assert (np.abs(found) > 0.999).mean() > 0.5


@pytest.mark.parametrize("snr_db", [20, 10])
def test_pink_noise_has_the_given_level_and_equal_power_per_octave(snr_db: int) -> None:
    clean = 0.1 * sine(1000, 10)
    found, _ = decoded(altered(clean, f"pink_noise_{snr_db}_db"))
    noise_alone = found - clean
    assert power_db(clean) - power_db(noise_alone) == pytest.approx(snr_db, abs=0.05)
    power = np.abs(np.fft.rfft(noise_alone)) ** 2
    hz = np.fft.rfftfreq(len(noise_alone), 1 / RATE)
    octaves = [10 * np.log10(power[(hz >= f) & (hz < 2 * f)].sum()) for f in (250, 1000, 3500)]
    np.testing.assert_allclose(octaves, octaves[0], atol=0.5)
    assert power[hz < 19].sum() < 1e-3 * power.sum()


def test_only_the_same_seed_gives_the_same_noise() -> None:
    waveform = noise(1)
    first = altered(waveform, "pink_noise_20_db", seed=1)
    assert altered(waveform, "pink_noise_20_db", seed=1) == first
    assert altered(waveform, "pink_noise_20_db", seed=2) != first


@pytest.mark.parametrize(("hz", "loss_db"), [(1000, 0), (4000, 3.01), (6000, 28.2)])
def test_the_low_pass_attenuates_frequencies_above_4_khz(hz: int, loss_db: float) -> None:
    clean = 0.5 * sine(hz, rate=44100)
    found, _ = decoded(altered(clean, "low_pass_4_khz", rate=44100))
    assert power_db(clean) - power_db(found) == pytest.approx(loss_db, abs=0.1)


@pytest.mark.parametrize("rate", [*robustness.MP3_RATES_HZ, 2000, 9000, 96000])
def test_an_mp3_has_64_kbit_per_s_at_every_rate(rate: int) -> None:
    clean = 0.5 * sine(440, 10, rate)
    data = altered(clean, "mp3_64_kbps", rate=rate)
    found, found_rate = decoded(data)
    assert soundfile.info(io.BytesIO(data)).format == "MP3"
    # One extra frame contains the encoder's name, one or two more are its delay.
    assert 64 <= 8 * len(data) / 10 / 1000 < 65.5
    assert found_rate in robustness.MP3_RATES_HZ
    assert found_rate >= min(rate, 48000)
    assert len(found) / found_rate == pytest.approx(10, abs=0.01)
    # LAME lowers the level by 5 %, so that its own error is not clipped.
    assert power_db(found) - power_db(clean) == pytest.approx(20 * np.log10(0.95), abs=0.1)


def test_an_mp3_differs_from_the_original() -> None:
    found, _ = decoded(altered(noise(0, 5), "mp3_64_kbps"))
    difference = found - noise(0, 5)
    assert -40 < power_db(difference) - power_db(noise(0, 5)) < -3


@pytest.mark.parametrize(("condition", "rate"), [("rate_8_khz", 8000), ("rate_44_khz", 44100)])
def test_a_file_has_the_rate_of_its_condition_and_is_decoded_at_the_model_rate(
    condition: str, rate: int
) -> None:
    data = altered(0.5 * sine(1000), condition)
    assert soundfile.info(io.BytesIO(data)).samplerate == rate
    decoded_file = audio.load(data, RATE, LIMITS)
    assert decoded_file.sample_rate == rate
    np.testing.assert_allclose(
        decoded_file.waveform[800:-800], 0.5 * sine(1000)[800:-800], atol=2e-3
    )


def test_a_file_at_8_khz_has_no_content_above_4_khz() -> None:
    found = audio.load(altered(0.5 * sine(6000), "rate_8_khz"), RATE, LIMITS).waveform
    assert power_db(found[800:-800]) < power_db(0.5 * sine(6000)) - 60


def test_a_file_over_full_scale_is_scaled_down_first() -> None:
    found, _ = decoded(altered(1000 * click(), "gain_minus_20_db"))
    assert found.max() == pytest.approx(0.1, abs=1 / 2**15)


def test_every_condition_gives_rows_of_the_same_recordings(recordings: Path) -> None:
    found = unlabelled(recordings / "normal", "normal")[:3]
    settings = ExtractionSettings(RATE, 2.0)
    clean = dataset.rows_of(found, settings)
    for condition in CONDITIONS:
        rows = dataset.rows_of(found, settings.under(condition))
        np.testing.assert_array_equal(rows.owner, clean.owner)
        assert np.abs(rows.values - clean.values).max() > 1e-3, condition
