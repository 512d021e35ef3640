"""What to train, and the data that it is trained and tested with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oddsound.features import extractor
from oddsound.predictors import DETECTOR_THRESHOLD
from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench.files import printable
from oddsound_workbench.learn import checks, dataset
from oddsound_workbench.learn.dataset import ExtractionSettings, HeaderSummary, Rows
from oddsound_workbench.learn.fitted import FeatureChoice
from oddsound_workbench.learn.recordings import Labelled, unlabelled
from oddsound_workbench.learn.robustness import AS_RECORDED, CONDITIONS

COPIES = 8
"""Augmented copies of each window of a classifier's training recordings."""

MAX_DEFAULT_WINDOW_S = 10.0
"""Longest window that is chosen without --window-s. With the median of long recordings, a model
would score minutes at a time and never say when something happened."""

MIN_SHORT_WINDOW_S = 0.25
"""Shortest windows that calibrate a detector: a few frames say little about a machine."""

RECORDINGS_PER_DAY = 24.0
"""One recording per hour."""

type Progress = Callable[[str, int], Callable[[], Any]]
"""Takes a step's name and its number of units; returns a function to call after each unit."""

type Facts = list[tuple[str, str]]
"""Names and values for the report's table."""


def no_progress(_step: str, _total: int) -> Callable[[], None]:
    return lambda: None


@dataclass(frozen=True)
class Origin:
    """The part of a long recording that a short one was cut from, in seconds."""

    recording: Path
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Pieces:
    """Short recordings that were cut from long ones, as label files say.

    folder : where they are
    label_files : that were read
    facts : about the labels, for the report; notes : sentences for the user
    """

    folder: Path
    label_files: Sequence[Path]
    normal: Sequence[Labelled]
    faulty: Sequence[Labelled]
    origins: Mapping[Path, Origin]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """What to train or evaluate, with which recordings and settings.

    folder : one subfolder per class for a classifier; only normal recordings for a detector
    anomalies : recordings that evaluate a detector and never train it
    fixed_gain : whether all recordings, also those of the future, have the same gain
    window_s : seconds that are scored at a time; None for the median duration, at most 10 s
    copies : augmented copies of each window, for a classifier
    recordings_per_day : of normal operation; the report gives false alarms per day for them
    links : whether the report links to the recordings
    skip_bad : whether recordings that cannot be used are left out, instead of an error
    label_files : say which stretches of the recordings in the folder are normal or faulty; the
        folder may also be a single recording
    normal_labels, faulty_labels : texts of labels; without them, those of labels.stretches
    pieces : of the label files, see learn.labelled.with_pieces
    """

    folder: Path
    name: str
    models: Path
    anomalies: Path | None = None
    group_pattern: str | None = None
    fold_pattern: str | None = None
    sample_rate: int = 16000
    window_s: float | None = None
    copies: int = COPIES
    threshold: float = DETECTOR_THRESHOLD
    fixed_gain: bool = False
    recordings_per_day: float = RECORDINGS_PER_DAY
    seed: int = 0
    description: str = ""
    version: str | None = None
    links: bool = True
    skip_bad: bool = False
    label_files: tuple[Path, ...] = ()
    normal_labels: tuple[str, ...] = ()
    faulty_labels: tuple[str, ...] = ()
    pieces: Pieces | None = None

    @property
    def origins(self) -> Mapping[Path, Origin]:
        """Where the recordings were cut from, by path; empty without label files."""
        return {} if self.pieces is None else self.pieces.origins

    @property
    def notes(self) -> list[str]:
        """Sentences about the label files."""
        return [] if self.pieces is None else [*self.pieces.notes]

    @property
    def used_label_files(self) -> Sequence[Path]:
        return () if self.pieces is None else self.pieces.label_files

    def name_of(self, recording: Path) -> Path:
        """A training recording, relative to its folder."""
        return recording.relative_to(self.folder if self.pieces is None else self.pieces.folder)

    def normal_recordings(self) -> list[Labelled]:
        """What trains a detector. Raises FolderError if there is nothing."""
        if self.pieces is not None:
            return [*self.pieces.normal]
        return unlabelled(self.folder, NORMAL, self.group_pattern)

    def anomalous_recordings(self) -> list[Labelled]:
        """What evaluates a detector. Raises FolderError if there is no such folder."""
        cut = [] if self.pieces is None else self.pieces.faulty
        return [*cut, *(unlabelled(self.anomalies, ANOMALY) if self.anomalies else [])]

    @property
    def folders(self) -> list[Path]:
        """The folders with recordings."""
        return [self.folder] if self.anomalies is None else [self.folder, self.anomalies]

    @property
    def folder_name(self) -> str:
        """The folder as it was given, or only its name if the report has no links."""
        return printable(self.folder if self.links else Path(self.folder.resolve().name))


@dataclass(frozen=True)
class TrainingData:
    """Features of the recordings that a model is trained and tested with.

    rows : of the recordings that train it
    anomaly : of the recordings that only evaluate a detector
    summary : of the headers of the training recordings
    shorter : of the recordings that train it, in shorter windows, by their length in seconds
    coded : the training rows after a lossy codec, without copies; None for a classifier
    narrower : the training rows at lower sample rates
    bandwidth_hz : the median of the recordings that train it
    check_notes : sentences for the user: recordings that were left out, and recorder warnings
    """

    rows: Rows
    anomaly: Rows | None
    choice: FeatureChoice
    settings: ExtractionSettings
    summary: HeaderSummary
    bandwidth_hz: float
    shorter: dict[float, Rows] = field(default_factory=dict)
    coded: Rows | None = None
    narrower: Sequence["TrainingData"] = ()
    check_notes: Sequence[str] = ()

    @property
    def recordings(self) -> list[Labelled]:
        """All recordings, those that only evaluate last."""
        return [*self.rows.recordings, *(self.anomaly.recordings if self.anomaly else ())]

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.settings.window_s or self.summary.median_duration_s

    def compared_under(self, condition: str) -> "TrainingData":
        """The same recordings at the sample rate that a prediction under a condition compares.

        A detector contains detectors for lower sample rates, see oddsound.model.Model.for_rate.
        """
        delivered = CONDITIONS[condition].sample_rate if condition in CONDITIONS else None
        if delivered is None or delivered >= self.settings.sample_rate:
            return self
        fitting = [each for each in self.narrower if each.settings.sample_rate <= delivered]
        if not fitting:
            return self
        chosen = max(fitting, key=lambda each: each.settings.sample_rate)
        # The anomalies are read again under the condition.
        return replace(chosen, anomaly=self.anomaly)

    def under(self, condition: str, advance: Callable[[], Any]) -> "TrainingData":
        """The same recordings under a condition of robustness.TITLES, without copies.

        advance : called after each recording
        """
        if condition == AS_RECORDED:
            return self
        settings = self.settings.under(condition)
        rows = dataset.rows_of(self.rows.recordings, settings, advance)
        anomaly = self.anomaly and dataset.rows_of(self.anomaly.recordings, settings, advance)
        return replace(self, rows=rows, anomaly=anomaly, settings=settings)


def read(
    plan: Plan,
    recordings: Sequence[Labelled],
    progress: Progress,
    *,
    copies: int = 0,
    anomalies: Sequence[Labelled] = (),
    feature_extractor: str = "default",
    shares: Sequence[float] = (),
    rates: Sequence[int] = (),
    codec: str | None = None,
    check: Callable[[Sequence[Labelled]], None],
) -> TrainingData:
    """Check recordings and extract their features.

    copies : altered copies of each training window, see ExtractionSettings
    anomalies : recordings that get no copies
    shares : of the window's length, for the features of shorter windows
    rates : lower sample rates, in Hz, for features of the same recordings
    codec : a key of robustness.CONDITIONS, for features of the coded recordings
    check : raises FolderError if the usable recordings are not enough
    Raises FolderError that lists every recording that cannot be used, unless plan.skip_bad.
    """
    advance = progress("Checking recordings", len(recordings) + len(anomalies))
    training, tests = (
        checks.check(part, plan.sample_rate, feature_extractor, advance)
        for part in (recordings, anomalies)
    )
    if not plan.skip_bad:
        checks.raise_if_bad((training, tests))
    recordings, anomalies = training.usable, tests.usable
    check(recordings)
    summary = dataset.summarize_headers(recordings)
    window_s = float(plan.window_s or min(summary.median_duration_s, MAX_DEFAULT_WINDOW_S))
    settings = ExtractionSettings(
        plan.sample_rate, window_s, feature_extractor=feature_extractor, seed=plan.seed
    )
    lengths = [share * window_s for share in shares if share * window_s >= MIN_SHORT_WINDOW_S]
    per_rate = 1 + len(lengths) + (codec is not None)
    steps = per_rate * (1 + len(rates)) * len(recordings) + len(anomalies)
    advance = progress("Extracting features", steps)

    def coded(settings: ExtractionSettings) -> Rows | None:
        if codec is None:
            return None
        return dataset.rows_of(recordings, settings.under(codec), advance)

    def shorter(settings: ExtractionSettings) -> dict[float, Rows]:
        return {
            length: dataset.rows_of(recordings, replace(settings, window_s=length), advance)
            for length in lengths
        }

    data = TrainingData(
        rows=dataset.rows_of(recordings, replace(settings, copies=copies), advance),
        anomaly=dataset.rows_of(anomalies, settings, advance) if anomalies else None,
        choice=FeatureChoice.of(
            extractor(settings.feature_extractor, plan.sample_rate), fixed_gain=plan.fixed_gain
        ),
        settings=settings,
        summary=summary,
        bandwidth_hz=float(np.median(training.bandwidths_hz)),
        shorter=shorter(settings),
        coded=coded(settings),
        check_notes=checks.notes(training, tests),
    )
    lower = [replace(settings, sample_rate=rate) for rate in rates]
    narrower = [
        replace(
            data,
            rows=dataset.rows_of(recordings, each, advance),
            anomaly=None,
            settings=each,
            shorter=shorter(each),
            coded=coded(each),
        )
        for each in lower
    ]
    return replace(data, narrower=narrower)


def describe(plan: Plan, data: TrainingData) -> Facts:
    """What a report states about the recordings and settings of any model."""
    groups = len({recording.group for recording in data.rows.recordings})
    return [
        ("Folder", plan.folder_name),
        *(() if plan.pieces is None else plan.pieces.facts),
        ("Recordings" if plan.pieces is None else "Pieces", data.summary.describe()),
        ("Groups", f"{groups}; no group is in both the training and the test part of a split"),
        ("Model sample rate", f"{plan.sample_rate / 1000:g} kHz"),
        ("Window", f"{data.settings.window_s:g} s"),
        ("Loudness", "used, because the gain is fixed" if plan.fixed_gain else "ignored"),
    ]
