"""Adds faults at known times to normal sound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.events.frames import DROPOUT, IMPACT, MODULATION, TONE

type Samples = NDArray[np.float64]

STRONG, WEAK = "+10 dB", "0 dB"
LEVELS = {STRONG: 10.0, WEAK: 0.0}
"""Energy of knocks (in their first 30 ms) and tones, relative to the sound at the same time. Of the
other kinds: STRONG is a mute and a modulation depth of 100 %, WEAK is -10 dB and 50 %."""

MODULATION_DEPTH = {STRONG: 1.0, WEAK: 0.5}
DROPOUT_GAIN = {STRONG: 0.0, WEAK: 10 ** (-10 / 20)}
IMPACT_ENERGY_S = 0.03
IMPACT_LENGTH_S = 0.25
APART_S = 0.3
"""Shortest time between the starts of two knocks or from one drop-out to the next."""

MAX_STRETCH = 0.9
"""Share of the sound that a tone or modulation may last."""

MIN_SOUND_S = {IMPACT: 0.1, DROPOUT: 0.1, TONE: 0.9, MODULATION: 2.0}
"""Shorter sounds get no faults of that kind: they could hardly contain one."""

FADE_S = 0.02
MIN_ENERGY = 1e-12


@dataclass(frozen=True)
class Fault:
    """What was added, and when in seconds."""

    kind: str
    start_s: float
    end_s: float


def impacts(
    sound: Samples, sample_rate: int, level: str, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Adds 1 to 5 knocks: decaying noise, or a resonance of three decaying sines."""
    length = min(round(IMPACT_LENGTH_S * sample_rate), len(sound) // 2)
    starts = _apart(len(sound) - length, int(rng.integers(1, 6)), APART_S * sample_rate, rng)
    found = []
    for start in starts:
        knock = _knock(length, sample_rate, rng)
        head = slice(start, start + round(IMPACT_ENERGY_S * sample_rate))
        gain = _gain(sound[head], knock[: head.stop - head.start], LEVELS[level])
        sound[start : start + length] += gain * knock
        found.append((start / sample_rate, (start + length) / sample_rate))
    return found


def tone(
    sound: Samples, sample_rate: int, level: str, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Adds a tone of 1 to 3 s, or less in a short sound, at 300 Hz to 7 kHz."""
    start, length = _stretch(sound, sample_rate, rng)
    hz = np.exp(rng.uniform(np.log(300), np.log(min(7000, 0.44 * sample_rate))))
    wave = np.sin(2 * np.pi * hz / sample_rate * np.arange(length) + rng.uniform(0, 2 * np.pi))
    wave *= _faded(length, sample_rate)
    part = sound[start : start + length]
    part += _gain(part, wave, LEVELS[level]) * wave
    return [(start / sample_rate, (start + length) / sample_rate)]


def modulation(
    sound: Samples, sample_rate: int, level: str, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Modulates the amplitude for 1 to 3 s with 2 to 12 Hz."""
    start, length = _stretch(sound, sample_rate, rng)
    turn = 2 * np.pi * rng.uniform(2, 12) / sample_rate * np.arange(length)
    change = np.sin(turn + rng.uniform(0, 2 * np.pi)) * _faded(length, sample_rate)
    sound[start : start + length] *= 1 + MODULATION_DEPTH[level] * change
    return [(start / sample_rate, (start + length) / sample_rate)]


def dropouts(
    sound: Samples, sample_rate: int, level: str, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Lowers the sound 1 to 3 times, for 20 to 500 ms each."""
    longest = min(round(0.5 * sample_rate), len(sound) // 2)
    count = int(rng.integers(1, 4))
    apart = longest + APART_S * sample_rate
    found = []
    for start in _apart(len(sound) - longest, count, apart, rng):
        longest_s = longest / sample_rate
        stop = start + round(np.exp(rng.uniform(np.log(0.02), np.log(longest_s))) * sample_rate)
        sound[start:stop] *= DROPOUT_GAIN[level]
        found.append((start / sample_rate, stop / sample_rate))
    return found


INJECT: dict[str, Callable[[Samples, int, str, np.random.Generator], list[tuple[float, float]]]] = {
    IMPACT: impacts,
    TONE: tone,
    MODULATION: modulation,
    DROPOUT: dropouts,
}


def inject(
    sound: Array, sample_rate: int, kind: str, level: str, seed: Sequence[int]
) -> tuple[Array, list[Fault]]:
    """A copy of a sound with faults of one kind; the original is not changed.

    sound : [shape=(samples,)], at least as long as MIN_SOUND_S
    kind, level : of INJECT and LEVELS
    """
    changed = sound.astype(np.float64)
    changed -= changed.mean()
    times = INJECT[kind](changed, sample_rate, level, np.random.default_rng(list(seed)))
    return changed.astype(np.float32), [Fault(kind, *each) for each in times]


def _knock(length: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    t = np.arange(length) / sample_rate
    decay = np.exp(-t / rng.uniform(0.005, 0.03))
    if rng.random() < 0.5:
        return np.asarray(decay * rng.normal(0, 1, length))
    hz = np.exp(rng.uniform(np.log(400), np.log(min(6000, 0.44 * sample_rate)), 3))
    phases = rng.uniform(0, 2 * np.pi, 3)
    return np.asarray(decay * np.sin(2 * np.pi * hz[:, None] * t + phases[:, None]).sum(axis=0))


def _gain(background: Samples, added: Samples, level_db: float) -> float:
    energy = max(float(np.square(background).mean()), MIN_ENERGY)
    return float(np.sqrt(energy / np.square(added).mean() * 10 ** (level_db / 10)))


def _stretch(sound: Samples, sample_rate: int, rng: np.random.Generator) -> tuple[int, int]:
    length = min(round(rng.uniform(1, 3) * sample_rate), round(MAX_STRETCH * len(sound)))
    return int(rng.integers(0, len(sound) - length)), length


def _faded(length: int, sample_rate: int) -> Samples:
    fade = np.linspace(0, 1, min(round(FADE_S * sample_rate), length // 2))
    window = np.ones(length)
    window[: len(fade)] *= fade
    window[length - len(fade) :] *= fade[::-1]
    return window


def _apart(last: int, count: int, apart: float, rng: np.random.Generator) -> list[int]:
    """Up to `count` random starts up to `last` with that distance, ascending."""
    starts: list[int] = []
    for start in rng.integers(0, last, 20 * count).tolist():
        if len(starts) < count and all(abs(start - other) >= apart for other in starts):
            starts.append(start)
    return sorted(starts)
