"""Synthesised recordings of a fan with and without a bearing fault, for the demo and the tests.

Normal: turbulence (noise that falls by about 5 dB per octave), the blade-pass tone with its
harmonics, and mains hum. Faulty: in addition, a resonance that rings each time a rolling element
passes a pit in the outer race, at the ball-pass frequency, with an amplitude that varies as the
load turns with the shaft (Randall and Antoni, "Rolling element bearing diagnostics: a tutorial",
Mechanical Systems and Signal Processing 25, 2011). Speed, level and distance to the microphone
differ between recordings.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from oddsound.descriptors import Array

SAMPLE_RATE = 16000
BLADES = 7
SHAFT_HZ = 24.0
BALL_PASS_ORDER = 3.58
"""Rolling elements that pass a point of the outer race per turn of the shaft, in a 6205 bearing."""

RESONANCE_HZ = 3100.0
RING_S = 0.0015


def fan(seed: int, *, faulty: bool, duration_s: float = 5.0, severity: float = 1.0) -> Array:
    """A recording of the fan.

    seed : the same seed gives the same samples
    severity : amplitude of the fault; 1 is clearly audible, 0.2 is incipient
    Returns float32 [shape=(duration_s * 16000,)] within -1..1.
    """
    # It takes longer to import than all the rest of a process of `oddsound serve`.
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    samples = round(duration_s * SAMPLE_RATE)
    t = np.arange(samples) / SAMPLE_RATE
    drift = np.cumsum(rng.normal(0, 1, samples)) / samples**0.5
    shaft_hz = SHAFT_HZ * (1 + rng.normal(0, 0.01)) * (1 + 0.001 * drift)
    turns = np.cumsum(shaft_hz) / SAMPLE_RATE

    noise = lfilter([1.0], [1.0, -0.9], rng.normal(0, 1, samples))
    sound = 0.05 * noise / noise.std() * (1 + 0.1 * np.sin(2 * np.pi * turns))
    for harmonic in range(1, 7):
        phase = rng.uniform(0, 2 * np.pi)
        sound += 0.06 / harmonic**1.3 * np.sin(2 * np.pi * BLADES * harmonic * turns + phase)
    sound += 0.01 * np.sin(2 * np.pi * 100 * t + rng.uniform(0, 2 * np.pi))
    if faulty:
        sound += severity * _bearing(turns, rng)

    brightness = rng.uniform(-0.1, 0.1)
    sound = lfilter([1.0, brightness], [1.0], sound) * 10 ** (rng.uniform(-6, 3) / 20)
    return np.clip(sound, -1, 1).astype(np.float32)


def _bearing(turns: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The resonance, excited by every rolling element that passes the pit."""
    passes = np.floor(BALL_PASS_ORDER * turns)
    strikes = np.zeros(len(turns))
    hit = np.flatnonzero(np.diff(passes)) + 1
    # The elements slip by about one percent, so the intervals vary.
    hit = np.clip(hit + rng.integers(-2, 3, len(hit)), 0, len(turns) - 1)
    strikes[hit] = 1 + 0.5 * np.cos(2 * np.pi * turns[hit])
    ring_t = np.arange(round(8 * RING_S * SAMPLE_RATE)) / SAMPLE_RATE
    ring = np.exp(-ring_t / RING_S) * np.sin(2 * np.pi * RESONANCE_HZ * ring_t)
    return 0.35 * np.convolve(strikes, ring)[: len(turns)]


def write_fan(
    path: Path, seed: int, *, faulty: bool, duration_s: float = 5.0, severity: float = 1.0
) -> Path:
    """Write `fan` as a 16-bit WAV file and create missing folders. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = fan(seed, faulty=faulty, duration_s=duration_s, severity=severity)
    soundfile.write(path, sound, SAMPLE_RATE, "PCM_16")
    return path


def main() -> None:
    """Write a folder of recordings to try the command line with: `... synthesis FOLDER`."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m oddsound_workbench.synthesis FOLDER")
    folder = Path(sys.argv[1])
    for seed in range(24):
        write_fan(folder / "normal" / f"{seed:02}.wav", seed, faulty=False)
    write_fan(folder / "healthy.wav", 901, faulty=False)
    write_fan(folder / "bearing-fault.wav", 902, faulty=True)
    print(f"Wrote {folder}/normal (24 recordings to train on), healthy.wav and bearing-fault.wav.")


if __name__ == "__main__":
    main()
