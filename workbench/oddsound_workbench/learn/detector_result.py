"""The result of evaluating a detector, and of several detectors together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oddsound.predictors import Floats
from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench.learn.metrics import aucs
from oddsound_workbench.learn.results import (
    Chart,
    KeyFigure,
    Mistake,
    Result,
    RocChart,
    ScoresChart,
    Summary,
    metrics_table,
)

DETECTOR_COLUMNS = ("auc", "pauc", "false_alarm_rate", "detection_rate")

type Scores = tuple[Floats, list[Path]]
"""Anomaly scores, and the recording of each."""


@dataclass(frozen=True)
class DetectorResult:
    """Scores of normal recordings that the model was not trained on, and of anomalies.

    normal, anomaly : anomaly scores, 0..1; a recording has one for each split that tested it
    normal_paths, anomaly_paths : the recording of each score
    splits : AUC and pAUC of each split; empty if there are no anomalies
    """

    threshold: float
    normal: Floats
    anomaly: Floats
    normal_paths: list[Path]
    anomaly_paths: list[Path]
    splits: list[tuple[float, float]]

    @classmethod
    def of_splits(
        cls, splits: Sequence[tuple[Scores, Scores | None]], threshold: float
    ) -> "DetectorResult":
        """All splits together.

        splits : scores of the normal recordings and, if there are any, of the anomalies
        """
        normals = [normal for normal, _ in splits]
        anomalies = [anomaly for _, anomaly in splits if anomaly is not None]
        return cls(
            threshold=threshold,
            normal=np.concatenate([scores for scores, _ in normals]),
            anomaly=np.concatenate([scores for scores, _ in anomalies] or [np.zeros(0)]),
            normal_paths=[path for _, paths in normals for path in paths],
            anomaly_paths=[path for _, paths in anomalies for path in paths],
            splits=[aucs(n, a[0]) for (n, _), a in splits if a is not None],
        )

    @property
    def normal_recordings(self) -> int:
        return len(set(self.normal_paths))

    @property
    def anomaly_recordings(self) -> int:
        return len(set(self.anomaly_paths))

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "false_alarm_rate": float((self.normal >= self.threshold).mean()),
            "normal_recordings": self.normal_recordings,
        }
        if self.splits:
            auc, pauc = np.mean(self.splits, axis=0)
            found |= {
                "auc": float(auc),
                "pauc": float(pauc),
                "detection_rate": float((self.anomaly >= self.threshold).mean()),
                "anomaly_recordings": self.anomaly_recordings,
            }
        return found

    def summary(self) -> Summary:
        return Summary(
            key_figures=self._key_figures(),
            tables=[],
            charts=self._charts(),
            mistakes=[
                *self._mistakes(self.normal, self.normal_paths, NORMAL, ANOMALY),
                *self._mistakes(self.anomaly, self.anomaly_paths, ANOMALY, NORMAL),
            ],
            mistakes_head=("Recording", "class", "predicted", "mean score", "wrong in splits"),
            columns=DETECTOR_COLUMNS,
        )

    def _key_figures(self) -> list[KeyFigure]:
        found = self.metrics()
        figures = [
            KeyFigure(
                "False alarms",
                f"{found['false_alarm_rate']:.1%}",
                f"of {self.normal_recordings} normal recordings;"
                f" {1 - self.threshold:.0%} are expected at this threshold",
            ),
            KeyFigure(
                "Threshold", f"{self.threshold:g}", "anomaly score from which an alarm is raised"
            ),
        ]
        if not self.splits:
            reason = "not measured, because no anomalous recordings were given"
            return [*figures, KeyFigure("Detected", "", reason)]
        return [
            KeyFigure(
                "Detected",
                f"{found['detection_rate']:.1%}",
                f"of {self.anomaly_recordings} anomalous recordings",
            ),
            *figures,
            KeyFigure(
                "AUC",
                f"{found['auc']:.3f}",
                "probability that an anomaly scores higher than a normal recording: 1 is perfect,"
                " 0.5 is chance",
            ),
            KeyFigure(
                "pAUC",
                f"{found['pauc']:.3f}",
                "the same at a false-alarm rate of at most 10%: 1 is perfect, 0.5 is chance",
            ),
        ]

    def _charts(self) -> list[Chart]:
        scores = ScoresChart(
            "Anomaly scores",
            "Unseen normal recordings should be left of the threshold, anomalies right of it.",
            self.normal,
            self.anomaly,
            self.threshold,
        )
        if not self.splits:
            return [scores]
        truth = np.repeat([False, True], [len(self.normal), len(self.anomaly)])
        roc = RocChart(
            "ROC",
            "Detection rate over false-alarm rate for every threshold. The closer the curve is to"
            " the upper left corner, the better. It pools the scores of all splits, while the AUC"
            " above is the mean of the AUC of each split.",
            {"all splits": (truth, np.concatenate([self.normal, self.anomaly]))},
        )
        return [scores, roc]

    def _mistakes(
        self, scores: Floats, paths: Sequence[Path], truth: str, predicted: str
    ) -> list[Mistake]:
        by_path: dict[Path, list[float]] = {}
        for path, score in zip(paths, scores, strict=True):
            by_path.setdefault(path, []).append(float(score))
        found = []
        for path, each in by_path.items():
            wrong = sum((score >= self.threshold) == (truth == NORMAL) for score in each)
            if wrong:
                where = f"{wrong} of {len(each)}"
                mistake = Mistake(path, truth, predicted, f"{np.mean(each):.2f}", where)
                found.append((wrong / len(each), mistake))
        return [mistake for _, mistake in sorted(found, key=lambda pair: -pair[0])]


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
