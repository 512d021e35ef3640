"""`oddsound compare`: two versions of a model, or two models, judge the same recordings."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddsound import pipeline
from oddsound.errors import AudioAnomalyError
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.schemas import Prediction
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable

SHOWN_LIMIT = 1.1
"""Scores are drawn up to a little more than their maximum."""


@dataclass(frozen=True)
class Judged:
    """What a model says about a recording; score is None for a model without a normal class."""

    prediction: str
    probability: float
    anomaly_score: float | None
    is_anomaly: bool | None

    @classmethod
    def of(cls, found: Prediction) -> "Judged":
        return cls(found.prediction, found.probability, found.anomaly_score, found.is_anomaly)

    @property
    def side(self) -> str:
        """What the recording counts as: anomaly or normal; the class if there is no normal one."""
        if self.is_anomaly is None:
            return self.prediction
        return "anomaly" if self.is_anomaly else "normal"


@dataclass(frozen=True)
class Row:
    """One recording. error : why it could not be scored, or None; then both are given"""

    file: Path
    first: Judged | None
    second: Judged | None
    error: str | None = None

    @property
    def changed(self) -> bool:
        """Whether the recording is on another side."""
        return bool(self.first and self.second and self.first.side != self.second.side)


def parse(text: str) -> tuple[str, str | None]:
    """Name and version of NAME@VERSION; the version is None for the current one."""
    name, at, version = text.partition("@")
    if not name or (at and not version):
        raise FolderError(
            f"{text!r} names no model; use NAME, NAME@VERSION or NAME@previous, as"
            " `oddsound versions NAME` lists them"
        )
    return name, version or None


def compare(
    first: Model,
    second: Model,
    files: Sequence[Path],
    limits: AudioLimits,
    advance: Callable[[], Any] = lambda: None,
) -> list[Row]:
    """Both models judge every recording; one that cannot be scored has an error instead."""
    rows = []
    for file in files:
        try:
            one, other = (pipeline.predict(file, each, limits) for each in (first, second))
            rows.append(Row(file, Judged.of(one), Judged.of(other)))
        except (AudioAnomalyError, OSError) as error:
            text = (error.strerror if isinstance(error, OSError) else None) or str(error)
            rows.append(Row(file, None, None, text))
        advance()
    return rows


def summary(rows: Sequence[Row]) -> str:
    """How many recordings changed sides, and in which direction."""
    scored = [row for row in rows if row.error is None]
    changed = [row for row in scored if row.changed]
    text = f"{len(scored)} of {len(rows)} recordings scored, {len(changed)} changed sides"
    counts: dict[str, int] = {}
    for row in changed:
        if row.first and row.second:
            step = f"{row.first.side} to {row.second.side}"
            counts[step] = counts.get(step, 0) + 1
    steps = ", ".join(f"{count} from {step}" for step, count in sorted(counts.items()))
    return f"{text}: {steps}" if steps else text


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A JSON object for each recording."""
    found = []
    for row in rows:
        entry: dict[str, Any] = {"file": printable(row.file), "changed": row.changed}
        if row.error is not None:
            entry["error"] = row.error
        for name, judged in (("first", row.first), ("second", row.second)):
            entry[name] = None if judged is None else vars(judged)
        found.append(entry)
    return found


def plot(rows: Sequence[Row], first: str, second: str, thresholds: Sequence[float | None]) -> bytes:
    """The scores of both models, a dot for each recording, as a PNG image.

    first, second : names of the axes; thresholds : of both models, None if there is none
    Raises FolderError if the models give no anomaly scores.
    """
    from matplotlib.figure import Figure

    pairs = [
        (row.first.anomaly_score, row.second.anomaly_score, row.changed)
        for row in rows
        if row.first and row.second
    ]
    known = [(x, y, changed) for x, y, changed in pairs if x is not None and y is not None]
    if not known:
        raise FolderError("there are no anomaly scores to plot: the models have no normal class")
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.subplots()
    for changed, colour, text in ((False, "tab:blue", "same side"), (True, "tab:red", "changed")):
        dots = [(x, y) for x, y, each in known if each == changed]
        if dots:
            xs, ys = zip(*dots, strict=True)
            axes.scatter(xs, ys, s=22, color=colour, alpha=0.7, label=f"{text} ({len(dots)})")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
    for threshold, draw in zip(thresholds, (axes.axvline, axes.axhline), strict=True):
        if threshold is not None:
            draw(threshold, color="0.4", linewidth=1, linestyle="--", zorder=0)
    axes.set(xlim=(-0.05, SHOWN_LIMIT), ylim=(-0.05, SHOWN_LIMIT))
    axes.set_xlabel(f"anomaly score, {first}", parse_math=False)
    axes.set_ylabel(f"anomaly score, {second}", parse_math=False)
    axes.legend(loc="upper left")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
