"""The result of evaluating a classifier."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score

from oddsound.predictors import Floats
from oddsound_workbench.learn import intervals
from oddsound_workbench.learn.intervals import Interval
from oddsound_workbench.learn.metrics import (
    Bin,
    calibration_error,
    reliability,
    standard_error,
)
from oddsound_workbench.learn.results import (
    Chart,
    ConfusionChart,
    KeyFigure,
    Mistake,
    ReliabilityChart,
    RocChart,
    Summary,
    Table,
)


@dataclass(frozen=True)
class ClassifierResult:
    """Predictions for recordings that the model was not trained on.

    truth : class of each recording; probabilities : float64 [shape=(recordings, classes)]
    folds : the fold in which each was tested; paths : of the recordings
    """

    classes: tuple[str, ...]
    truth: NDArray[np.str_]
    probabilities: Floats
    folds: NDArray[np.str_]
    paths: list[Path]

    @property
    def predicted(self) -> NDArray[np.str_]:
        return np.array(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def confusion(self) -> NDArray[np.intp]:
        """Recordings by class (rows) and by predicted class (columns)."""
        return np.asarray(confusion_matrix(self.truth, self.predicted, labels=list(self.classes)))

    @property
    def reliability(self) -> list[Bin]:
        """Share of correct predictions for each range of probability."""
        return reliability(self.probabilities.max(axis=1), self.predicted == self.truth)

    def metrics(self) -> dict[str, Any]:
        right = self.predicted == self.truth
        by_fold = {
            fold: float(right[self.folds == fold].mean())
            for fold in sorted(set(self.folds.tolist()))
        }
        by_class = {
            name: float(right[self.truth == name].mean())
            for name in self.classes
            if (self.truth == name).any()
        }
        truth = np.array([self.classes.index(name) for name in self.truth])
        one_hot = np.eye(len(self.classes))[truth]
        probabilities = np.clip(self.probabilities, 1e-15, 1)
        return {
            "accuracy": float(right.mean()),
            "accuracy_interval": self._accuracy_interval().as_dict(),
            "accuracy_standard_error": standard_error(right, list(by_fold.values())),
            "accuracy_by_fold": by_fold,
            "recall_by_class": by_class,
            "worst_class": min(by_class, key=by_class.__getitem__),
            "auc": _mean_auc(one_hot, probabilities),
            "log_loss": float(log_loss(truth, probabilities, labels=range(len(self.classes)))),
            "brier": float(np.square(self.probabilities - one_hot).sum(axis=1).mean()),
            "calibration_error": calibration_error(self.probabilities.max(axis=1), right),
            "reliability": [asdict(each) for each in self.reliability],
            "recordings": len(right),
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }

    def _accuracy_interval(self) -> Interval:
        """For new recordings of the same classes, if the recordings are independent."""
        return intervals.share(float((self.predicted == self.truth).mean()), len(self.truth))

    def summary(self) -> Summary:
        return Summary(
            key_figures=self._key_figures(),
            tables=[self._confusion_table(), self._reliability_table()],
            charts=self._charts(),
            mistakes=self._mistakes(),
            mistakes_head=("Recording", "class", "predicted", "probability", "fold"),
            columns=("accuracy", "log_loss", "brier", "calibration_error"),
        )

    def _key_figures(self) -> list[KeyFigure]:
        found = self.metrics()
        folds, worst = found["accuracy_by_fold"], found["worst_class"]
        source = f"from {len(folds)} folds" if len(folds) > 1 else "binomial"
        count = int((self.truth == worst).sum())
        recall = intervals.share(found["recall_by_class"][worst], count)
        by_fold = ", ".join(f"{fold}: {share:.1%}" for fold, share in folds.items())
        return [
            KeyFigure(
                "Accuracy",
                f"{found['accuracy']:.1%}",
                f"of {found['recordings']} recordings are classified correctly; standard error"
                f" {100 * found['accuracy_standard_error']:.1f} points ({source}); 90% interval"
                f" {self._accuracy_interval().percent()} if all recordings are independent",
            ),
            *([KeyFigure("Accuracy by fold", "", by_fold)] if len(folds) > 1 else []),
            KeyFigure(
                "Log-loss",
                f"{found['log_loss']:.3f}",
                "mean negative logarithm of the true class's probability: 0 is best,"
                f" {np.log(len(self.classes)):.2f} is random guessing",
            ),
            KeyFigure(
                "Brier score",
                f"{found['brier']:.3f}",
                "squared error of the probabilities: 0 is best, 2 is completely confident and"
                " wrong",
            ),
            KeyFigure(
                "Calibration error",
                f"{found['calibration_error']:.3f}",
                "mean difference between the probability of a prediction and the share of correct"
                " ones: 0 is best",
            ),
            KeyFigure(
                "AUC",
                f"{found['auc']:.3f}",
                "how well each class is separated from the others: 1 is perfect, 0.5 is chance",
            ),
            KeyFigure(
                "Worst class",
                worst,
                f"{found['recall_by_class'][worst]:.0%} of its {count} recordings are classified"
                f" correctly; 90% interval {recall.percent()}",
            ),
        ]

    def _charts(self) -> list[Chart]:
        return [
            ConfusionChart(
                "Confusion matrix",
                "Number of recordings by class (rows) and by predicted class (columns). Numbers"
                " off the diagonal are mistakes.",
                self.classes,
                self.confusion,
            ),
            ReliabilityChart(
                "Reliability",
                "Share of correct predictions for each range of probability; the number of"
                " recordings is above each bar. Well calibrated probabilities are on the dotted"
                " line.",
                self.reliability,
            ),
            RocChart(
                "ROC, each class against the others",
                "Detection rate over false-alarm rate for every threshold. The closer a curve is"
                " to the upper left corner, the better.",
                {
                    name: (self.truth == name, self.probabilities[:, index])
                    for index, name in enumerate(self.classes)
                },
            ),
        ]

    def _mistakes(self) -> list[Mistake]:
        confidence = self.probabilities.max(axis=1)
        wrong = np.flatnonzero(self.predicted != self.truth)
        return [
            Mistake(
                path=self.paths[index],
                truth=str(self.truth[index]),
                predicted=str(self.predicted[index]),
                score=f"{confidence[index]:.0%}",
                where=str(self.folds[index]),
            )
            for index in wrong[np.argsort(-confidence[wrong], kind="stable")]
        ]

    def _confusion_table(self) -> Table:
        """Predicted classes are numbered: their names would make the columns too wide."""
        numbers = [str(number) for number in range(1, len(self.classes) + 1)]
        rows = []
        for index, (name, counts) in enumerate(zip(self.classes, self.confusion, strict=True)):
            total = counts.sum()
            share = f"{counts[index] / total:.0%}" if total else "-"
            rows.append([f"{numbers[index]:>2} {name}", share, *map(str, counts)])
        return Table(
            ["   class", "correct", *numbers],
            rows,
            "Confusion matrix: one row for each class, one column for each predicted class.",
            has_plot=True,
        )

    def _reliability_table(self) -> Table:
        rows = [
            [
                f"{b.low:.0%} to {b.high:.0%}",
                str(b.recordings),
                f"{b.probability:.1%}",
                f"{b.right:.1%}",
            ]
            for b in self.reliability
        ]
        return Table(
            ["probability", "recordings", "mean probability", "correct"],
            rows,
            "Reliability: share of correct predictions for each range of probability.",
            has_plot=True,
        )


def _mean_auc(one_hot: Floats, probabilities: Floats) -> float:
    """Mean over the classes that are present among the recordings, each against the others."""
    present = [i for i in range(one_hot.shape[1]) if 0 < one_hot[:, i].sum() < len(one_hot)]
    return float(np.mean([roc_auc_score(one_hot[:, i], probabilities[:, i]) for i in present]))
