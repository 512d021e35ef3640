"""The figures of one split: a model of one half, faults in the other half."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection.data import LEVEL_RMS
from benchmarks.detection.ours import trained
from benchmarks.detection.protocol import Split
from benchmarks.events import scoring
from benchmarks.events.inject import INJECT, LEVELS, MIN_SOUND_S, inject
from oddsound import audio
from oddsound.descriptors import Array
from oddsound.events.finder import find_events
from oddsound.formats import AudioLimits
from oddsound.schemas import Event
from oddsound_workbench.learn.augmentation import rms

LIMITS = AudioLimits(max_bytes=2_000_000_000, max_duration_s=24 * 3600)
PIECE_S, LONG_S = 1.0, 60.0
"""Lengths of clean sound, beside whole recordings: pieces of recordings, and joined recordings."""

FADE_S = 0.05
MIN_RMS = 1e-9

type Find = Callable[[Array], list[Event]]
type Figures = dict[str, Any]


def measure(split: Split, seed: Sequence[int]) -> Figures:
    """Train with the first half; the events of the second half, clean and with faults.

    Returns {"clean": {length: {"recordings", "without", "seconds", kind: events}},
    "faults": {kind: {level: counts of scoring.count}}}.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = trained(split.train, Path(folder))
    rate, reference = model.sample_rate, model.events_reference
    sounds = [audio.load(path, rate, LIMITS).waveform for path in split.normal]
    return figures(
        lambda sound: find_events(sound, *reference) if reference else [], sounds, rate, seed
    )


def figures(find: Find, sounds: Sequence[Array], sample_rate: int, seed: Sequence[int]) -> Figures:
    """The figures of `measure` for decoded sounds; counts are empty if all are too short."""
    faults: dict[str, dict[str, scoring.Counts]] = {}
    for kind_number, kind in enumerate(INJECT):
        for level_number, level in enumerate(LEVELS):
            counts = []
            for number, sound in enumerate(sounds):
                if len(sound) < MIN_SOUND_S[kind] * sample_rate:
                    continue
                key = [*seed, number, kind_number, level_number]
                changed, injected = inject(sound, sample_rate, kind, level, key)
                counts.append(scoring.count(find(changed), injected))
            faults.setdefault(kind, {})[level] = scoring.add(counts)
    return {"clean": _clean(find, sounds, sample_rate), "faults": faults}


def _clean(find: Find, sounds: Sequence[Array], sample_rate: int) -> Figures:
    piece = round(PIECE_S * sample_rate)
    long = [sound for sound in sounds if len(sound) > piece]
    pieces = [sound[start:][:piece] for sound in long for start in [(len(sound) - piece) // 2]]
    joined: list[Array] = []
    waiting: list[Array] = []
    for sound in sounds:
        waiting.append(sound)
        if sum(map(len, waiting)) >= LONG_S * sample_rate:
            joined.append(join(waiting, round(FADE_S * sample_rate)))
            waiting = []
    lengths = {"piece": pieces, "recording": list(sounds), "minute": joined}
    return {name: _counted(find, each, sample_rate) for name, each in lengths.items() if each}


def _counted(find: Find, sounds: Sequence[Array], sample_rate: int) -> Figures:
    found = [find(sound) for sound in sounds]
    kinds = sorted({event.kind for events in found for event in events})
    return {
        "recordings": len(sounds),
        "without": sum(not events for events in found),
        "seconds": round(sum(map(len, sounds)) / sample_rate, 1),
        "events": {k: sum(e.kind == k for events in found for e in events) for k in kinds},
    }


def join(sounds: Sequence[Array], fade: int) -> Array:
    """Sounds one after the other, as if it were one recording: of the same level, without clicks.

    fade : samples in which one fades into the next
    """
    rise = np.sqrt(np.linspace(0, 1, fade, dtype=np.float32))
    parts = [levelled(sounds[0])]
    for sound in sounds[1:]:
        following = levelled(sound)
        parts[-1][-fade:] = parts[-1][-fade:] * rise[::-1] + following[:fade] * rise
        parts.append(following[fade:])
    return np.concatenate(parts)


def levelled(sound: Array) -> Array:
    """The sound without its mean and with the root mean square LEVEL_RMS."""
    centred = sound - sound.mean()
    return centred * np.float32(LEVEL_RMS / max(rms(centred), MIN_RMS))
