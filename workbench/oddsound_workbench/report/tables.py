"""What was measured, for people: as text, as a picture and as a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oddsound_workbench.learn import folds as evaluation
from oddsound_workbench.learn import robustness
from oddsound_workbench.learn.folds import ClassifierResult, DetectorResult

type Result = ClassifierResult | DetectorResult

PERCENT, THREE = "{:.1%}", "{:.3f}"
COLUMNS = {
    "accuracy": ("right", PERCENT),
    "log_loss": ("log-loss", THREE),
    "brier": ("Brier score", THREE),
    "calibration_error": ("calibration error", THREE),
    "auc": ("AUC", THREE),
    "pauc": ("pAUC", THREE),
    "false_alarm_rate": ("false alarms", PERCENT),
    "detection_rate": ("detected", PERCENT),
}
"""Metrics of which a table has a column, with its heading and form."""

CLASSIFIER_COLUMNS = ("accuracy", "log_loss", "brier", "calibration_error")
DETECTOR_COLUMNS = ("auc", "pauc", "false_alarm_rate", "detection_rate")


@dataclass(frozen=True)
class Report:
    """What was measured, and on what.

    method : a sentence on who judged which recordings
    facts : what a reader asks about the model and its recordings, and the answers
    results : one, called "", or one for each machine or class
    robustness : for each of robustness.TITLES, its figures; empty where it was not measured
    """

    title: str
    method: str
    facts: list[tuple[str, str]]
    results: dict[str, Result]
    robustness: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class KeyFigure:
    """One figure with its meaning."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    head: list[str]
    rows: list[list[str]]

    def lines(self) -> list[str]:
        """In columns of equal width, the first to the left, all others to the right."""
        cells = [self.head, *self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]
        return [
            "  ".join(
                f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]


@dataclass(frozen=True)
class Mistake:
    """A recording that was judged wrongly.

    score : probability of the verdict in percent, or the mean anomaly score over all splits
    where : the fold that it was tested in, or in how many splits it went wrong
    """

    path: Path
    truth: str
    verdict: str
    score: str
    where: str

    @property
    def name(self) -> str:
        """Folder and file name."""
        return f"{self.path.parent.name}/{self.path.name}"

    def cells(self) -> list[str]:
        """Under the headings of `mistakes_head`."""
        return [self.name, self.truth, self.verdict, self.score, self.where]


def text(report: Report) -> str:
    """The whole report for a terminal."""
    lines = [report.title, "=" * len(report.title), "", report.method, ""]
    if "" in report.results:
        lines += _result_lines(report.results[""])
    else:
        lines += [*summary_table(report.results).lines(), ""]
        lines += _key_figure_lines(summary_figures(report.results))
    if report.robustness:
        lines += ["", robustness_told(report), "", *robustness_table(report).lines()]
    return "\n".join([*lines, ""])


def key_figures(result: Result) -> list[KeyFigure]:
    """The figures of one result, the most asked for first."""
    found = result.metrics()
    if isinstance(result, DetectorResult):
        return _detector_figures(result, found)
    folds = found["accuracy_by_fold"]
    spread = f"over {len(folds)} folds" if len(folds) > 1 else "of so many recordings"
    worst = found["worst_class"]
    figures = [
        KeyFigure(
            "Right",
            f"{found['accuracy']:.1%}",
            f"of {found['recordings']} recordings, ± {100 * found['accuracy_standard_error']:.1f}"
            f" points (one standard error, {spread})",
        ),
        KeyFigure(
            "Log-loss",
            f"{found['log_loss']:.3f}",
            "the model's surprise at the truth: 0 is none,"
            f" {np.log(len(result.classes)):.2f} is that of blind guessing",
        ),
        KeyFigure(
            "Brier score",
            f"{found['brier']:.3f}",
            "squared distance of the probabilities from the truth: 0 is best, 2 is sure and wrong",
        ),
        KeyFigure(
            "Calibration error",
            f"{found['calibration_error']:.3f}",
            "how far, on average, a verdict's probability is from the share that is right",
        ),
        KeyFigure(
            "AUC",
            f"{found['auc']:.3f}",
            "how well each class is told from the rest: 1 is perfect, 0.5 is chance",
        ),
        KeyFigure("Worst class", worst, f"{found['recall_by_class'][worst]:.0%} of it is right"),
    ]
    if len(folds) > 1:
        shares = ", ".join(f"{fold}: {share:.1%}" for fold, share in folds.items())
        figures.insert(1, KeyFigure("By fold", "", shares))
    return figures


def _detector_figures(result: DetectorResult, found: dict[str, Any]) -> list[KeyFigure]:
    figures = [
        KeyFigure(
            "False alarms",
            f"{found['false_alarm_rate']:.1%}",
            f"of {result.normal_recordings} normal recordings;"
            f" {1 - result.threshold:.0%} were promised",
        ),
        KeyFigure(
            "Threshold", f"{result.threshold:g}", "the anomaly score from which the alarm is raised"
        ),
    ]
    if not result.splits:
        none = "not measured: no anomalous recordings were given"
        return [*figures, KeyFigure("Detected", "", none)]
    return [
        KeyFigure(
            "Detected",
            f"{found['detection_rate']:.1%}",
            f"of {result.anomaly_recordings} anomalous recordings",
        ),
        *figures,
        KeyFigure(
            "AUC",
            f"{found['auc']:.3f}",
            "how often an anomaly scores higher than a normal recording: 0.5 is chance",
        ),
        KeyFigure(
            "pAUC",
            f"{found['pauc']:.3f}",
            "the same where at most 10% false alarms are borne: 1 is perfect, 0.5 is chance",
        ),
    ]


def summary_figures(results: dict[str, Result]) -> list[KeyFigure]:
    """Of several detectors."""
    found = evaluation.summary(detectors(results))
    return [
        KeyFigure("Harmonic mean", f"{found['harmonic_mean']:.3f}", "of all AUC and pAUC"),
        KeyFigure(
            "Worst", found["worst"], f"AUC {found['worst_auc']:.3f}, pAUC {found['worst_pauc']:.3f}"
        ),
    ]


def summary_table(results: dict[str, Result]) -> Table:
    """A row for each detector, and their mean."""
    found = evaluation.summary(detectors(results))
    rows = [*found["each"].items(), ("mean", found)]
    return _table([(name, figures) for name, figures in rows])


def robustness_told(report: Report) -> str:
    """What the table of robustness holds."""
    told = "The same models on the same recordings, altered as devices and senders do."
    if found := report.robustness.get("mp3_64_kbps"):
        told += f" MP3 files have {found['kbit_per_s']:g} kbit/s, headers included."
    return told


def robustness_table(report: Report) -> Table:
    """A row for each condition."""
    return _table([(robustness.TITLES[c], figures) for c, figures in report.robustness.items()])


def reliability_table(result: ClassifierResult) -> Table:
    """How often verdicts are right, by the probability that they were given."""
    head = ["verdicts given", "recordings", "mean", "right"]
    rows = [
        [
            f"{b.low:.0%} to {b.high:.0%}",
            str(b.recordings),
            f"{b.probability:.1%}",
            f"{b.right:.1%}",
        ]
        for b in result.reliability
    ]
    return Table(head, rows)


def mistakes(result: Result) -> list[Mistake]:
    """What went wrong, the surest or most frequent mistakes first."""
    if isinstance(result, ClassifierResult):
        sureness = result.probabilities.max(axis=1)
        wrong = np.flatnonzero(result.predicted != result.truth)
        return [
            Mistake(
                path=result.paths[index],
                truth=str(result.truth[index]),
                verdict=str(result.predicted[index]),
                score=f"{sureness[index]:.0%}",
                where=str(result.folds[index]),
            )
            for index in wrong[np.argsort(-sureness[wrong], kind="stable")]
        ]
    return [
        *_detector_mistakes(result, result.normal, result.normal_paths, "normal"),
        *_detector_mistakes(result, result.anomaly, result.anomaly_paths, "anomaly"),
    ]


def _detector_mistakes(
    result: DetectorResult, scores: Any, paths: Sequence[Path], truth: str
) -> list[Mistake]:
    by_path: dict[Path, list[float]] = {}
    for path, score in zip(paths, scores, strict=True):
        by_path.setdefault(path, []).append(float(score))
    verdict = "anomaly" if truth == "normal" else "normal"
    found = []
    for path, each in by_path.items():
        wrong = sum((score >= result.threshold) == (truth == "normal") for score in each)
        if wrong:
            where = f"{wrong} of {len(each)}"
            mistake = Mistake(path, truth, verdict, f"{np.mean(each):.2f}", where)
            found.append((wrong / len(each), mistake))
    return [mistake for _, mistake in sorted(found, key=lambda pair: -pair[0])]


def mistakes_head(result: Result) -> list[str]:
    """Headings for the fields of a mistake."""
    if isinstance(result, ClassifierResult):
        return ["Recording", "is", "was heard as", "probability", "fold"]
    return ["Recording", "is", "was called", "mean score", "in splits"]


def detectors(results: dict[str, Result]) -> dict[str, DetectorResult]:
    return {name: each for name, each in results.items() if isinstance(each, DetectorResult)}


def _result_lines(result: Result) -> list[str]:
    lines = _key_figure_lines(key_figures(result))
    if isinstance(result, ClassifierResult):
        lines += ["", *_confusion_lines(result), "", *reliability_table(result).lines()]
    wrong = mistakes(result)
    if wrong:
        lines += ["", f"The {len(wrong)} that went wrong:", ""]
        lines += Table(mistakes_head(result), [each.cells() for each in wrong]).lines()
    return lines


def _key_figure_lines(figures: list[KeyFigure]) -> list[str]:
    return [f"{f.name:<17}  {f.value:>6}  {f.meaning}" for f in figures]


def _confusion_lines(result: ClassifierResult) -> list[str]:
    width = max(map(len, result.classes))
    lines = ["Confusion: a row for each class, a column for each verdict.", ""]
    for name, row in zip(result.classes, result.confusion, strict=True):
        share = row[result.classes.index(name)] / row.sum()
        lines.append(f"{name:>{width}} {share:5.0%} |" + "".join(f"{n:4d}" for n in row))
    return lines


def _table(rows: list[tuple[str, dict[str, Any]]]) -> Table:
    """Of metrics, in the columns that the first row has."""
    chosen = CLASSIFIER_COLUMNS if "accuracy" in rows[0][1] else DETECTOR_COLUMNS
    columns = [column for column in chosen if column in rows[0][1]]
    head = ["", *(COLUMNS[column][0] for column in columns)]
    return Table(
        head,
        [[name, *(COLUMNS[c][1].format(found[c]) for c in columns)] for name, found in rows],
    )
