"""The plots of a report: one PNG of all charts, or one SVG for each chart."""

import io
import re
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from oddsound_workbench.learn.results import (
    Chart,
    ConfusionChart,
    ReliabilityChart,
    RocChart,
    ScoresChart,
)

INK = "#010101"
"""Placeholder for the page's text colour in an SVG, which differs between light and dark mode."""

TEXT_COLOURS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    # A dollar sign in the name of a class does not begin a formula.
    "text.parse_math": False,
}
SVG_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "savefig.transparent": True,
    **dict.fromkeys(TEXT_COLOURS, INK),
}
BLUES = LinearSegmentedColormap.from_list("blues", [(0.12, 0.47, 0.71, a) for a in (0.0, 0.9)])
MAX_LEGEND = 12


def png(title: str, charts: Sequence[Chart]) -> bytes:
    """Charts side by side, as a PNG image."""
    sizes = [_size(chart) for chart in charts]
    with mpl.rc_context(STYLE):
        width, height = sum(w for w, _ in sizes), max(h for _, h in sizes)
        figure = Figure(figsize=(width, height + 0.4), layout="constrained")
        for axes, chart in zip(
            figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True
        ):
            draw(chart, axes)
            axes.set_title(chart.title)
        figure.suptitle(title)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def svg(chart: Chart) -> str:
    """One chart as an SVG element in the page's colours, without scripts and links."""
    with mpl.rc_context(STYLE | SVG_STYLE):
        figure = Figure(figsize=_size(chart), layout="constrained")
        draw(chart, figure.subplots())
        return svg_element(figure)


def svg_element(figure: Figure) -> str:
    """A figure that was drawn with SVG_STYLE, as an SVG element."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    element = file.getvalue()
    element = element[element.index("<svg") :].replace(INK, "currentColor")
    # Every plot numbers its groups from 1, and ids must be unique in a page.
    return re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", element)


@singledispatch
def draw(chart: Chart, axes: Axes) -> None:
    """Draw a chart. Raises TypeError for an unknown kind of chart."""
    raise TypeError(f"no plot for a {type(chart).__name__}")


def _size(chart: Chart) -> tuple[float, float]:
    """Width and height in inches."""
    if not isinstance(chart, ConfusionChart):
        return 5.4, 4.4
    side = 2.4 + 0.32 * len(chart.classes)
    return max(5.4, side), max(4.4, side - 0.8)


@draw.register
def _confusion(chart: ConfusionChart, axes: Axes) -> None:
    ticks = range(len(chart.classes))
    # Vectors, because browsers blur the pixels of an image.
    edges = np.arange(len(ticks) + 1) - 0.5
    axes.pcolormesh(edges, edges, chart.counts, cmap=BLUES, vmin=0)
    axes.invert_yaxis()
    axes.set_xticks(ticks, chart.classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, chart.classes)
    axes.set(xlabel="predicted class", ylabel="class")
    for (row, column), count in np.ndenumerate(chart.counts):
        if count:
            colour = "white" if count > chart.counts.max() / 2 else mpl.rcParams["text.color"]
            axes.text(column, row, str(count), ha="center", va="center", color=colour)


@draw.register
def _reliability(chart: ReliabilityChart, axes: Axes) -> None:
    axes.bar(
        [b.low for b in chart.bins],
        [b.right for b in chart.bins],
        width=[0.94 * (b.high - b.low) for b in chart.bins],
        align="edge",
        color="tab:blue",
        alpha=0.35,
    )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    points = [(b.probability, b.right) for b in chart.bins]
    axes.plot(*zip(*points, strict=True), "o", color="tab:blue")
    for b in chart.bins:
        middle = (b.low + b.high) / 2
        axes.text(middle, b.right + 0.03, str(b.recordings), ha="center", fontsize="small")
    axes.set(xlabel="probability of the prediction", ylabel="share of correct predictions")
    axes.set(xlim=(0, 1), ylim=(0, 1.1), yticks=np.arange(0, 1.01, 0.2))


@draw.register
def _roc(chart: RocChart, axes: Axes) -> None:
    for name, (truth, scores) in chart.curves.items():
        false_alarms, detected, _ = roc_curve(truth, scores)
        axes.plot(false_alarms, detected, label=name, linewidth=1.5)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="false-alarm rate", ylabel="detection rate", xlim=(0, 1), ylim=(0, 1.01))
    if len(chart.curves) <= MAX_LEGEND:
        axes.legend(fontsize="small", loc="lower right")


@draw.register
def _scores(chart: ScoresChart, axes: Axes) -> None:
    bins = np.linspace(0, 1, 41).tolist()
    shares = {"normal, unseen": (chart.normal, "tab:blue"), "anomaly": (chart.anomaly, "tab:red")}
    for name, (scores, colour) in shares.items():
        if len(scores):
            weights = np.full(len(scores), 1 / len(scores))
            axes.hist(scores, bins, weights=weights, label=name, color=colour, alpha=0.6)
    text_colour = mpl.rcParams["text.color"]
    axes.axvline(chart.threshold, color=text_colour, linestyle="--", label="threshold")
    axes.set(xlabel="anomaly score", ylabel="share of scores", xlim=(0, 1))
    axes.legend(loc="upper center")
