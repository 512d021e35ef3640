"""What every result of an evaluation offers to reports, and the parts that it is made of."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.predictors import Floats
from oddsound_workbench.files import printable
from oddsound_workbench.learn.metrics import Bin

TEXT_WIDTH = 80
"""Characters in a line of a text report."""

PERCENT, THREE = "{:.1%}", "{:.3f}"
COLUMNS = {
    "accuracy": ("accuracy", PERCENT),
    "log_loss": ("log-loss", THREE),
    "brier": ("Brier score", THREE),
    "calibration_error": ("calibration error", THREE),
    "auc": ("AUC", THREE),
    "pauc": ("pAUC", THREE),
    "false_alarm_rate": ("false alarms", PERCENT),
    "detection_rate": ("detected", PERCENT),
}
"""Metrics that a table can show, with heading and format."""


@dataclass(frozen=True)
class KeyFigure:
    """One figure with its meaning."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row.

    has_plot : whether a chart shows the same, so that a page with plots does not need the table
    """

    head: list[str]
    rows: list[list[str]]
    title: str = ""
    has_plot: bool = False

    def lines(self) -> list[str]:
        """The table as text: the first column aligned left, the others right.

        The title is wrapped to TEXT_WIDTH; the columns are as wide as their cells.
        """
        cells = [self.head, *self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]
        title = [*textwrap.wrap(self.title, TEXT_WIDTH), ""] if self.title else []
        return title + [
            "  ".join(
                f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]


def metrics_table(rows: Sequence[tuple[str, dict[str, Any]]], columns: Sequence[str]) -> Table:
    """A named row of metrics each, with those of `columns` that the first row has."""
    shown = [column for column in columns if column in rows[0][1]]
    return Table(
        ["", *(COLUMNS[column][0] for column in shown)],
        [[name, *(COLUMNS[c][1].format(figures[c]) for c in shown)] for name, figures in rows],
    )


@dataclass(frozen=True)
class Mistake:
    """A recording with a wrong prediction.

    score : probability of the prediction in percent, or the mean anomaly score over all splits
    where : the fold that it was tested in, or how many of its scores are wrong
    """

    path: Path
    truth: str
    predicted: str
    score: str
    where: str

    @property
    def name(self) -> str:
        """Folder and file name."""
        return printable(Path(self.path.parent.name, self.path.name))

    def cells(self) -> list[str]:
        """Under the headings of `Summary.mistakes_head`."""
        return [self.name, self.truth, self.predicted, self.score, self.where]


@dataclass(frozen=True)
class Chart:
    """The data of a plot.

    text : what it shows, in one or two sentences
    """

    title: str
    text: str


@dataclass(frozen=True)
class ConfusionChart(Chart):
    """counts : recordings by class (rows) and by prediction (columns)"""

    classes: tuple[str, ...]
    counts: NDArray[np.intp]


@dataclass(frozen=True)
class ReliabilityChart(Chart):
    """bins : in increasing order of probability"""

    bins: list[Bin]


@dataclass(frozen=True)
class RocChart(Chart):
    """curves : by name, whether each recording is positive, and its score"""

    curves: dict[str, tuple[NDArray[np.bool_], Floats]]


@dataclass(frozen=True)
class ScoresChart(Chart):
    """Anomaly scores of normal and of anomalous recordings, 0..1."""

    normal: Floats
    anomaly: Floats
    threshold: float


@dataclass(frozen=True)
class Summary:
    """What a report shows of a result.

    key_figures : the most important first
    mistakes : wrong predictions, the most confident or most frequent first
    mistakes_head : headings for the cells of a mistake
    columns : keys of COLUMNS that a table of such results shows
    parts : summaries of the results that this one combines, by name; empty for a single result
    """

    key_figures: list[KeyFigure]
    tables: list[Table]
    charts: list[Chart]
    mistakes: list[Mistake]
    mistakes_head: tuple[str, ...]
    columns: tuple[str, ...]
    parts: dict[str, "Summary"] = field(default_factory=dict)


class Result(Protocol):
    """What an evaluation found."""

    def metrics(self) -> dict[str, Any]:
        """Every figure, for scripts."""
        ...

    def summary(self) -> Summary:
        """The same for people: figures, tables, charts and mistakes."""
        ...
