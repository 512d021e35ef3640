"""The figures of one split: a model of one half of the normals, the rest in each condition."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from benchmarks.conditions.deliveries import DELIVERIES, SNR_DB, headroom, mixed, wav
from benchmarks.detection.ours import trained
from benchmarks.detection.protocol import Split
from benchmarks.events.measure import LIMITS, levelled
from oddsound import pipeline
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.model import Model
from oddsound_workbench.learn.metrics import aucs

SHORT_S = (1, 2, 3, 5)
LONG_S = (30, 60, 600)
HOUR_S = 3600
LONG_RECORDINGS = {30: 10, 60: 10, 600: 4}
HOURS, ONE_IN_MANY = 1, 6
"""Numbers of joined recordings of each length, and of hours, in each split."""

MANY_S = 600
"""Length of the recordings that have one faulty part."""

CLIP_S = 10
FAULTY_MINUTES = 10.0
type Counts = list[int]
"""[alarms, recordings]"""

type Figures = dict[str, Any]
"""{condition: {"normal": Counts, "faulty": Counts, "auc": of both}}"""


@dataclass(frozen=True)
class Sound:
    """One decoded recording: mono float32 [shape=(samples,)], sample_rate in Hz."""

    samples: Array
    sample_rate: int


def read(path: Path) -> Sound:
    """A recording, made softer where a DC offset would clip it."""
    samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Sound(headroom(samples.mean(axis=1)), sample_rate)


def deliveries(split: Split) -> Figures:
    """False alarms and detection in each of DELIVERIES."""
    model = _model(split)
    normal, faulty = [[read(path) for path in part] for part in (split.normal, split.anomalous)]
    return {
        name: _figures(
            model,
            (deliver(sound.samples, sound.sample_rate) for sound in normal),
            (deliver(sound.samples, sound.sample_rate) for sound in faulty),
        )
        for name, deliver in DELIVERIES.items()
    }


def in_noise(split: Split, noises: Mapping[str, Sequence[Path]], seed: Sequence[int]) -> Figures:
    """AUC and rates with noise in all recordings, those of the training included.

    noises : recordings of each kind of noise
    """
    found = {}
    for (kind, paths), level in product(noises.items(), SNR_DB):
        with tempfile.TemporaryDirectory() as folder:
            parts = [
                list(_noisy(part, paths, level, [*seed, number], Path(folder)))
                for number, part in enumerate((split.train, split.normal, split.anomalous))
            ]
            model = _model(Split(*parts))
            normal, faulty = ([path.read_bytes() for path in part] for part in parts[1:])
            found[f"{kind}, {level:+d} dB"] = _figures(model, normal, faulty)
    return found


def lengths(split: Split, seed: Sequence[int]) -> Figures:
    """False alarms and detection of parts, and of joined recordings."""
    model = _model(split)
    normal, faulty = [[read(path) for path in part] for part in (split.normal, split.anomalous)]
    rng = np.random.default_rng(list(seed))
    found = {}
    for seconds in SHORT_S:
        parts = [[_middle(sound, seconds) for sound in part] for part in (normal, faulty)]
        found[f"{seconds} s"] = _figures(model, *parts)
    whole = [[wav(each.samples, each.sample_rate) for each in part] for part in (normal, faulty)]
    found["recording"] = _figures(model, *whole)
    for seconds in LONG_S:
        count = LONG_RECORDINGS[seconds]
        found[f"{seconds} s"] = _figures(
            model,
            (_joined(normal, seconds, rng) for _ in range(count)),
            (_joined(faulty, seconds, rng) for _ in range(count)),
        )
    clear = _clearly_faulty(model, faulty, whole[1])
    found[f"{CLIP_S} clearly faulty seconds in {MANY_S} s"] = _figures(
        model, [], (_with_a_clip(normal, clear, rng) for _ in clear[:ONE_IN_MANY])
    )
    found[f"{FAULTY_MINUTES:g} faulty minutes in an hour"] = _figures(
        model,
        (_joined(normal, HOUR_S, rng) for _ in range(HOURS)),
        (_with_a_faulty_part(normal, faulty, rng) for _ in range(HOURS)),
    )
    return found


def _model(split: Split) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        return trained(split.train, Path(folder))


def _figures(
    model: Model, normal: Iterable[bytes | None], faulty: Iterable[bytes | None]
) -> dict[str, Counts | float]:
    """Recordings that are too short to score are not counted."""
    scores = [
        [score for each in part if (score := _score(model, each)) is not None]
        for part in (normal, faulty)
    ]
    threshold = model.predictor.threshold or 0.9
    counts = [[sum(score >= threshold for score in part), len(part)] for part in scores]
    found: dict[str, Counts | float] = {"normal": counts[0], "faulty": counts[1]}
    if all(scores):
        found["auc"] = round(aucs(np.array(scores[0]), np.array(scores[1]))[0], 4)
    return found


def _score(model: Model, content: bytes | None) -> float | None:
    if content is None:
        return None
    try:
        return pipeline.predict(content, model, LIMITS).anomaly_score
    except InvalidAudioError:
        return None


def _middle(sound: Sound, seconds: float) -> bytes | None:
    """None if the recording is not longer."""
    count = round(seconds * sound.sample_rate)
    start = (len(sound.samples) - count) // 2
    if start <= 0:
        return None
    return wav(sound.samples[start : start + count], sound.sample_rate)


def _joined(
    sounds: Sequence[Sound],
    seconds: float,
    rng: np.random.Generator,
    within: Sequence[Sound] = (),
) -> bytes:
    """Random recordings one after another, with `within` in a random place among them.

    Whole recordings, without fades: windows of their length then contain one recording each. A
    window with parts of two recordings of different days would be unusual indeed.
    """
    sample_rate = sounds[0].sample_rate
    parts = [each.samples for each in within]
    while sum(map(len, parts)) < round(seconds * sample_rate):
        parts.append(sounds[int(rng.integers(len(sounds)))].samples)
    parts.insert(int(rng.integers(len(parts))), parts.pop(0))
    return wav(join(parts), sample_rate)


def join(parts: Sequence[Array]) -> Array:
    """One waveform of sounds with the same level."""
    return np.concatenate([levelled(part) for part in parts])


def _with_a_clip(
    normal: Sequence[Sound], faulty: Sequence[Sound], rng: np.random.Generator
) -> bytes:
    """Normal recordings with CLIP_S of one faulty recording, repeated if it is shorter."""
    chosen = faulty[int(rng.integers(len(faulty)))]
    times = max(1, round(CLIP_S * chosen.sample_rate / len(chosen.samples)))
    clip = Sound(np.tile(chosen.samples, times), chosen.sample_rate)
    return _joined(normal, MANY_S, rng, [clip])


def _with_a_faulty_part(
    normal: Sequence[Sound], faulty: Sequence[Sound], rng: np.random.Generator
) -> bytes:
    """An hour with FAULTY_MINUTES of faulty recordings one after another."""
    rate = normal[0].sample_rate
    before = float(rng.uniform(0, HOUR_S - FAULTY_MINUTES * 60))
    spans = [(normal, before), (faulty, FAULTY_MINUTES * 60.0)]
    spans.append((normal, HOUR_S - before - FAULTY_MINUTES * 60))
    parts = [
        sounds[int(number)].samples
        for sounds, seconds in spans
        for number in rng.integers(
            len(sounds), size=round(seconds * rate / np.mean([len(s.samples) for s in sounds]))
        )
    ]
    return wav(join(parts), rate)


def _clearly_faulty(
    model: Model, faulty: Sequence[Sound], contents: Sequence[bytes]
) -> list[Sound]:
    """The recordings whose probability of being normal is at most a tenth of the limit's."""
    threshold = model.predictor.threshold or 0.9
    scores = [_score(model, content) or 0.0 for content in contents]
    clear = 1 - 0.1 * (1 - threshold)
    return [sound for sound, score in zip(faulty, scores, strict=True) if score >= clear]


def _noisy(
    paths: Sequence[Path], noises: Sequence[Path], snr_db: float, seed: Sequence[int], folder: Path
) -> Iterator[Path]:
    """Copies of recordings with noise, and their paths."""
    for number, path in enumerate(paths):
        sound = read(path)
        at_rate = [_at(read(noise), sound.sample_rate) for noise in noises]
        both = mixed(sound.samples, sound.sample_rate, at_rate, snr_db, [*seed, number])
        copy = folder / f"{seed[-1]}-{number:04}.wav"
        copy.write_bytes(wav(both, sound.sample_rate))
        yield copy


def _at(sound: Sound, sample_rate: int) -> Array:
    if sound.sample_rate == sample_rate:
        return sound.samples
    resampled: Array = soxr.resample(sound.samples, sound.sample_rate, sample_rate)
    return resampled
