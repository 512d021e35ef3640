"""`oddsound backfill`."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from oddsound_workbench.cli.console import (
    SOME_FAILED,
    Json,
    aws_errors,
    bar,
    err,
    out,
    print_json,
    reported_errors,
    stopped_by_signals,
)
from oddsound_workbench.cli.tables import Cell, print_facts
from oddsound_workbench.files import harmless

if TYPE_CHECKING:
    from oddsound_workbench.deploy.backfill import Backfills, Summary

DEFAULT_STACK = "audio-anomaly-dev"


def backfill(
    prefix: Annotated[
        str | None,
        typer.Option(help="Beginning of the keys, such as hall-3/pump-07/.", show_default=False),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(help="Bucket of the recordings. [default: the input bucket]")
    ] = None,
    stack: Annotated[str, typer.Option(help="Name of the stack.")] = DEFAULT_STACK,
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most objects that are scored at once.")
    ] = 10,
    tolerate: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Percentage of objects that may fail before the rest is given up."
        ),
    ] = 5,
    follow: Annotated[
        str | None,
        typer.Option(metavar="ARN", help="Follow this execution instead of starting a new one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every object under a prefix of a bucket, by the stack's functions.

    Recordings that have a result are not scored again. Ctrl-C ends the command, not the execution.
    """
    if (prefix is None) == (follow is None):
        raise typer.BadParameter("name either --prefix or --follow; --prefix '' is every object")
    with reported_errors(as_json), stopped_by_signals() as stopped, aws_errors(stack):
        backfills = _backfills(stack)
        execution = follow or backfills.start(prefix or "", bucket, concurrency, tolerate)
        if not as_json:
            err.print(execution, markup=False, highlight=False, soft_wrap=True)
        with bar(show=not as_json) as progress:
            task = progress.add_task("recordings", total=None)
            for at in backfills.follow(execution, stopped):
                progress.update(task, total=at.total, completed=at.done)
        if stopped.is_set():
            message = f"It continues. To follow it again: oddsound backfill --follow {execution}"
            err.print(message, markup=False, highlight=False, soft_wrap=True)
            return
        summary = backfills.summary(execution)
    if as_json:
        print_json(dataclasses.asdict(summary) | {"complete": summary.complete})
    else:
        _print(summary)
    if not summary.complete:
        raise typer.Exit(SOME_FAILED)


def _backfills(stack: str) -> "Backfills":
    import boto3

    from oddsound_workbench.deploy.backfill import Backfills

    clients = (boto3.client(name) for name in ("cloudformation", "stepfunctions", "s3"))
    return Backfills(stack, *clients)


def _print(summary: "Summary") -> None:
    unfinished = summary.unfinished
    reasons = ", ".join(f"{name} {count:,}" for name, count in summary.unreadable.items())
    facts = [
        ("objects", f"{summary.objects:,}"),
        ("scored", f"{summary.scored:,}, of which {summary.anomalies:,} are anomalies"),
        ("failed", reasons),
        ("no recordings", f"{summary.skipped:,}" if summary.skipped else ""),
        ("not finished", f"{unfinished:,}; the same command scores them" if unfinished else ""),
        ("because of", ", ".join(f"{name} {count:,}" for name, count in summary.reasons.items())),
        ("stopped", summary.stopped_because or ""),
    ]
    print_facts(out, [(name, Cell(harmless(text))) for name, text in facts if text])
    if summary.outcomes:  # whole, to be copied
        out.print(f"Outcomes: {summary.outcomes}", markup=False, highlight=False, soft_wrap=True)
