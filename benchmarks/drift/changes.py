"""What happens to all recordings of a machine at once: another recorder, noise, a room."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import signal

from oddsound.descriptors import Array
from oddsound_workbench.learn.augmentation import rms

UNCHANGED = "unchanged"
MICROPHONE_DB, MICROPHONE_POINTS = 5.0, 6
"""Standard deviation of a microphone's frequency response, at so many frequencies."""

ROOM_S, DECAY_S, DIRECT = 0.2, 0.05, 4.0
"""Length of a room's response, its decay, and the direct sound over the deviation of the first
reflections."""

type Apply = Callable[[Array, int], Array]
"""(mono float32 [shape=(samples,)], number of the recording) -> the same, changed."""

type Change = Callable[[int, Sequence[int]], Apply]
"""(sample rate in Hz, seed) -> the change of every recording."""


def _unchanged(_: int, __: Sequence[int]) -> Apply:
    return lambda samples, _: samples


def _gain(decibels: float) -> Change:
    factor = np.float32(10 ** (decibels / 20))
    return lambda _, __: lambda samples, _: samples * factor


def _microphone(_: int, seed: Sequence[int]) -> Apply:
    """A smooth, random frequency response, as another microphone has it."""
    response_db = np.random.default_rng(list(seed)).normal(0, MICROPHONE_DB, MICROPHONE_POINTS)
    hz = np.linspace(0, 1, MICROPHONE_POINTS)
    grid = np.linspace(0, 1, 33)
    taps = signal.firwin2(255, grid, 10 ** (np.interp(grid, hz, response_db) / 20))
    return lambda samples, _: np.asarray(signal.lfilter(taps, [1.0], samples), np.float32)


def _noise(snr_db: float) -> Change:
    """A steady source of low noise; the machine is so much louder in each recording."""

    def made(_: int, seed: Sequence[int]) -> Apply:
        def apply(samples: Array, number: int) -> Array:
            white = np.random.default_rng([*seed, number]).normal(size=len(samples))
            noise = np.asarray(signal.lfilter([1.0], [1.0, -0.9], white), np.float32)
            gain = rms(samples) / max(rms(noise), 1e-9) * 10 ** (-snr_db / 20)
            return samples + noise * np.float32(gain)

        return apply

    return made


def _room(sample_rate: int, seed: Sequence[int]) -> Apply:
    """A reverberant room, at the same loudness."""
    count = round(ROOM_S * sample_rate)
    decay = np.exp(-np.arange(count) / (DECAY_S * sample_rate))
    response = np.random.default_rng(list(seed)).normal(size=count) * decay
    response[0] = DIRECT

    def apply(samples: Array, _: int) -> Array:
        heard = signal.oaconvolve(samples, response)[: len(samples)].astype(np.float32)
        return np.asarray(heard * np.float32(rms(samples) / max(rms(heard), 1e-9)), np.float32)

    return apply


CHANGES: dict[str, Change] = {
    UNCHANGED: _unchanged,
    "12 dB softer": _gain(-12),
    "another microphone": _microphone,
    "new noise, as loud as the machine": _noise(0),
    "new noise, 10 dB softer": _noise(10),
    "a reverberant room": _room,
}
