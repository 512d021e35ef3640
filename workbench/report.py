"""What was measured, for people: a text and a picture beside the model."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from workbench.evaluation import ClassifierResult, DetectorResult

STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}


def write(folder: Path, title: str, result: ClassifierResult | DetectorResult) -> str:
    """Write report.txt and report.png into `folder`. Returns the text."""
    text = describe(title, result)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    with mpl.rc_context(STYLE):
        figure = (
            _classifier_figure(result)
            if isinstance(result, ClassifierResult)
            else _detector_figure(result)
        )
        figure.suptitle(title)
        figure.savefig(folder / "report.png", dpi=110)
    return text


def describe(title: str, result: ClassifierResult | DetectorResult) -> str:
    """The measurements as text."""
    found = result.metrics()
    lines = (
        _classifier_lines(result, found)
        if isinstance(result, ClassifierResult)
        else _detector_lines(result, found)
    )
    return "\n".join([title, "=" * len(title), "", *lines, ""])


def _classifier_lines(result: ClassifierResult, found: dict[str, Any]) -> list[str]:
    folds = "  ".join(f"{fold}: {share:.1%}" for fold, share in found["accuracy_by_fold"].items())
    width = max(map(len, result.classes))
    confusion = result.confusion
    lines = [
        f"{found['accuracy']:.1%} of {found['recordings']} recordings are right, each judged by a"
        " model that had not seen its fold.",
        "",
        f"By fold            {folds}",
        f"AUC                {found['auc']:.3f}  (one class against the rest, mean)",
        f"Log-loss           {found['log_loss']:.3f}",
        f"Brier score        {found['brier']:.3f}",
        f"Calibration error  {found['calibration_error']:.3f}",
        f"Worst class        {found['worst_class']}",
        "",
        "Confusion: a row for each class, a column for each verdict.",
        "",
    ]
    for name, row in zip(result.classes, confusion, strict=True):
        right = found["recall_by_class"][name]
        lines.append(f"{name:>{width}} {right:5.0%} |" + "".join(f"{count:4d}" for count in row))
    wrong = np.flatnonzero(result.predicted != result.truth)
    lines += ["", f"The {len(wrong)} that went wrong:", ""]
    for index in wrong:
        verdict = result.predicted[index]
        confidence = result.probabilities[index].max()
        lines.append(f"  {result.names[index]}: {verdict} ({confidence:.0%})")
    return lines


def _detector_lines(result: DetectorResult, found: dict[str, Any]) -> list[str]:
    lines = [
        f"Trained on {result.normal_recordings} normal recordings. Every figure is of recordings",
        "that the model which judged them had not seen, over repeated splits.",
        "",
        f"Threshold         {result.threshold:g}",
        f"False alarms      {found['false_alarm_rate']:.1%} of unseen normal recordings"
        f" ({1 - result.threshold:.0%} were promised)",
    ]
    if result.splits:
        lines += [
            f"Detected          {found['detection_rate']:.1%} of {result.anomaly_recordings}"
            " anomalous recordings",
            f"AUC               {found['auc']:.3f}",
            f"pAUC (p = 0.1)    {found['pauc']:.3f}",
        ]
    else:
        lines.append("No anomalous recordings were given, so what it detects was not measured.")
    return lines


def _classifier_figure(result: ClassifierResult) -> Figure:
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    confusion = result.confusion
    left.imshow(confusion, cmap="Blues", vmin=0)
    ticks = range(len(result.classes))
    left.set_xticks(ticks, result.classes, rotation=45, ha="right")
    left.set_yticks(ticks, result.classes)
    left.set(xlabel="verdict", ylabel="class", title="Confusion, recordings")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if count > confusion.max() / 2 else "black"
            left.text(column, row, str(count), ha="center", va="center", color=colour)
    for index, name in enumerate(result.classes):
        _roc(right, result.truth == name, result.probabilities[:, index], name)
    _finish_roc(right, "ROC, one class against the rest")
    return figure


def _detector_figure(result: DetectorResult) -> Figure:
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.linspace(0, 1, 41).tolist()
    shares = {"normal, unseen": (result.normal, "tab:blue"), "anomaly": (result.anomaly, "tab:red")}
    for name, (scores, colour) in shares.items():
        if len(scores):
            weights = np.full(len(scores), 1 / len(scores))
            left.hist(scores, bins, weights=weights, label=name, color=colour, alpha=0.6)
    left.axvline(result.threshold, color="black", linestyle="--", label="threshold")
    left.set(xlabel="anomaly score", ylabel="share of recordings", title="Scores", xlim=(0, 1))
    left.legend()
    if len(result.anomaly):
        truth = np.repeat([False, True], [len(result.normal), len(result.anomaly)])
        _roc(right, truth, np.concatenate([result.normal, result.anomaly]), "all splits")
        _finish_roc(right, "ROC")
    else:
        right.axis("off")
        right.text(0.5, 0.5, "no anomalies were given", ha="center", va="center")
    return figure


def _roc(axes: Axes, truth: Any, scores: Any, name: str) -> None:
    false_alarms, detected, _ = roc_curve(truth, scores)
    axes.plot(false_alarms, detected, label=name, linewidth=1.5)


def _finish_roc(axes: Axes, title: str) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="false alarms", ylabel="detected", title=title, xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize="small", loc="lower right")
