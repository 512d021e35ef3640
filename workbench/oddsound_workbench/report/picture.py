"""One recording as a figure: waveform, mel spectrogram, score over time, events."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import librosa
import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from oddsound.schemas import Event, Prediction
from oddsound_workbench.report.overview import RANGE_DB, Overview
from oddsound_workbench.report.plots import STYLE, SVG_STYLE, svg_element
from oddsound_workbench.report.when import WHOLE, clock

WIDTH_IN = 8.6
HEIGHT_IN = {"waveform": 1.0, "spectrogram": 2.2, "score": 1.3, "classes": 1.3, "events": 0.25}
"""Height of each panel in inches; of events, for each kind."""

FREQUENCIES_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
STEP_DB = 2
MIN_TICK_GAP = 0.08
"""Distance of two labelled frequencies, as a share of the height."""

MIN_EVENT = 0.004
"""Shortest mark of an event, as a share of the recording: a knock in an hour stays visible."""

BLUE, RED = "tab:blue", "tab:red"
OTHER_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "IPAexGothic",
    "WenQuanYi Zen Hei",
    "Unifont",
)
"""Fonts for what DejaVu Sans does not have, used where they are installed."""


def image(overview: Overview, prediction: Prediction, title: str, kind: str) -> bytes:
    """The figure as a file of that kind: png, svg or pdf."""
    with _drawing():
        figure = draw(overview, prediction)
        figure.suptitle(title, fontsize=11)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=130)
    return file.getvalue()


def svg(overview: Overview, prediction: Prediction) -> str:
    """The figure as an SVG element in the page's colours, without a title."""
    with _drawing(SVG_STYLE):
        return svg_element(draw(overview, prediction))


@contextmanager
def _drawing(more: Any = MappingProxyType({})) -> Iterator[None]:
    """The style of these figures, with fonts for the names of recordings and classes."""
    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans", *(name for name in OTHER_FONTS if name in installed)]
    style = STYLE | {"font.size": 9, "font.family": fonts, "svg.fonttype": "none"} | dict(more)
    with mpl.rc_context(style), warnings.catch_warnings():
        # A name in a script without a font is no reason to fail or to write to the terminal.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def draw(overview: Overview, prediction: Prediction) -> Figure:
    """The panels below each other, with a common axis of time."""
    panels = {"waveform": HEIGHT_IN["waveform"], "spectrogram": HEIGHT_IN["spectrogram"]}
    if prediction.anomaly_score is not None:
        panels["score"] = HEIGHT_IN["score"]
    elif prediction.windows:
        panels["classes"] = HEIGHT_IN["classes"]
    kinds = sorted({event.kind for event in prediction.events or []})
    if kinds:
        panels["events"] = 0.25 + HEIGHT_IN["events"] * len(kinds)
    heights = list(panels.values())
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.35 * len(heights)), layout="constrained")
    grid = figure.subplots(len(panels), sharex=True, height_ratios=heights, squeeze=False)
    axes = dict(zip(panels, grid[:, 0], strict=True))
    _waveform(axes["waveform"], overview)
    _spectrogram(axes["spectrogram"], overview)
    if "score" in axes:
        _score(axes["score"], prediction)
    if "classes" in axes:
        _classes(axes["classes"], prediction)
    if "events" in axes:
        _events(axes["events"], prediction.events or [], kinds, prediction.duration_s)
    for each in list(axes.values())[:2]:
        _mark(each, prediction)
    _time_axis(grid[-1, 0], prediction.duration_s)
    figure.align_ylabels()
    return figure


def _waveform(axes: Axes, overview: Overview) -> None:
    edges = np.linspace(0, overview.duration_s, len(overview.low) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    axes.fill_between(middles, overview.low, overview.high, color=BLUE, linewidth=0.4)
    limit = float(max(np.abs(overview.low).max(), np.abs(overview.high).max())) or 1
    axes.set(ylim=(-1.05 * limit, 1.05 * limit), ylabel="waveform")
    axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))


def _spectrogram(axes: Axes, overview: Overview) -> None:
    # Fewer levels than an eye distinguishes make the image in an SVG half as large.
    levels = STEP_DB * np.round(overview.levels_db / STEP_DB)
    axes.imshow(
        levels,
        aspect="auto",
        origin="lower",
        extent=(0, overview.duration_s, 0, 1),
        cmap="magma",
        vmin=max(-RANGE_DB, float(np.percentile(levels, 2))),
        vmax=0,
        interpolation="none",
    )
    axes.set(ylabel="Hz", ylim=(0, 1))
    top = float(librosa.hz_to_mel(overview.top_hz))
    places: dict[float, str] = {}
    for hz in FREQUENCIES_HZ:
        place = float(librosa.hz_to_mel(hz)) / top
        if place <= 1 and all(place - other >= MIN_TICK_GAP for other in places):
            places[place] = f"{hz / 1000:g}k" if hz >= 1000 else f"{hz}"
    axes.set_yticks(list(places), list(places.values()))


def _score(axes: Axes, prediction: Prediction) -> None:
    """The score of each window, or of the whole recording, with the threshold."""
    windows = prediction.windows
    if windows:
        starts = [window.start_s for window in windows]
        scores = [window.anomaly_score or 0 for window in windows]
        axes.stairs(scores, [*starts, windows[-1].end_s], color=BLUE, baseline=None)
    else:
        starts, scores = [0.0], [prediction.anomaly_score or 0]
        axes.stairs(scores, [0, prediction.duration_s], color=BLUE, baseline=None)
    threshold = prediction.threshold
    if threshold is not None:
        ends = [*starts[1:], windows[-1].end_s if windows else prediction.duration_s]
        for start, end, score in zip(starts, ends, scores, strict=True):
            if score >= threshold:
                axes.fill_between([start, end], threshold, score, color=RED, alpha=0.5, linewidth=0)
        colour = mpl.rcParams["text.color"]
        axes.axhline(threshold, color=colour, linestyle="--", linewidth=1)
        axes.annotate(
            f"threshold {threshold:g}",
            (1, threshold),
            xycoords=("axes fraction", "data"),
            xytext=(-2, -3 if threshold > 0.25 else 3),
            textcoords="offset points",
            ha="right",
            va="top" if threshold > 0.25 else "bottom",
            fontsize="small",
        )
    axes.set(ylim=(0, 1.03), yticks=(0, 0.5, 1), ylabel="score")


def _classes(axes: Axes, prediction: Prediction) -> None:
    """The predicted class of each window."""
    windows = prediction.windows or []
    names = sorted({window.prediction for window in windows}, reverse=True)
    for window in windows:
        axes.hlines(names.index(window.prediction), window.start_s, window.end_s, BLUE, linewidth=4)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(-0.6, len(names) - 0.4), ylabel="class")


def _events(axes: Axes, events: Sequence[Event], kinds: Sequence[str], duration_s: float) -> None:
    """A row for each kind; the stronger an event is, the darker."""
    strongest = max(event.score for event in events)
    for event in events:
        row = len(kinds) - 1 - kinds.index(event.kind)
        start_s, length_s = _visible(event, duration_s)
        alpha = 0.35 + 0.65 * min(1.0, event.score / strongest)
        axes.broken_barh(
            [(start_s, length_s)], (row - 0.35, 0.7), color=RED, alpha=alpha, linewidth=0
        )
    axes.set_yticks(range(len(kinds)), list(reversed(kinds)))
    axes.set(ylim=(-0.6, len(kinds) - 0.4), ylabel="events")


def _mark(axes: Axes, prediction: Prediction) -> None:
    """Where the events are, without hiding what is there."""
    for event in prediction.events or []:
        start_s, length_s = _visible(event, prediction.duration_s)
        axes.axvspan(start_s, start_s + length_s, ymin=0.96, color=RED, alpha=0.9, linewidth=0)
        if length_s < WHOLE * prediction.duration_s:
            axes.axvspan(start_s, start_s + length_s, color=RED, alpha=0.15, linewidth=0)


def _visible(event: Event, duration_s: float) -> tuple[float, float]:
    """Start and length of the mark of an event."""
    length_s = max(event.end_s - event.start_s, MIN_EVENT * duration_s)
    middle = (event.start_s + event.end_s) / 2
    start_s = min(max(0.0, middle - length_s / 2), max(0.0, duration_s - length_s))
    return start_s, min(length_s, duration_s)


def _time_axis(axes: Axes, duration_s: float) -> None:
    axes.set(xlim=(0, duration_s), xlabel="time")
    steps = [1, 2, 2.5, 5, 10] if duration_s < 60 else [1, 1.5, 2, 3, 6, 10]
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, duration_s)))


def _tick(value: float, duration_s: float) -> str:
    if duration_s >= 60:
        return clock(value, duration_s)
    return f"{value:.3g} s"
