"""Predictions as a person reads them: a table, then events, explanations and failures."""

from collections.abc import Sequence
from pathlib import Path

from oddsound.schemas import (
    BandEvidence,
    ErrorBody,
    Event,
    Explanation,
    FeatureEvidence,
    Prediction,
)
from oddsound_workbench.cli.console import err, out
from oddsound_workbench.cli.tables import (
    Cell,
    Column,
    print_name,
    print_rows,
    print_sentence,
    shortened,
)
from oddsound_workbench.files import printable
from oddsound_workbench.report.when import exact_span, when

MAX_SHOWN_EVENTS = 5
"""Events of one recording that are shown."""

COLUMNS = (
    Column("recording"),
    Column("verdict"),
    Column("when"),
    Column("probability", number=True),
    Column("score", number=True),
    Column("duration", number=True),
    Column("took", number=True),
)
COLOURS = {None: "cyan", True: "red", False: "green"}
"""Of a verdict, by whether it is an anomaly."""

type Results = Sequence[tuple[Path, Prediction | ErrorBody]]
"""Recordings in the order given, each with its prediction or the reason that it has none."""


def print_predictions(results: Results) -> None:
    """Everything that a person needs to know about each recording."""
    print_rows(out, COLUMNS, [_cells(printable(file), result) for file, result in results])
    for file, result in results:
        if isinstance(result, Prediction) and result.events:
            _print_events(file, result.events, result.duration_s)
    for file, result in results:
        if isinstance(result, Prediction) and result.explanation:
            _print_explanation(file, result.explanation, result.duration_s)
    for file, result in results:
        if isinstance(result, ErrorBody):
            text = f"{_name(file)}: {result.detail} ({result.error})"
            print_sentence(err, text, searched=True)
    scored = [result for _, result in results if isinstance(result, Prediction)]
    if len(results) > 1:
        anomalies = sum(bool(result.is_anomaly) for result in scored)
        noun = "anomaly" if anomalies == 1 else "anomalies"
        out.print(f"{len(scored)} of {len(results)} scored, {anomalies} {noun}", highlight=False)


def print_warnings(results: Results) -> None:
    """What the recorders did; recordings with the same warning share a line."""
    files: dict[str, list[Path]] = {}
    for file, result in results:
        if isinstance(result, Prediction) and result.signal:
            for text in result.signal.warnings:
                files.setdefault(text, []).append(file)
    for text, named in files.items():
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        print_sentence(err, f"{_name(named[0])}{more}: {text}", head="Warning: ")


def print_label_files(written: Sequence[Path]) -> None:
    """Where the files of --labels are."""
    if len(written) == 1:
        print_sentence(out, f"Label file: {printable(written[0])}", searched=True)
    elif written:
        text = f"{len(written)} label files, such as {printable(written[0])}"
        print_sentence(out, text, searched=True)


def _cells(name: str, result: Prediction | ErrorBody) -> list[Cell]:
    """The values under the headings of COLUMNS."""
    if isinstance(result, ErrorBody):
        return [Cell(name), Cell("failed", "red"), *[Cell("")] * 5]
    score = result.anomaly_score
    # Of two classes, the score says the same.
    only_score = score is not None and len(result.all_probabilities) == 2
    return [
        Cell(name),
        Cell(result.prediction, COLOURS[result.is_anomaly]),
        Cell(when(result)),
        Cell("" if only_score else f"{result.probability:.3f}"),
        Cell("" if score is None else f"{score:.3f}"),
        Cell(f"{result.duration_s:.1f} s"),
        Cell(f"{result.latency_ms:.0f} ms"),
    ]


def _name(file: Path) -> str:
    """The name for the start of a sentence: at most half a line."""
    return shortened(printable(file), err.width // 2 if err.is_terminal else None)


def _print_events(file: Path, events: Sequence[Event], duration_s: float) -> None:
    """One line for each of the strongest events, by time."""
    out.print()
    print_name(out, printable(file))
    strongest = sorted(events, key=lambda event: -event.score)[:MAX_SHOWN_EVENTS]
    strongest.sort(key=lambda event: event.start_s)
    heads = [exact_span(event.start_s, event.end_s, duration_s) for event in strongest]
    width = max(map(len, heads))
    for event, head in zip(strongest, heads, strict=True):
        indent = " " * (2 + width + 2)
        print_sentence(out, event.says, head=f"  {head:>{width}}  ", indent=indent)
    if len(events) > len(strongest):
        more = len(events) - len(strongest)
        print_sentence(out, f"  {more} more with smaller scores; --json shows them")


def _print_explanation(file: Path, explanation: Explanation, duration_s: float) -> None:
    """One line for each band and feature, with its deviation in standard deviations (sd)."""
    window = explanation.window
    out.print()
    where = f", {exact_span(window.start_s, window.end_s, duration_s)}" if window else ""
    print_name(out, printable(file), where)
    evidence: list[BandEvidence | FeatureEvidence] = [*explanation.bands, *explanation.features]
    if not evidence:
        print_sentence(out, f"  {explanation.summary}")
    for each in evidence:
        head = f"{each.deviation:+7.1f} sd  "
        print_sentence(out, each.says, head=head, indent=" " * len(head))
