"""Recordings -> rows of features, with augmented copies; kept by content for the next time."""

import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile
from audio_anomaly import audio, descriptors, features, pipeline
from audio_anomaly.descriptors import Array
from audio_anomaly.errors import AudioAnomalyError, InvalidAudioError
from audio_anomaly.features import extractor
from audio_anomaly.formats import AudioLimits
from numpy.typing import NDArray
from platformdirs import user_cache_path

from workbench import augmentation
from workbench.recordings import FolderError, Labelled, content_sha256

LIMITS = AudioLimits(max_bytes=2_000_000_000, max_duration_s=24 * 3600)
PARALLEL_FROM = 24


@dataclass(frozen=True)
class Listening:
    """How recordings become rows: the same for training and for prediction.

    copies : altered copies of each window, for training only
    alteration : what is done to them, a key of augmentation.ALTERATIONS
    """

    sample_rate: int
    window_s: float | None
    feature_extractor: str = "default"
    copies: int = 0
    alteration: str = "varied"
    seed: int = 0

    def without_copies(self) -> "Listening":
        return replace(self, copies=0)


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
    def names(self) -> list[str]:
        """Folder and file name of every recording."""
        return [f"{r.path.parent.name}/{r.path.name}" for r in self.recordings]

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
    jobs = [(recording.path, listening) for recording in recordings]
    if len(jobs) < PARALLEL_FROM:
        results = (_rows_of_file(*job) for job in jobs)
    else:
        parallel = joblib.Parallel(n_jobs=os.cpu_count(), return_as="generator")
        results = parallel(joblib.delayed(_rows_of_file)(*job) for job in jobs)
    parts = []
    for part in results:
        parts.append(part)
        advance()
    per_window = 1 + listening.copies
    return Rows(
        values=np.concatenate(parts),
        owner=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        copy=np.concatenate([np.arange(len(part)) % per_window > 0 for part in parts]),
        recordings=tuple(recordings),
    )


def median_duration_s(recordings: Sequence[Labelled]) -> float:
    """Median duration of the recordings, to a tenth of a second."""
    durations = []
    for recording in recordings:
        try:
            durations.append(soundfile.info(recording.path).duration)
        except soundfile.SoundFileError as error:
            raise FolderError(f"{recording.path} cannot be read: {error}") from None
    return max(0.1, round(float(np.median(durations)), 1))


def _rows_of_file(path: Path, listening: Listening) -> Array:
    """[shape=(windows * (1 + copies), features)], each window followed by its copies."""
    content = content_sha256(path)
    key = hashlib.sha256(f"{content} {listening} {_code_version()}".encode()).hexdigest()
    kept = user_cache_path("audio-anomaly", "audio-anomaly") / "features" / f"{key}.npy"
    if kept.exists():
        try:
            known: Array = np.load(kept)
        except (OSError, ValueError):
            kept.unlink(missing_ok=True)
        else:
            return known
    try:
        rows = _extract(path, listening, int(content[:16], 16))
    except AudioAnomalyError as error:
        raise FolderError(f"{path}: {error}") from None
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}.npy")
        np.save(unfinished, rows)
        unfinished.replace(kept)
    except OSError:
        pass  # A full or read-only disk costs time, not the result.
    return rows


def _extract(path: Path, listening: Listening, content: int) -> Array:
    extract = extractor(listening.feature_extractor, listening.sample_rate)
    waveform = audio.load(path, listening.sample_rate, LIMITS).waveform
    if len(waveform) < extract.min_samples:
        raise InvalidAudioError(
            f"the recording has {len(waveform)} samples; one analysis frame has"
            f" {extract.min_samples}"
        )
    if not waveform.any():
        raise InvalidAudioError("the recording is digital silence; was the microphone on?")
    starts, size = pipeline.split(len(waveform), listening.window_s, listening.sample_rate)
    # By content and not by place in the list: the same file gives the same copies anywhere.
    rng = np.random.default_rng([listening.seed, content])
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
def _code_version() -> str:
    """Changes with the code that makes the rows, so that nothing stale is read."""
    modules = (audio, descriptors, features, pipeline, augmentation)
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()
