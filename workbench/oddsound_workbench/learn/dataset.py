"""Recordings -> rows of features, with augmented copies, cached by the content of each file."""

import functools
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile
from numpy.typing import NDArray
from platformdirs import user_cache_path
from threadpoolctl import threadpool_limits

from oddsound import audio, scanning
from oddsound.decoding import open_decoder
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError
from oddsound.features import extractor
from oddsound.formats import AudioLimits, ffmpeg_installed
from oddsound.windows import split
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256, printable, replace_file
from oddsound_workbench.learn import augmentation, robustness
from oddsound_workbench.learn.recordings import Labelled

DECODING_VERSION = "3"
"""Raise this when the same file gives other samples or other windows; see `_cache_path`."""

LIMITS = AudioLimits(2_000_000_000, max_duration_s=24 * 3600, max_samples=10**10, names=None)
COUNTED_FRAMES = 1 << 16
PARALLEL_FROM_S = 600
"""Seconds of sound, copies included, from which several processes extract features. One process
takes about a second for that; starting others takes several."""


@dataclass(frozen=True)
class ExtractionSettings:
    """How recordings become rows of features, in training as in prediction.

    sample_rate : Hz; window_s : seconds, None for whole recordings
    copies : altered copies of each window, for training only
    condition : a key of robustness.CONDITIONS that degrades every recording first, or None
    """

    sample_rate: int
    window_s: float | None
    feature_extractor: str = "default"
    copies: int = 0
    seed: int = 0
    condition: str | None = None

    def under(self, condition: str) -> "ExtractionSettings":
        """The same settings for degraded recordings, without copies."""
        return replace(self, copies=0, condition=condition)


@dataclass(frozen=True)
class Rows:
    """Features of a data set.

    values : float32 [shape=(rows, features)]
    owner : index of each row's recording [shape=(rows,)]
    copy : whether the row is from an augmented copy [shape=(rows,)]
    recordings : in the order of the indices
    """

    values: Array
    owner: NDArray[np.intp]
    copy: NDArray[np.bool_]
    recordings: Sequence[Labelled]

    @property
    def paths(self) -> list[Path]:
        """Path of every recording."""
        return [recording.path for recording in self.recordings]

    @property
    def recording_labels(self) -> NDArray[np.str_]:
        """Label of every recording."""
        return np.array([recording.label for recording in self.recordings])

    @property
    def recording_groups(self) -> NDArray[np.str_]:
        """Group of every recording."""
        return np.array([recording.group for recording in self.recordings])

    @property
    def labels(self) -> NDArray[np.str_]:
        """Label of every row."""
        return self.recording_labels[self.owner]

    @property
    def groups(self) -> NDArray[np.str_]:
        """Group of every row."""
        return self.recording_groups[self.owner]

    def of(self, recordings: NDArray[np.bool_], *, copies: bool) -> "Rows":
        """The rows of some recordings, with or without their copies.

        recordings : mask over the recordings [shape=(recordings,)]
        """
        chosen = recordings[self.owner] & (copies | ~self.copy)
        return replace(
            self, values=self.values[chosen], owner=self.owner[chosen], copy=self.copy[chosen]
        )


def rows_of(
    recordings: Sequence[Labelled],
    settings: ExtractionSettings,
    advance: Callable[[], Any] = lambda: None,
) -> Rows:
    """Decode every recording, cut it into windows, make copies, extract features.

    advance : called after each recording
    Raises FolderError naming the first recording that cannot be read.
    """
    places = [_cache_path(recording.path, settings) for recording in recordings]
    known = {
        index: rows for index, place in enumerate(places) if (rows := _cached(place)) is not None
    }
    for _ in known:
        advance()
    missing = [index for index in range(len(recordings)) if index not in known]
    jobs = [joblib.delayed(_make)(recordings[i].path, settings, places[i]) for i in missing]
    seconds = sum(_duration_s(recordings[i].path) for i in missing) * (1 + settings.copies)
    parallel = joblib.Parallel(-1 if seconds >= PARALLEL_FROM_S else 1, return_as="generator")
    # Sums by several threads of BLAS differ in their last bits from those by one thread, which
    # is what the processes use.
    with threadpool_limits(1):
        for index, rows in zip(missing, parallel(jobs), strict=True):
            known[index] = rows
            advance()
    parts = [known[index] for index in range(len(recordings))]
    per_window = 1 + settings.copies
    return Rows(
        values=np.concatenate(parts),
        owner=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        copy=np.concatenate([np.arange(len(part)) % per_window > 0 for part in parts]),
        recordings=tuple(recordings),
    )


@dataclass(frozen=True)
class HeaderSummary:
    """Durations and sample rates of recordings.

    durations_s : of each; sample_rates : number of recordings for each rate in Hz
    """

    durations_s: list[float]
    sample_rates: Counter[int]

    @property
    def median_duration_s(self) -> float:
        """Rounded to 0.01 s, at least 0.1 s."""
        return max(0.1, round(float(np.median(self.durations_s)), 2))

    def describe(self) -> str:
        """Number of recordings, total duration and sample rates."""
        seconds = sum(self.durations_s)
        length = f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"
        rates = ", ".join(
            f"{n} at {rate / 1000:g} kHz" for rate, n in self.sample_rates.most_common()
        )
        return f"{len(self.durations_s)}, {length} in total: {rates}"


def summarize_headers(recordings: Sequence[Labelled]) -> HeaderSummary:
    """Read every header. Raises FolderError naming the first that cannot be read."""
    headers = []
    for recording in recordings:
        try:
            headers.append(_header(recording.path))
        except (AudioAnomalyError, OSError) as error:
            raise FolderError(f"{printable(recording.path)} cannot be read: {error}") from None
    return HeaderSummary([h.duration_s for h in headers], Counter(h.sample_rate for h in headers))


@dataclass(frozen=True)
class _Header:
    duration_s: float
    sample_rate: int


def _header(path: Path) -> _Header:
    """The header of a recording; where it has no length, the frames are counted.

    Raises AudioAnomalyError or OSError.
    """
    with open_decoder(path) as decoder:
        frames = decoder.frames
        if frames is None:
            frames = 0
            while size := len(decoder.read(COUNTED_FRAMES)):
                frames += size
        return _Header(frames / decoder.sample_rate, decoder.sample_rate)


def seed_of(path: Path) -> list[int]:
    """From the content and not from the place in a list: a file gives the same copies anywhere."""
    return [int(content_sha256(path)[:16], 16)]


def altered_file(path: Path, condition: str, seed: list[int]) -> bytes:
    """The content of the file that a recording becomes under one of robustness.CONDITIONS."""
    with open_decoder(path) as decoder:
        rate = decoder.sample_rate
    waveform = audio.load(path, rate, LIMITS).waveform
    return robustness.altered(waveform, rate, condition, seed)


def _cache_path(path: Path, settings: ExtractionSettings) -> Path:
    """Where the rows of a file are cached: by its content, the settings and declared versions.

    The version of each part is declared beside its code. It must be raised when that part
    gives other numbers, or stale rows are read; tests/workbench/test_dataset.py checks that.
    """
    extract = extractor(settings.feature_extractor, settings.sample_rate)
    versions = [f"decoding {DECODING_VERSION}", f"extractor {extract.version}"]
    if settings.copies:
        versions.append(f"augmentation {augmentation.AUGMENTATION_VERSION}")
    if settings.condition is not None:
        versions.append(f"robustness {robustness.ROBUSTNESS_VERSION}")
    versions += [f"{name} {_installed(name)}" for name in ("numpy", "scipy", "librosa", "soxr")]
    versions.append(f"libsndfile {soundfile.__libsndfile_version__}")
    if ffmpeg_installed():
        versions.append(f"av {_installed('av')}")
    key = " ".join([content_sha256(path), str(settings), *versions])
    name = hashlib.sha256(key.encode()).hexdigest()
    return user_cache_path("oddsound") / "features" / f"{name}.npy"


@functools.cache
def _installed(package: str) -> str:
    """The version of a package. To read its metadata takes longer than the rest of a key."""
    return version(package)


def _duration_s(path: Path) -> float:
    """Duration of a recording; 0 if its header cannot be read, which decoding reports."""
    try:
        return _header(path).duration_s
    except (AudioAnomalyError, OSError):
        return 0.0


def _cached(place: Path) -> Array | None:
    if not place.exists():
        return None
    try:
        rows: Array = np.load(place)
    except (OSError, ValueError):
        place.unlink(missing_ok=True)
        return None
    return rows


def _make(path: Path, settings: ExtractionSettings, place: Path) -> Array:
    """Extract and cache: [shape=(windows * (1 + copies), features)], copies after each window."""
    try:
        rows = _extract(path, settings)
    except AudioAnomalyError as error:
        raise FolderError(f"{printable(path)}: {error}") from None
    file = io.BytesIO()
    np.save(file, rows)
    # Without a cache (disk full or read-only) the next run only takes longer.
    with suppress(OSError):
        replace_file(place, file.getvalue())
    return rows


def _extract(path: Path, settings: ExtractionSettings) -> Array:
    extract = extractor(settings.feature_extractor, settings.sample_rate)
    seed = [settings.seed, *seed_of(path)]
    if settings.condition is None:
        recording = scanning.load(path, extract, settings.sample_rate, LIMITS)
    else:
        # A degraded recording may be silent: at 20 dB less, a quiet sound has no steps left.
        altered = altered_file(path, settings.condition, [*seed, 1])
        recording = audio.load(altered, settings.sample_rate, LIMITS)
        scanning.check_length(len(recording.waveform), extract, settings.sample_rate)
    waveform = recording.waveform
    starts, size = split(len(waveform), settings.window_s, settings.sample_rate, extract)
    rng = np.random.default_rng(seed)
    rows = []
    for start in starts:
        window = waveform[start : start + size]
        rows.append(extract(window))
        for _ in range(settings.copies):
            copy = augmentation.augment(window, settings.sample_rate, rng)
            rows.append(extract(copy if len(copy) >= extract.min_samples else window))
    return np.stack(rows)
