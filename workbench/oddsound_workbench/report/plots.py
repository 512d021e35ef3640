"""The plots of a report: a PNG of all of them, or an SVG of each for a page."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from oddsound_workbench.learn.folds import ClassifierResult, DetectorResult

INK = "#010101"
"""Stands for the page's own colour of text in an SVG, which is another one in the dark."""

INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    # A dollar sign in the name of a class is no formula.
    "text.parse_math": False,
}
SVG_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "savefig.transparent": True,
    **dict.fromkeys(INKED, INK),
}
BLUES = LinearSegmentedColormap.from_list("blues", [(0.12, 0.47, 0.71, a) for a in (0.0, 0.9)])
LONGEST_LEGEND = 12


@dataclass(frozen=True)
class Panel:
    """One plot.

    told : what it shows, in a sentence for those who do not read plots every day
    size : inches
    """

    title: str
    told: str
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (5.4, 4.4)


def panels(result: ClassifierResult | DetectorResult) -> list[Panel]:
    """The plots that a result has."""
    if isinstance(result, ClassifierResult):
        side = 2.4 + 0.32 * len(result.classes)
        return [
            Panel(
                "Confusion",
                "Recordings by what they are (rows) and what they were heard as (columns);"
                " what stands off the diagonal went wrong.",
                lambda axes: _confusion(axes, result),
                (max(5.4, side), max(4.4, side - 0.8)),
            ),
            Panel(
                "Reliability",
                "How often a verdict is right, by the probability it was given; over each bar, the"
                " number of recordings. Honest probabilities lie on the dotted line.",
                lambda axes: _reliability(axes, result),
            ),
            Panel(
                "ROC, one class against the rest",
                "For every threshold, how many of a class are found at how many false alarms; the"
                " nearer to the upper left corner, the better.",
                lambda axes: _classifier_roc(axes, result),
            ),
        ]
    scores = Panel(
        "Anomaly scores",
        "Unseen normal recordings should lie left of the threshold, anomalies right of it.",
        lambda axes: _scores(axes, result),
    )
    if not result.splits:
        return [scores]
    roc = Panel(
        "ROC",
        "For every threshold, how many anomalies are found at how many false alarms; the nearer"
        " to the upper left corner, the better. The models of all splits are thrown together"
        " here; the AUC is their mean, each by itself.",
        lambda axes: _detector_roc(axes, result),
    )
    return [scores, roc]


def png(title: str, result: ClassifierResult | DetectorResult) -> bytes:
    """All plots of a result side by side."""
    found = panels(result)
    with mpl.rc_context(STYLE):
        height = max(panel.size[1] for panel in found)
        width = sum(panel.size[0] for panel in found)
        figure = Figure(figsize=(width, height + 0.4), layout="constrained")
        for axes, panel in zip(
            figure.subplots(1, len(found), squeeze=False)[0], found, strict=True
        ):
            panel.draw(axes)
            axes.set_title(panel.title)
        figure.suptitle(title)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def svg(panel: Panel) -> str:
    """One plot as an element for a page, in the page's colours. Holds no script and no link."""
    with mpl.rc_context(STYLE | SVG_STYLE):
        figure = Figure(figsize=panel.size, layout="constrained")
        panel.draw(figure.subplots())
        file = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    element = file.getvalue()
    element = element[element.index("<svg") :].replace(INK, "currentColor")
    # Groups are numbered anew in each plot, and a page has several.
    return re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", element)


def _confusion(axes: Axes, result: ClassifierResult) -> None:
    confusion, ticks = result.confusion, range(len(result.classes))
    # As vectors: browsers blur the pixels of an image.
    edges = np.arange(len(ticks) + 1) - 0.5
    axes.pcolormesh(edges, edges, confusion, cmap=BLUES, vmin=0)
    axes.invert_yaxis()
    axes.set_xticks(ticks, result.classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, result.classes)
    axes.set(xlabel="heard as", ylabel="is")
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if count > confusion.max() / 2 else mpl.rcParams["text.color"]
            axes.text(column, row, str(count), ha="center", va="center", color=colour)


def _reliability(axes: Axes, result: ClassifierResult) -> None:
    bins = result.reliability
    axes.bar(
        [b.low for b in bins],
        [b.right for b in bins],
        width=[0.94 * (b.high - b.low) for b in bins],
        align="edge",
        color="tab:blue",
        alpha=0.35,
    )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    points = [(b.probability, b.right) for b in bins]
    axes.plot(*zip(*points, strict=True), "o", color="tab:blue")
    for b in bins:
        middle = (b.low + b.high) / 2
        axes.text(middle, b.right + 0.03, str(b.recordings), ha="center", fontsize="small")
    axes.set(xlabel="probability of the verdict", ylabel="share that is right")
    axes.set(xlim=(0, 1), ylim=(0, 1.1), yticks=np.arange(0, 1.01, 0.2))


def _classifier_roc(axes: Axes, result: ClassifierResult) -> None:
    for index, name in enumerate(result.classes):
        _roc(axes, result.truth == name, result.probabilities[:, index], name)
    _finish_roc(axes, legend=len(result.classes) <= LONGEST_LEGEND)


def _scores(axes: Axes, result: DetectorResult) -> None:
    bins = np.linspace(0, 1, 41).tolist()
    shares = {"normal, unseen": (result.normal, "tab:blue"), "anomaly": (result.anomaly, "tab:red")}
    for name, (scores, colour) in shares.items():
        if len(scores):
            weights = np.full(len(scores), 1 / len(scores))
            axes.hist(scores, bins, weights=weights, label=name, color=colour, alpha=0.6)
    ink = mpl.rcParams["text.color"]
    axes.axvline(result.threshold, color=ink, linestyle="--", label="threshold")
    axes.set(xlabel="anomaly score", ylabel="share of recordings", xlim=(0, 1))
    axes.legend(loc="upper center")


def _detector_roc(axes: Axes, result: DetectorResult) -> None:
    truth = np.repeat([False, True], [len(result.normal), len(result.anomaly)])
    _roc(axes, truth, np.concatenate([result.normal, result.anomaly]), "all splits")
    _finish_roc(axes, legend=True)


def _roc(axes: Axes, truth: Any, scores: Any, name: str) -> None:
    false_alarms, detected, _ = roc_curve(truth, scores)
    axes.plot(false_alarms, detected, label=name, linewidth=1.5)


def _finish_roc(axes: Axes, *, legend: bool) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="false alarms", ylabel="detected", xlim=(0, 1), ylim=(0, 1.01))
    if legend:
        axes.legend(fontsize="small", loc="lower right")
