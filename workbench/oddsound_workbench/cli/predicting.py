"""`oddsound predict` and `oddsound models`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from oddsound.errors import AudioAnomalyError
from oddsound.schemas import (
    BandEvidence,
    ErrorBody,
    Event,
    Explanation,
    FeatureEvidence,
    Prediction,
)
from oddsound_workbench.cli.console import (
    ANOMALY_FOUND,
    SOME_FAILED,
    Json,
    Models,
    configure,
    err,
    out,
    print_json,
    progress_bars,
    reported_errors,
)
from oddsound_workbench.files import printable

MAX_SHOWN_EVENTS = 5
"""Events of one recording that are shown."""

METRIC_NAMES = {
    "auc": "AUC",
    "pauc": "pAUC",
    "log_loss": "log-loss",
    "false_alarm_rate": "false alarms",
    "detection_rate": "detected",
}
"""Keys of metrics in models.json -> the name in the list of models, if it is another one."""

MORE_RECORDINGS = "more_recordings_to_halve_interval"

type Results = Sequence[tuple[Path, Prediction | ErrorBody]]
"""Recordings in the order given, each with its prediction or the reason that it has none."""


def predict(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name of the model. [default: DEFAULT_MODEL_NAME]")
    ] = None,
    models: Models = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show the features and bands that led to each verdict."),
    ] = False,
    fail_on_anomaly: Annotated[
        bool, typer.Option("--fail-on-anomaly", help="Exit with 10 if there is an anomaly.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score recordings, or every recording below a folder."""
    from oddsound import pipeline, runtime
    from oddsound_workbench.learn.recordings import expand

    with reported_errors(as_json):
        files = [
            file for path in recordings for file in (expand([path]) if path.exists() else [path])
        ]
        configure(models)
        loaded = runtime.registry().get(model)
        limits = runtime.limits()
    results: list[tuple[Path, Prediction | ErrorBody]] = []
    with progress_bars(show=len(files) > 1 and not as_json) as progress:
        advance = progress("Scoring", len(files))
        for file in files:
            try:
                prediction = pipeline.predict(file, loaded, limits, explain=explain)
                results.append((file, prediction))
            except (AudioAnomalyError, OSError) as error:
                detail = error.strerror if isinstance(error, OSError) else None
                body = ErrorBody(error=type(error).__name__, detail=detail or str(error))
                results.append((file, body))
            advance()
    if as_json:
        print_json([{"file": printable(file), **result.model_dump()} for file, result in results])
    else:
        _print_predictions(results)
        _print_warnings(results)
    if any(isinstance(result, ErrorBody) for _, result in results):
        raise typer.Exit(SOME_FAILED)
    if fail_on_anomaly and any(isinstance(r, Prediction) and r.is_anomaly for _, r in results):
        raise typer.Exit(ANOMALY_FOUND)


def list_models(models: Models = None, as_json: Json = False) -> None:
    """List the models."""
    from oddsound import runtime

    with reported_errors(as_json):
        configure(models)
        listed = runtime.registry().describe()
    if as_json:
        return print_json(listed.model_dump())
    table = Table("model", "version", "classes", "Hz", "threshold")
    table.add_column("metrics", overflow="fold")
    table.add_column("description")
    for info in listed.models:
        default = " (default)" if info.name == listed.default else ""
        classes = ", ".join(info.classes) if info.classes else "known after loading"
        metrics = "\n".join(_metric_lines(info.metrics))
        threshold = "" if info.threshold is None else f"{info.threshold:g}"
        table.add_row(
            *map(escape, (info.name + default, info.version, classes)),
            *(str(info.sample_rate), threshold, metrics),
            escape(info.description),
        )
    out.print(table)
    for info in listed.models:
        if sentence := _certainty(info.metrics):
            out.print(f"{info.name}: {sentence}", highlight=False, markup=False)
    return None


def _metric_lines(metrics: dict[str, Any]) -> list[str]:
    """Each figure of an entry, with its interval if it has one."""
    lines = []
    for key, value in metrics.items():
        if isinstance(value, float):
            limits = _interval(metrics, key)
            shown = "" if limits is None else f" ({limits[0]:.2g} to {limits[1]:.2g})"
            lines.append(f"{METRIC_NAMES.get(key, key)} {value:.4g}{shown}")
    return lines


def _certainty(metrics: dict[str, Any]) -> str | None:
    """How certain the rate of false alarms is; None for entries that do not say it."""
    limits = _interval(metrics, "false_alarm_rate")
    count, more = (metrics.get(key) for key in ("normal_recordings", MORE_RECORDINGS))
    if limits is None or not isinstance(count, int) or not isinstance(more, int):
        return None
    return (
        f"with {count} normal recordings, the rate of false alarms may be anything from"
        f" {100 * limits[0]:.0f} to {100 * limits[1]:.0f}%. With {more} more, this interval would"
        " be half as wide."
    )


def _interval(metrics: dict[str, Any], key: str) -> tuple[float, float] | None:
    """The ends of an interval in models.json, where anything may be written."""
    interval = metrics.get(f"{key}_interval")
    if not isinstance(interval, dict):
        return None
    low, high = interval.get("low"), interval.get("high")
    return (low, high) if isinstance(low, int | float) and isinstance(high, int | float) else None


def _print_predictions(results: Results) -> None:
    table = Table(
        Column("recording", overflow="fold"), Column("verdict", overflow="fold"), "probability"
    )
    for heading in ("anomaly score", "duration", "took"):
        table.add_column(heading, justify="right")
    for file, result in results:
        if isinstance(result, ErrorBody):
            table.add_row(escape(printable(file)), f"[red]{result.error}[/red]", "", "", "", "")
            continue
        colour = {None: "cyan", True: "red", False: "green"}[result.is_anomaly]
        score = "" if result.anomaly_score is None else f"{result.anomaly_score:.3f}"
        table.add_row(
            escape(printable(file)),
            f"[{colour}]{escape(result.prediction)}[/{colour}]",
            *(f"{result.probability:.3f}", score),
            *(f"{result.duration_s:.1f} s", f"{result.latency_ms:.0f} ms"),
        )
    out.print(table)
    for file, result in results:
        if isinstance(result, Prediction) and result.events:
            _print_events(file, result.events)
    for file, result in results:
        if isinstance(result, Prediction) and result.explanation:
            _print_explanation(file, result.explanation)
    for file, result in results:
        if isinstance(result, ErrorBody):
            err.print(
                f"{printable(file)}: {result.detail}", highlight=False, markup=False, soft_wrap=True
            )
    scored = [result for _, result in results if isinstance(result, Prediction)]
    if len(results) > 1:
        anomalies = sum(bool(result.is_anomaly) for result in scored)
        noun = "anomaly" if anomalies == 1 else "anomalies"
        out.print(f"{len(scored)} of {len(results)} scored, {anomalies} {noun}", highlight=False)


def _print_warnings(results: Results) -> None:
    """What the recorders did; recordings with the same warning share a line."""
    files: dict[str, list[Path]] = {}
    for file, result in results:
        if isinstance(result, Prediction) and result.signal:
            for text in result.signal.warnings:
                files.setdefault(text, []).append(file)
    for text, named in files.items():
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        err.print(f"Warning: {printable(named[0])}{more}: {text}", highlight=False, markup=False)


def _print_events(file: Path, events: Sequence[Event]) -> None:
    """One line for each of the strongest events, by time."""
    out.print(f"\n[bold]{escape(str(file))}[/bold]", highlight=False, soft_wrap=True)
    strongest = sorted(events, key=lambda event: -event.score)[:MAX_SHOWN_EVENTS]
    table = Table.grid(Column(justify="right"), "", padding=(0, 2))
    for event in sorted(strongest, key=lambda event: event.start_s):
        table.add_row(f"  {event.start_s:.2f} to {event.end_s:.2f} s", escape(event.says))
    out.print(table, highlight=False)
    if len(events) > len(strongest):
        more = len(events) - len(strongest)
        out.print(f"  {more} more with smaller scores; --json shows them", highlight=False)


def _print_explanation(file: Path, explanation: Explanation) -> None:
    """One line for each band and feature, with its deviation in standard deviations (sd)."""
    window = explanation.window
    where = f", {window.start_s:.1f} to {window.end_s:.1f} s" if window else ""
    out.print(f"\n[bold]{escape(printable(file))}[/bold]{where}", highlight=False, soft_wrap=True)
    evidence: list[BandEvidence | FeatureEvidence] = [*explanation.bands, *explanation.features]
    if not evidence:
        out.print(f"  {explanation.summary}", highlight=False, markup=False, soft_wrap=True)
    for each in evidence:
        line = f"{each.deviation:+7.1f} sd  {each.says}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
