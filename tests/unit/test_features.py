"""Compares features with librosa's public functions, and the others with values set by hand."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import librosa
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from oddsound import audio
from oddsound.default_features import DefaultExtractor
from oddsound.descriptors import Array
from oddsound.errors import ModelsConfigError
from oddsound.features import extractor
from oddsound.formats import AudioLimits
from oddsound_workbench.synthesis import fan
from tests.conftest import REAL_DATA, click, noise, sine

RATE, N_FFT, HOP = 16000, 1024, 512


def real(name: str) -> Array:
    return audio.load(REAL_DATA / name, RATE, AudioLimits(10**7, 60)).waveform


WAVEFORMS: dict[str, Callable[[], Array]] = {
    "noise": lambda: noise(1),
    "quiet noise": lambda: noise(2) * np.float32(1e-3),
    "tone": lambda: sine(1000),
    "low tone": lambda: sine(60),
    "silence": lambda: np.zeros(RATE, np.float32),
    "click": click,
    "one frame": lambda: noise(3)[:N_FFT],
    "odd length": lambda: noise(4)[:12345],
    "fan": lambda: fan(1, faulty=False),
    "faulty fan": lambda: fan(2, faulty=True),
}
if REAL_DATA.is_dir():
    WAVEFORMS |= {
        "real fan": lambda: real("mimii_fan/normal/00000000.wav"),
        "real faulty fan": lambda: real("mimii_fan/abnormal/00000000.wav"),
        "real dog": lambda: real("esc10/dog_bark/1-100032-A.ogg"),
        "real rain": lambda: real("esc10/rain/1-17367-A.ogg"),
    }


@pytest.fixture(params=WAVEFORMS)
def waveform(request: pytest.FixtureRequest) -> Array:
    return WAVEFORMS[request.param]()


class Frames(TypedDict):
    """Length of a frame and step between frames, in samples, as librosa names them."""

    n_fft: int
    hop_length: int


def of_librosa(y: Array) -> dict[str, NDArray[np.floating]]:
    """Frame features [shape=(frames,) or (features, frames)] by librosa's public functions."""
    stft: Frames = {"n_fft": N_FFT, "hop_length": HOP}
    mel = librosa.feature.melspectrogram(y=y, sr=RATE, **stft, n_mels=40, fmin=50, htk=True, norm=1)
    log_mel = librosa.power_to_db(mel, ref=np.max, amin=1e-20, top_db=60)
    magnitude = np.abs(librosa.stft(y, **stft))
    rms = librosa.feature.rms(S=magnitude, frame_length=N_FFT)

    def octaves(hz: NDArray[np.floating]) -> NDArray[np.floating]:
        values: NDArray[np.floating] = np.log2(np.maximum(hz, RATE / N_FFT))[0]
        return values

    linear_mel = librosa.db_to_power(log_mel.astype(np.float64))
    flatness = librosa.feature.spectral_flatness(S=linear_mel, power=1, amin=1e-20)
    return {
        **{f"log_mel_{i}": row for i, row in enumerate(log_mel)},
        **{f"mfcc_{i}": row for i, row in enumerate(librosa.feature.mfcc(S=log_mel, n_mfcc=20))},
        "centroid": octaves(librosa.feature.spectral_centroid(y=y, sr=RATE, **stft)),
        "bandwidth": octaves(librosa.feature.spectral_bandwidth(y=y, sr=RATE, **stft)),
        **{
            f"rolloff_{percent}": octaves(
                librosa.feature.spectral_rolloff(y=y, sr=RATE, **stft, roll_percent=percent / 100)
            )
            for percent in (25, 50, 85, 95)
        },
        "mel_flatness": 10 * np.log10(flatness[0]),
        "onset_strength": librosa.onset.onset_strength(S=log_mel, sr=RATE, center=False),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(
            y, frame_length=N_FFT, hop_length=HOP
        )[0],
        "energy_db": librosa.amplitude_to_db(rms, ref=np.max, amin=1e-10, top_db=60)[0],
    }


def test_every_frame_feature_has_the_value_of_librosa(waveform: Array) -> None:
    extract = extractor("default", RATE)
    ours = dict(zip(extract.names, extract(waveform), strict=True))
    for name, frames in of_librosa(waveform).items():
        expected = np.array([frames.mean(dtype=np.float64), frames.std(dtype=np.float64)])
        found = np.array([ours[f"{name}_mean"], ours[f"{name}_std"]])
        # Relative to the largest frame, because a mean can cancel to zero;
        # an MFCC is a sum of 40 terms of up to 60 dB that cancel in a flat spectrum.
        scale = max(np.abs(frames).max(), 60 if name.startswith("mfcc") else 1e-3)
        np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=2e-4, err_msg=name)


def test_contrast_has_the_value_of_librosa(waveform: Array) -> None:
    y = waveform
    expected = librosa.feature.spectral_contrast(
        y=y, sr=RATE, n_fft=N_FFT, hop_length=HOP, quantile=0.2, n_bands=6
    )
    extract = extractor("default", RATE)
    ours = dict(zip(extract.names, extract(y), strict=True))
    for band, frames in enumerate(expected):
        np.testing.assert_allclose(
            ours[f"contrast_{band}_mean"], frames.mean(), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(ours[f"contrast_{band}_std"], frames.std(), rtol=1e-3, atol=1e-4)


def test_every_feature_is_finite_and_named(waveform: Array) -> None:
    extract = extractor("default", RATE)
    vector = extract(waveform)
    assert vector.dtype == np.float32
    assert vector.shape == (len(extract.names),) == (len(set(extract.names)),)
    assert np.isfinite(vector).all()


@pytest.mark.parametrize("rate", [4000, 8000, 22050, 44100, 48000, 96000])
def test_other_rates_work(rate: int) -> None:
    extract = DefaultExtractor(rate)
    vector = extract(noise(1, 0.5, rate))
    assert vector.shape == (len(extract.names),)
    assert np.isfinite(vector).all()
    assert np.isfinite(extract(noise(1, 1, rate)[: extract.min_samples])).all()


def test_the_same_samples_give_the_same_vector() -> None:
    y = fan(3, faulty=True)
    first, second = extractor("default", RATE)(y.copy()), DefaultExtractor(RATE)(y.copy())
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("flac", "PCM_16"), ("aiff", "PCM_16"), ("au", "PCM_16")],
)
def test_the_container_does_not_matter(tmp_path: Path, suffix: str, subtype: str) -> None:
    reference, other = tmp_path / "reference.wav", tmp_path / f"other.{suffix}"
    limits = AudioLimits(10**7, 60)
    integers = np.round(fan(5, faulty=True) * 32767).astype(np.int16)
    for path in (reference, other):
        soundfile.write(path, integers, RATE, subtype)
    expected, found = (
        extractor("default", RATE)(audio.load(path, RATE, limits).waveform)
        for path in (reference, other)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("gain_db", [-40, -20, 6])
def test_only_the_level_features_depend_on_the_gain(gain_db: float) -> None:
    extract = extractor("default", RATE)
    y = fan(6, faulty=False)
    change = np.abs(extract(y * np.float32(10 ** (gain_db / 20))) - extract(y))
    level = [name in extract.families["level"] for name in extract.names]
    np.testing.assert_allclose(change[level], abs(gain_db), atol=1e-3)
    np.testing.assert_allclose(change[~np.array(level)], 0, atol=1e-3)


@pytest.mark.parametrize("hz", [250, 1000, 4000])
def test_the_centroid_of_a_pure_tone_is_its_frequency(hz: int) -> None:
    extract = extractor("default", RATE)
    octaves = extract(sine(hz))[extract.names.index("centroid_mean")]
    np.testing.assert_allclose(2**octaves, hz, rtol=0.03)


def test_four_clicks_per_second_have_a_period_of_a_quarter_second() -> None:
    y = noise(7, 5) * np.float32(0.001)
    y[2000::4000] = 1
    extract = extractor("default", RATE)
    ours = dict(zip(extract.names, extract(y), strict=True))
    # The hop is 32 ms.
    assert ours["onset_period_s"] % 0.25 == pytest.approx(0.0, abs=0.032) or ours[
        "onset_period_s"
    ] == pytest.approx(0.25, abs=0.032)
    assert ours["onsets_per_s"] == pytest.approx(4, abs=0.3)
    assert ours["onset_gap_mean_s"] == pytest.approx(0.25, abs=0.01)


def test_a_tremolo_is_strongest_in_its_modulation_band() -> None:
    t = np.arange(10 * RATE) / RATE
    y = noise(8, 10) * (1 + 0.8 * np.sin(2 * np.pi * 6 * t)).astype(np.float32)
    extract = extractor("default", RATE)
    ours = dict(zip(extract.names, extract(y), strict=True))
    shares = {name: ours[name] for name in extract.names if name.startswith("modulation_share_")}
    assert max(shares, key=shares.__getitem__) == "modulation_share_4_8_hz"


def test_an_unknown_extractor_lists_the_known_ones() -> None:
    with pytest.raises(ModelsConfigError, match=r"'mfcc_only'; available: default"):
        extractor("mfcc_only", RATE)


WITHOUT_NUMBA = """
import sys, types

def refuse(*_, **__):
    raise AssertionError("numba's compiler was needed")

def decorator(*args, **_):
    return refuse if args and callable(args[0]) else lambda function: refuse

numba = types.ModuleType("numba")
for name in ("jit", "njit", "stencil", "guvectorize", "vectorize"):
    setattr(numba, name, decorator)
numba.uint32 = None
sys.modules["numba"] = numba

import numpy as np
from oddsound.features import extractor
print(len(extractor("default", 16000)(np.ones(16000, np.float32))))
"""


def test_the_features_do_not_need_numbas_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(extractor("default", RATE).names)


class TestBands:
    """The frequency band of each feature."""

    EXTRACT = extractor("default", RATE)

    @pytest.mark.parametrize("hz", [150, 440, 1000, 3100, 7000])
    def test_the_loudest_band_of_a_tone_contains_its_frequency(self, hz: int) -> None:
        levels = self.EXTRACT.levels
        loudest = levels[self.EXTRACT(sine(hz, 2))[levels].argmax()]
        low, high = self.EXTRACT.bands[loudest]
        assert low < hz < high

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [
            ("contrast_0_std", 0, 200),
            ("contrast_3_mean", 800, 1600),
            ("contrast_6_mean", 6400, 8000),
            ("log_mel_39_std", 7020, 8000),
            ("modulation_0_0.5_1_hz", 50, 311),
        ],
    )
    def test_the_band_of_a_feature(self, name: str, low: float, high: float) -> None:
        band = self.EXTRACT.bands[self.EXTRACT.names.index(name)]
        np.testing.assert_allclose(band, (low, high), rtol=0, atol=0.6)

    def test_other_features_have_no_band(self) -> None:
        with_band = {
            name.split("_")[0]
            for name, low in zip(self.EXTRACT.names, self.EXTRACT.bands[:, 0], strict=True)
            if not np.isnan(low)
        }
        assert with_band == {"log", "contrast", "modulation"}
        share = self.EXTRACT.names.index("modulation_share_1_2_hz")
        assert np.isnan(self.EXTRACT.bands[share]).all()

    def test_the_level_effect_reproduces_the_features(self) -> None:
        values = self.EXTRACT(fan(5, faulty=True, duration_s=1))
        sums = np.flatnonzero(self.EXTRACT.level_effect.any(axis=0))
        assert len(sums) == len(self.EXTRACT.levels) + 20
        made = values[self.EXTRACT.levels] @ self.EXTRACT.level_effect[:, sums]
        np.testing.assert_allclose(made, values[sums], rtol=0, atol=1e-3)
