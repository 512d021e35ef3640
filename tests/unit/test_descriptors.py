"""Descriptors of signals whose values can be computed by hand."""

import numpy as np
import pytest

from oddsound import descriptors
from tests.conftest import noise


@pytest.mark.parametrize("length", [3, 64, 65, 100, 181, 305, 313])
def test_autocorrelation_is_the_sum_of_products(length: int) -> None:
    series = noise(1)[:length]
    centred = series - series.mean()
    by_hand = np.correlate(centred, centred, "full")[length - 1 :]
    np.testing.assert_allclose(
        descriptors.autocorrelation(series), by_hand / by_hand[0], rtol=0, atol=1e-5
    )


def test_autocorrelation_of_a_constant_is_zero() -> None:
    constant = np.full(100, -60, np.float32)
    np.testing.assert_array_equal(descriptors.autocorrelation(constant), 0)


def test_onsets_are_the_peaks_above_the_mean() -> None:
    strength = np.zeros(50, np.float32)
    strength[[5, 6, 20, 40]] = [3, 9, 8, 0.5]
    np.testing.assert_array_equal(
        descriptors.onsets(strength, radius=3, min_above_mean_db=1), [6, 20]
    )


def test_decibels_are_relative_to_the_loudest_and_floored() -> None:
    power = np.array([1e-3, 1e-4, 1e-30, 0], np.float32)
    np.testing.assert_allclose(descriptors.decibels(power, 60), [0, -10, -60, -60], atol=1e-4)
    np.testing.assert_array_equal(descriptors.decibels(np.zeros(4, np.float32), 60), 0)


def test_the_power_of_a_frame_equals_the_power_of_its_samples() -> None:
    frame = noise(1)[:1024]
    power = np.abs(np.fft.rfft(frame))[None].astype(np.float32) ** 2
    np.testing.assert_allclose(descriptors.frame_power(power)[0], np.mean(frame**2), rtol=1e-5)


@pytest.mark.parametrize("bins", [1, 16, 17, 457])
def test_the_rolloff_is_the_first_bin_that_reaches_the_share(bins: int) -> None:
    magnitude = np.abs(noise(1)[: 5 * bins]).reshape(5, bins)
    magnitude[3] = 0
    running = np.cumsum(magnitude, axis=1, dtype=np.float64)
    for share in (0.25, 0.85):
        found = descriptors.rolloff_bins(magnitude, (share,))[:, 0]
        expected = (running >= share * running[:, -1:]).argmax(axis=1)
        np.testing.assert_array_equal(found, expected)


def test_a_band_matrix_is_the_whole_matrix() -> None:
    bins, bands = np.arange(100)[:, None], np.arange(7)
    triangles = np.maximum(1 - np.abs(bins / 14 - bands) / 2, 0).astype(np.float32)
    frames = noise(1)[:500].reshape(5, 100)
    found = descriptors.BandMatrix(triangles).product(frames)
    np.testing.assert_allclose(found, frames @ triangles, rtol=0, atol=1e-5)
