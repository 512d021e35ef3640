"""The FFT is SciPy's and the filterbanks are librosa's, bit for bit."""

import subprocess
import sys
from typing import Any

import librosa
import numpy as np
import pytest
from scipy import fft

from oddsound import fourier
from oddsound.filterbanks import fft_frequencies, mel_filters, mel_frequencies
from oddsound.fourier import compiled_module, dct_matrix, fast_length, irfft, rfft

RATES = [2000, 8000, 11025, 16000, 22050, 44100, 48000, 192000]


@pytest.fixture(params=["compiled module", "scipy.fft"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and as if this version of SciPy had another private module."""
    assert fourier._fft is not None
    if request.param == "scipy.fft":
        monkeypatch.setattr(fourier, "_fft", compiled_module("fft/_pocketfft/gone"))
        assert fourier._fft is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "axis"), [((40, 1024), 1), ((333, 16), 0), ((77,), -1)])
def test_the_spectrum(both_ways: None, dtype: Any, shape: tuple[int, ...], axis: int) -> None:
    rows = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for length in (None, shape[axis], shape[axis] + 13):
        found, expected = rfft(rows, length, axis), fft.rfft(rows, n=length, axis=axis)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_the_spectrum_of_overlapping_frames(both_ways: None) -> None:
    samples = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256]
    np.testing.assert_array_equal(rfft(frames), fft.rfft(frames))


def test_memory_for_the_spectrum_may_be_given(both_ways: None) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 512)).astype(np.float32)
    out = np.empty((5, 257), np.complex64)
    found = rfft(rows, out=out)
    np.testing.assert_array_equal(found, fft.rfft(rows))
    assert np.shares_memory(found, out) == (fourier._fft is not None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [640, 641])
def test_the_signal_of_a_spectrum(both_ways: None, dtype: Any, length: int) -> None:
    rows = np.random.default_rng(0).standard_normal((3, length)).astype(dtype)
    found = irfft(rfft(rows), length)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, fft.irfft(fft.rfft(rows), n=length))
    np.testing.assert_allclose(found, rows, rtol=0, atol=1e-5)


@pytest.mark.parametrize("real", [False, True])
def test_fast_lengths(both_ways: None, real: bool) -> None:
    for length in (1, 7, 97, 625, 1000, 12345):
        assert fast_length(length, real=real) == fft.next_fast_len(length, real)


@pytest.mark.parametrize("size", [40, 128])
def test_the_cosine_transform(both_ways: None, size: int) -> None:
    np.testing.assert_array_equal(dct_matrix(size), fft.dct(np.eye(size), norm="ortho"))


@pytest.mark.parametrize("order", ["ours first", "SciPy's first"])
def test_scipy_can_still_be_imported(order: str) -> None:
    imports = ["from oddsound.fourier import rfft", "from scipy import fft"]
    code = "; ".join(imports if order == "ours first" else imports[::-1])
    code += "; import numpy as np; x = np.arange(30.0); assert (rfft(x) == fft.rfft(x)).all()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("rate", RATES)
def test_the_filterbanks(rate: int) -> None:
    n_fft = int(2 ** round(np.log2(0.064 * rate)))
    np.testing.assert_array_equal(
        fft_frequencies(rate, n_fft), librosa.fft_frequencies(sr=rate, n_fft=n_fft)
    )
    for htk in (False, True):
        found = mel_frequencies(130, 50.0, 0.45 * rate, htk=htk)
        expected = librosa.mel_frequencies(130, fmin=50.0, fmax=0.45 * rate, htk=htk)
        np.testing.assert_array_equal(found, expected)
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=40, fmin=50.0, htk=True, norm=1)
    np.testing.assert_array_equal(mel_filters(rate, n_fft, 40, 50.0), expected)
