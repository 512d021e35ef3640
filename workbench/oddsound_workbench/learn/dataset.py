"""Recordings -> rows of features, with augmented copies; kept by content for the next time."""

import hashlib
import inspect
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile
from numpy.typing import NDArray
from platformdirs import user_cache_path
from threadpoolctl import threadpool_limits

from oddsound import audio, descriptors, features, pipeline
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError, InvalidAudioError
from oddsound.features import extractor
from oddsound.formats import AudioLimits
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256
from oddsound_workbench.learn import augmentation, robustness
from oddsound_workbench.learn.recordings import Labelled

LIMITS = AudioLimits(max_bytes=2_000_000_000, max_duration_s=24 * 3600)
PARALLEL_FROM = 24


@dataclass(frozen=True)
class Listening:
    """How recordings become rows: the same for training and for prediction.

    copies : altered copies of each window, for training only
    alteration : what is done to them, a key of augmentation.ALTERATIONS
    condition : of robustness.CONDITIONS, that befalls every recording first; None for none
    """

    sample_rate: int
    window_s: float | None
    feature_extractor: str = "default"
    copies: int = 0
    alteration: str = "varied"
    seed: int = 0
    condition: str | None = None

    def under(self, condition: str) -> "Listening":
        """The same to altered recordings, without copies."""
        return replace(self, copies=0, condition=condition)


@dataclass(frozen=True)
class Rows:
    """Features of a data set.

    values : float32 [shape=(rows, features)]
    owner : index of each row's recording [shape=(rows,)]
    copy : whether the row is of an augmented copy [shape=(rows,)]
    recordings : in the order of the indices
    """

    values: Array
    owner: NDArray[np.intp]
    copy: NDArray[np.bool_]
    recordings: Sequence[Labelled]

    @property
    def paths(self) -> list[Path]:
        """Of every recording."""
        return [recording.path for recording in self.recordings]

    @property
    def labels(self) -> NDArray[np.str_]:
        """Of every row."""
        return np.array([self.recordings[index].label for index in self.owner])

    @property
    def groups(self) -> NDArray[np.str_]:
        """Of every row."""
        return np.array([self.recordings[index].group for index in self.owner])

    def of(self, recordings: NDArray[np.bool_], *, copies: bool) -> "Rows":
        """The rows of some recordings (a mask over recordings), with their copies or without."""
        chosen = recordings[self.owner] & (copies | ~self.copy)
        return replace(
            self, values=self.values[chosen], owner=self.owner[chosen], copy=self.copy[chosen]
        )


def rows_of(
    recordings: Sequence[Labelled],
    listening: Listening,
    advance: Callable[[], Any] = lambda: None,
) -> Rows:
    """Decode every recording, cut it in windows, augment, extract.

    advance : called after each recording
    Raises FolderError naming the first recording that cannot be read.
    """
    places = [_place(recording.path, listening) for recording in recordings]
    known = {
        index: rows for index, place in enumerate(places) if (rows := _kept(place)) is not None
    }
    for _ in known:
        advance()
    missing = [index for index in range(len(recordings)) if index not in known]
    jobs = [joblib.delayed(_made)(recordings[i].path, listening, places[i]) for i in missing]
    # To start processes takes longer than a few recordings do.
    parallel = joblib.Parallel(-1 if len(jobs) >= PARALLEL_FROM else 1, return_as="generator")
    # Sums of several threads of BLAS differ in their last bits from those of one, as it is in
    # the processes.
    with threadpool_limits(1):
        for index, rows in zip(missing, parallel(jobs), strict=True):
            known[index] = rows
            advance()
    parts = [known[index] for index in range(len(recordings))]
    per_window = 1 + listening.copies
    return Rows(
        values=np.concatenate(parts),
        owner=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        copy=np.concatenate([np.arange(len(part)) % per_window > 0 for part in parts]),
        recordings=tuple(recordings),
    )


@dataclass(frozen=True)
class Survey:
    """What recordings are, by their headers.

    durations_s : of each; sample_rates : Hz, and how many recordings have it
    """

    durations_s: list[float]
    sample_rates: Counter[int]

    @property
    def median_duration_s(self) -> float:
        """To a tenth of a second."""
        return max(0.1, round(float(np.median(self.durations_s)), 1))


def survey(recordings: Sequence[Labelled]) -> Survey:
    """Look at every header. Raises FolderError naming the first that cannot be read."""
    headers = []
    for recording in recordings:
        try:
            headers.append(soundfile.info(recording.path))
        except soundfile.SoundFileError as error:
            raise FolderError(f"{recording.path} cannot be read: {error}") from None
    return Survey([h.duration for h in headers], Counter(h.samplerate for h in headers))


def altered_file(path: Path, condition: str, seed: list[int]) -> bytes:
    """The file that a recording becomes under one of robustness.CONDITIONS."""
    rate = soundfile.info(path).samplerate
    waveform = audio.load(path, rate, LIMITS).waveform
    return robustness.altered(waveform, rate, condition, seed)


def _place(path: Path, listening: Listening) -> Path:
    """Where the rows of a file of this content are kept."""
    version = _code_version(altering=listening.condition is not None)
    key = f"{content_sha256(path)} {listening} {version}"
    name = hashlib.sha256(key.encode()).hexdigest()
    return user_cache_path("oddsound") / "features" / f"{name}.npy"


def _kept(place: Path) -> Array | None:
    if not place.exists():
        return None
    try:
        rows: Array = np.load(place)
    except (OSError, ValueError):
        place.unlink(missing_ok=True)
        return None
    return rows


def _made(path: Path, listening: Listening, place: Path) -> Array:
    """[shape=(windows * (1 + copies), features)], each window followed by its copies."""
    try:
        rows = _extract(path, listening)
    except AudioAnomalyError as error:
        raise FolderError(f"{path}: {error}") from None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, rows)
        unfinished.replace(place)
    except OSError:
        pass  # A full or read-only disk costs time, not the result.
    return rows


def _extract(path: Path, listening: Listening) -> Array:
    extract = extractor(listening.feature_extractor, listening.sample_rate)
    # By content and not by place in the list: the same file gives the same copies anywhere.
    seed = [listening.seed, int(content_sha256(path)[:16], 16)]
    source: bytes | Path = path
    if listening.condition is not None:
        source = altered_file(path, listening.condition, [*seed, 1])
    waveform = audio.load(source, listening.sample_rate, LIMITS).waveform
    if len(waveform) < extract.min_samples:
        raise InvalidAudioError(
            f"the recording has {len(waveform)} samples; one analysis frame has"
            f" {extract.min_samples}"
        )
    if listening.condition is None and not waveform.any():
        raise InvalidAudioError("the recording is digital silence; was the microphone on?")
    starts, size = pipeline.split(len(waveform), listening.window_s, listening.sample_rate)
    rng = np.random.default_rng(seed)
    alter = augmentation.ALTERATIONS[listening.alteration]
    rows = []
    for start in starts:
        window = waveform[start : start + size]
        rows.append(extract(window))
        for _ in range(listening.copies):
            copy = alter(window, listening.sample_rate, rng)
            rows.append(extract(copy if len(copy) >= extract.min_samples else window))
    return np.stack(rows)


@cache
def _code_version(*, altering: bool) -> str:
    """Changes with the code that makes the rows, so that nothing stale is read."""
    modules = [audio, descriptors, features, pipeline, augmentation]
    if altering:
        modules.append(robustness)
    sources = [inspect.getsource(module) for module in modules]
    libraries = [f"{name} {version(name)}" for name in ("numpy", "scipy", "librosa", "soxr")]
    libraries.append(soundfile.__libsndfile_version__)
    return hashlib.sha256("".join(sources + libraries).encode()).hexdigest()
