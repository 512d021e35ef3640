"""The detector: how it is fitted to normal recordings, calibrated and evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from oddsound import machine_features
from oddsound.events.reference import ARTIFACT_KEY
from oddsound.features import extractor
from oddsound.model import BANDWIDTH, LOUDNESS, NARROWER
from oddsound.predictors import Floats
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256
from oddsound_workbench.learn import plan as plans
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.detector_result import DetectorResult, Scores, Split, groups_of
from oddsound_workbench.learn.events import fit_reference
from oddsound_workbench.learn.fitted import FeatureChoice, Fitted
from oddsound_workbench.learn.folds import Fold, normal_splits, score
from oddsound_workbench.learn.plan import Facts, Plan, Progress, TrainingData
from oddsound_workbench.learn.recordings import Labelled
from oddsound_workbench.learn.robustness import OGG
from oddsound_workbench.learn.views import Sample, fit_views

EXTRACTOR = "machine"
SHORTER = (0.1, 0.2, 0.5)
"""Windows of these shares of the model's window calibrate the score of short recordings."""

MIN_RATE_HZ = 8000
"""The sample rate of telephones, the lowest that recorders commonly have."""

MIN_LOUDNESS_DEVIATION_DB = 1.0
"""Recordings whose loudness never varied would make each decibel a change of the gain."""

MIN_NORMAL_RECORDINGS = 4
"""Fewer normal recordings are not enough to calibrate the score."""


@dataclass(frozen=True)
class DetectorRecipe:
    """Trains a detector from a folder with only normal recordings."""

    plan: Plan

    method: ClassVar[str] = (
        "Normal recordings were scored in repeated splits, by models that were not trained on them."
        " The detection rate, if anomalous recordings were given, is that of the model of all"
        " normal recordings; anomalous recordings never train a model."
    )
    text: ClassVar[str] = (
        "Mahalanobis distances in four groups of features (levels, shape of the spectrum, both,"
        " changes over time); the two largest give a score calibrated on held-out normal recordings"
    )

    def read(self, progress: Progress) -> TrainingData:
        """The recordings of the plan's folders. Raises FolderError if they are not enough."""
        plan = self.plan
        recordings, anomalies = plan.normal_recordings(), plan.anomalous_recordings()
        self.check(recordings)
        return plans.read(
            plan,
            recordings,
            progress,
            anomalies=anomalies,
            feature_extractor=EXTRACTOR,
            shares=SHORTER,
            rates=lower_rates(plan.sample_rate),
            codec=OGG,
            check=self.check,
        )

    def check(self, recordings: Sequence[Labelled]) -> None:
        """Raises FolderError if there are too few normal recordings to calibrate the score."""
        count = len({recording.group for recording in recordings})
        if count < MIN_NORMAL_RECORDINGS:
            raise FolderError(
                f"a detector needs at least {MIN_NORMAL_RECORDINGS} normal recordings, found"
                f" {count} (identical files, and those of one group, count once)"
                if self.plan.pieces is None
                else f"the normal stretches give {count} piece(s) (those of one group count once);"
                f" a detector needs at least {MIN_NORMAL_RECORDINGS}: label more, or choose a"
                " shorter --window-s"
            )

    def describe(self, data: TrainingData) -> Facts:
        facts = [*plans.describe(self.plan, data), ("Model", self.text)]
        if data.anomaly is not None:
            count = len(data.anomaly.recordings)
            facts.insert(2, ("Tested with", f"{count} anomalous recordings, not used in training"))
        return facts

    def notes(self, data: TrainingData) -> list[str]:
        what = "normal recordings" if self.plan.pieces is None else "pieces of normal stretches"
        note = (
            f"A detector trained on {len(data.rows.recordings)} {what}: it raises an"
            f" alarm if the anomaly score is at least {self.plan.threshold:g}."
        )
        if data.anomaly is None:
            note += " To measure how many anomalies it detects, add --anomalies FOLDER."
            return [note]
        normal = {content_sha256(recording.path) for recording in data.rows.recordings}
        both = sum(content_sha256(r.path) in normal for r in data.anomaly.recordings)
        if not both:
            return [note]
        return [
            note,
            f"{both} of the {len(data.anomaly.recordings)} anomalous recordings are also among the"
            " normal recordings that train the model: the detection rate does not show how the"
            " model performs on new anomalies.",
        ]

    def fit(self, data: TrainingData) -> Fitted:
        with threadpool_limits(1):
            fitted = self._fit(data)
            narrower = [_part(self._fit(each), each) for each in data.narrower]
        return replace(fitted, estimator={**fitted.estimator, NARROWER: narrower})

    def _fit(self, data: TrainingData) -> Fitted:
        """The detector with the reference of its events, for one sample rate."""
        everything = np.ones(len(data.rows.recordings), dtype=bool)
        fitted = fit_detector(data, everything, self.plan.threshold, data.shorter)
        reference = fit_reference(
            data.rows.recordings, data.summary.durations_s, data.settings.sample_rate
        )
        more = {
            ARTIFACT_KEY: reference.to_artifact(),
            LOUDNESS: _loudness(data),
            BANDWIDTH: data.bandwidth_hz,
        }
        return replace(fitted, estimator={**fitted.estimator, **more})

    def folds(self, data: TrainingData, progress: Progress) -> list[Fold]:
        """Models of repeated splits, each of which holds some normal recordings out.

        If there are anomalies, the last one holds none out: anomalies train no model, so the
        detection rate is that of the model that will be saved.
        """
        masks = list(normal_splits(data.rows, self.plan.seed))
        if data.anomaly is not None:
            masks.append(np.zeros(len(data.rows.recordings), dtype=bool))
        advance = progress("Fitting models for cross-validation", len(masks))
        found = []
        # Hundreds of small decompositions: on a busy machine, BLAS threads that wait for each
        # other made them 4 to 20 times slower.
        with threadpool_limits(1):
            for number, held_out in enumerate(masks, 1):
                fitted = fit_detector(data, ~held_out, self.plan.threshold)
                found.append(Fold(str(number), held_out, fitted))
                advance()
        return found

    def evaluate(self, folds: Sequence[Fold], data: TrainingData) -> DetectorResult:
        """Each model scores its held-out normal recordings and every anomaly."""
        splits: list[Split] = []
        detection = None
        with threadpool_limits(1):
            for fold in folds:
                anomaly = None
                if data.anomaly is not None:
                    anomaly = anomaly_scores(fold.fitted, data.anomaly, data.choice)
                if not fold.held_out.any():
                    detection = anomaly
                    continue
                normal = data.rows.of(fold.held_out, copies=False)
                splits.append((anomaly_scores(fold.fitted, normal, data.choice), anomaly))
        return DetectorResult.of_splits(
            splits,
            self.plan.threshold,
            detection=detection,
            recordings_per_day=self.plan.recordings_per_day,
            groups=groups_of(data.recordings),
        )


def _loudness(data: TrainingData) -> dict[str, float]:
    """Of the training recordings, in dB; of the recordings themselves, not of their copies."""
    names = extractor(data.settings.feature_extractor, data.settings.sample_rate).names
    values = data.rows.values[~data.rows.copy, names.index(machine_features.LOUDNESS)]
    deviation = max(float(values.std(ddof=1)), MIN_LOUDNESS_DEVIATION_DB)
    return {"mean": float(values.mean()), "deviation": deviation}


def lower_rates(sample_rate: int) -> list[int]:
    """Sample rates for which a detector is trained too: halves, as long as they are common."""
    rates = [sample_rate // 2**power for power in range(1, 6)]
    return [rate for rate in rates if rate >= MIN_RATE_HZ]


def _part(fitted: Fitted, data: TrainingData) -> dict[str, Any]:
    """A detector for a lower sample rate, for the artifact of the whole model."""
    scaler = fitted.scaler
    return {
        "sample_rate": data.settings.sample_rate,
        "mean": scaler.mean_,
        "variance": scaler.var_,
        "scale": scaler.scale_,
        "detector": fitted.estimator,
    }


def anomaly_scores(fitted: Fitted, rows: Rows, choice: FeatureChoice) -> Scores:
    """The anomaly score of every recording in `rows`."""
    tested, found = score(fitted, rows, choice)
    return found[:, 1], [rows.recordings[index].path for index in tested]


def fit_detector(
    data: TrainingData,
    train: NDArray[np.bool_],
    threshold: float,
    shorter: Mapping[float, Rows] = MappingProxyType({}),
) -> Fitted:
    """Fit the views of a detector to normal recordings, see oddsound.views.

    train : mask over the recordings of data.rows [shape=(recordings,)]
    threshold : anomaly score from which an alarm will be raised, 0..1
    shorter : rows of the same recordings in shorter windows, by their length in seconds; without
        them, short recordings are compared with long ones
    Raises FolderError if the recordings do not differ at all.
    """

    def values(rows: Rows) -> Floats:
        return rows.values[:, data.choice.kept].astype(np.float64)

    def sample(rows: Rows, length_s: float) -> Sample:
        return Sample(values(rows), rows.groups.tolist(), length_s)

    rows = data.rows.of(train, copies=False)
    coded = data.coded and data.coded.of(train, copies=False)
    scaler, detector = fit_views(
        sample(rows, data.window_s),
        data.choice.families,
        threshold,
        shorter=[sample(each.of(train, copies=False), length) for length, each in shorter.items()],
        coding=None if coded is None else values(coded) - values(rows),
    )
    return Fitted(
        "mahalanobis_views", scaler, detector.to_artifact(), None, {"threshold": threshold}
    )
