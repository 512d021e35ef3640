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
