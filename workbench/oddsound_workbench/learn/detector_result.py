"""The result of evaluating a detector, and of several detectors together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oddsound.predictors import Floats
from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench.learn import intervals
from oddsound_workbench.learn.intervals import Interval
from oddsound_workbench.learn.metrics import aucs
from oddsound_workbench.learn.plan import RECORDINGS_PER_DAY
from oddsound_workbench.learn.recordings import Labelled
from oddsound_workbench.learn.results import (
    Chart,
    KeyFigure,
    Mistake,
    Result,
    RocChart,
    ScoresChart,
    Summary,
    Table,
    metrics_table,
)

DETECTOR_COLUMNS = ("auc", "pauc", "false_alarm_rate", "detection_rate")

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Rows of the table of thresholds, beside that of the model's own threshold."""

type Scores = tuple[Floats, list[Path]]
"""Anomaly scores, and the recording of each."""

type Split = tuple[Scores, Scores | None]
"""Scores of the held-out normal recordings and, if there are any, of the anomalies."""


@dataclass(frozen=True)
class DetectorResult:
    """Scores of recordings that the model which scored them was not trained on.

    normal, anomaly : anomaly scores, 0..1; a recording has one for each split that tested it. They
        give AUC and pAUC, pooled
    detection : the scores of the anomalies that give the detection rate: by the model of all
        normal recordings if there is one, otherwise the same as `anomaly`
    cross_validated : whether the normal recordings also train the model whose figures these are,
        and the scores are those of other models; false for a finished model
    recordings_per_day : of normal operation, for the number of false alarms per day
    groups : of recordings that are not independent; a recording without one is its own group
    """

    threshold: float
    normal: Scores
    anomaly: Scores
    detection: Scores
    cross_validated: bool = True
    recordings_per_day: float = RECORDINGS_PER_DAY
    groups: Mapping[Path, str] = field(default_factory=dict)

    @classmethod
    def of_splits(
        cls,
        splits: Sequence[Split],
        threshold: float,
        *,
        detection: Scores | None = None,
        recordings_per_day: float = RECORDINGS_PER_DAY,
        groups: Mapping[Path, str] | None = None,
    ) -> "DetectorResult":
        """All splits together.

        detection : scores of the anomalies by the model of all normal recordings
        """
        anomaly = _pooled([anomaly for _, anomaly in splits if anomaly is not None])
        return cls(
            threshold=threshold,
            normal=_pooled([normal for normal, _ in splits]),
            anomaly=anomaly,
            detection=detection or anomaly,
            recordings_per_day=recordings_per_day,
            groups=groups or {},
        )

    @property
    def normal_recordings(self) -> int:
        """Recordings of one group count once."""
        return self._independent(self.normal)

    @property
    def anomaly_recordings(self) -> int:
        """Recordings of one group count once."""
        return self._independent(self.anomaly)

    def metrics(self) -> dict[str, Any]:
        rates = self._rates(self.threshold)
        found: dict[str, Any] = {
            "threshold": self.threshold,
            "false_alarm_rate": rates["false_alarm_rate"],
            "false_alarm_rate_interval": rates["false_alarm_rate_interval"],
            "normal_recordings": self.normal_recordings,
        }
        if self.cross_validated:
            found["more_recordings_to_halve_interval"] = intervals.more_recordings_to_halve(
                rates["false_alarm_rate"], self.normal_recordings
            )
        if self.anomaly_recordings:
            auc, pauc = aucs(self.normal[0], self.anomaly[0])
            interval = intervals.auc(auc, self.normal_recordings, self.anomaly_recordings)
            found |= {
                "auc": auc,
                "auc_interval": interval.as_dict(),
                "pauc": pauc,
                "detection_rate": rates["detection_rate"],
                "detection_rate_interval": rates["detection_rate_interval"],
                "anomaly_recordings": self.anomaly_recordings,
            }
        thresholds = sorted({*THRESHOLDS, self.threshold})
        return found | {
            "recordings_per_day": self.recordings_per_day,
            "thresholds": [{"threshold": each, **self._rates(each)} for each in thresholds],
        }

    def summary(self) -> Summary:
        return Summary(
            key_figures=self._key_figures(),
            tables=[self._threshold_table()],
            charts=self._charts(),
            mistakes=[
                *self._mistakes(self.normal, NORMAL, ANOMALY),
                *self._mistakes(self.detection, ANOMALY, NORMAL),
            ],
            mistakes_head=("Recording", "class", "predicted", "mean score", "wrong scores"),
            columns=DETECTOR_COLUMNS,
        )

    def _rates(self, threshold: float) -> dict[str, Any]:
        """What a threshold gives: rates, intervals, false alarms per day."""
        rate = float((self.normal[0] >= threshold).mean())
        interval = self._false_alarm_interval(rate)
        found = {
            "false_alarm_rate": rate,
            "false_alarm_rate_interval": interval.as_dict(),
            "false_alarms_per_day": rate * self.recordings_per_day,
        }
        if self.anomaly_recordings:
            detected = float((self.detection[0] >= threshold).mean())
            interval = intervals.share(detected, self.anomaly_recordings)
            found |= {
                "detection_rate": detected,
                "detection_rate_interval": interval.as_dict(),
            }
        return found

    def _false_alarm_interval(self, rate: float) -> Interval:
        if self.cross_validated:
            return intervals.false_alarm_rate(rate, self.normal_recordings)
        return intervals.share(rate, self.normal_recordings)

    def _independent(self, scores: Scores) -> int:
        return len({self.groups.get(path, str(path)) for path in scores[1]})

    def _count(self, scores: Scores) -> str:
        """The number of recordings, and how many of them are independent if that is fewer."""
        count, independent = len(set(scores[1])), self._independent(scores)
        return f"{count}" if count == independent else f"{count} (in {independent} groups)"

    def _key_figures(self) -> list[KeyFigure]:
        found = self.metrics()
        interval = self._false_alarm_interval(found["false_alarm_rate"])
        figures = [
            KeyFigure(
                "False alarms",
                f"{found['false_alarm_rate']:.1%}",
                f"of {self._count(self.normal)} normal recordings;"
                f" {1 - self.threshold:.0%} are expected at this threshold."
                f" {self._certainty(interval)}",
            ),
            KeyFigure(
                "Threshold", f"{self.threshold:g}", "anomaly score from which an alarm is raised"
            ),
        ]
        if not self.anomaly_recordings:
            reason = "not measured, because no anomalous recordings were given"
            return [*figures, KeyFigure("Detected", "", reason)]
        detected = intervals.share(found["detection_rate"], self.anomaly_recordings)
        area = intervals.auc(found["auc"], self.normal_recordings, self.anomaly_recordings)
        return [
            KeyFigure(
                "Detected",
                f"{found['detection_rate']:.1%}",
                f"of {self._count(self.detection)} anomalous recordings; 90% interval for faults of"
                f" the same kinds: {detected.percent()}",
            ),
            *figures,
            KeyFigure(
                "AUC",
                f"{found['auc']:.3f}",
                "probability that an anomaly scores higher than a normal recording, over all scores"
                f" together: 1 is perfect, 0.5 is chance; 90% interval {area.decimal()}",
            ),
            KeyFigure(
                "pAUC",
                f"{found['pauc']:.3f}",
                "the same at a false-alarm rate of at most 10%: 1 is perfect, 0.5 is chance. It"
                " depends only on the tenth of the normal recordings with the highest scores",
            ),
        ]

    def _certainty(self, interval: Interval) -> str:
        """What is not known about the false alarms, in one or two sentences."""
        count, known = self._count(self.normal), interval.percent()
        if not self.cross_validated:
            return f"The 90% interval, from {count} recordings, is {known}."
        more = self.metrics()["more_recordings_to_halve_interval"]
        return (
            f"With {count} normal recordings, the rate of false alarms may be anything from"
            f" {known} (90% interval). With {more} more, the interval would be half as wide."
        )

    def _threshold_table(self) -> Table:
        """The rates of each threshold, with intervals; at most 80 characters wide."""
        rows = []
        for each in self.metrics()["thresholds"]:
            own = " *" if each["threshold"] == self.threshold else ""
            row = [f"{each['threshold']:g}{own}"]
            for kind in ("detection_rate", "false_alarm_rate"):
                if kind in each:
                    limits = Interval(**each[f"{kind}_interval"])
                    row.append(f"{each[kind]:.1%} ({limits.percent()})")
            limits = Interval(**each["false_alarm_rate_interval"])
            low, high = (self.recordings_per_day * end for end in (limits.low, limits.high))
            rows.append([*row, f"{each['false_alarms_per_day']:.3g} ({low:.2g} to {high:.2g})"])
        detected = ["detected"] if self.anomaly_recordings else []
        return Table(
            ["threshold", *detected, "false alarms", "false alarms per day"],
            rows,
            "What each threshold gives, with 90% intervals; * is the threshold of the model. False"
            f" alarms per day are those of {self.recordings_per_day:g} normal recordings per day.",
        )

    def _charts(self) -> list[Chart]:
        scores = ScoresChart(
            "Anomaly scores",
            "Unseen normal recordings should be left of the threshold, anomalies right of it.",
            self.normal[0],
            self.detection[0],
            self.threshold,
        )
        if not self.anomaly_recordings:
            return [scores]
        normal, anomaly = self.normal[0], self.anomaly[0]
        truth = np.repeat([False, True], [len(normal), len(anomaly)])
        roc = RocChart(
            "ROC",
            "Detection rate over false-alarm rate for every threshold. The closer the curve is to"
            " the upper left corner, the better. The AUC above is the area under this curve.",
            {"all scores": (truth, np.concatenate([normal, anomaly]))},
        )
        return [scores, roc]

    def _mistakes(self, scores: Scores, truth: str, predicted: str) -> list[Mistake]:
        by_path: dict[Path, list[float]] = {}
        for score, path in zip(*scores, strict=True):
            by_path.setdefault(path, []).append(float(score))
        found = []
        for path, each in by_path.items():
            wrong = sum((score >= self.threshold) == (truth == NORMAL) for score in each)
            if wrong:
                where = f"{wrong} of {len(each)}"
                mistake = Mistake(path, truth, predicted, f"{np.mean(each):.2f}", where)
                found.append((wrong / len(each), mistake))
        return [mistake for _, mistake in sorted(found, key=lambda pair: -pair[0])]


def groups_of(recordings: Sequence[Labelled]) -> dict[Path, str]:
    """The group of each recording. Recordings of one group are not independent."""
    return {recording.path: recording.group for recording in recordings}


def _pooled(parts: Sequence[Scores]) -> Scores:
    values = np.concatenate([np.zeros(0), *(scores for scores, _ in parts)])
    return values, [path for _, paths in parts for path in paths]


@dataclass(frozen=True)
class DetectorGroup:
    """The results of several detectors, one for each machine or class."""

    results: Mapping[str, Result]

    def metrics(self) -> dict[str, Any]:
        """Mean, harmonic mean and worst of the detectors, as in task 2 of DCASE."""
        each = {name: result.metrics() for name, result in self.results.items()}
        areas = np.array([[m["auc"], m["pauc"]] for m in each.values()])
        worst = min(each, key=lambda name: each[name]["auc"])
        return {
            "auc": float(areas[:, 0].mean()),
            "pauc": float(areas[:, 1].mean()),
            "harmonic_mean": float(areas.size / (1 / areas).sum()),
            "worst": worst,
            "worst_auc": each[worst]["auc"],
            "worst_pauc": each[worst]["pauc"],
            "false_alarm_rate": float(np.mean([m["false_alarm_rate"] for m in each.values()])),
            "detection_rate": float(np.mean([m["detection_rate"] for m in each.values()])),
            "each": each,
        }

    def summary(self) -> Summary:
        found = self.metrics()
        figures = [
            KeyFigure(
                "Harmonic mean", f"{found['harmonic_mean']:.3f}", "of every AUC and every pAUC"
            ),
            KeyFigure(
                "Worst",
                found["worst"],
                f"AUC {found['worst_auc']:.3f}, pAUC {found['worst_pauc']:.3f}",
            ),
        ]
        return Summary(
            key_figures=figures,
            tables=[metrics_table([*found["each"].items(), ("mean", found)], DETECTOR_COLUMNS)],
            charts=[],
            mistakes=[],
            mistakes_head=(),
            columns=DETECTOR_COLUMNS,
            parts={name: result.summary() for name, result in self.results.items()},
        )
