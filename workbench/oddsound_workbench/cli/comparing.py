"""`oddsound compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from oddsound_workbench.cli.console import (
    SOME_FAILED,
    Json,
    err,
    out,
    print_json,
    progress_bars,
    reported_errors,
)
from oddsound_workbench.cli.versioning import ModelsLocation, models_location
from oddsound_workbench.files import printable, replace_file

if TYPE_CHECKING:
    from oddsound_workbench.comparing import Judged, Row

Model = Annotated[
    str,
    typer.Argument(metavar="NAME[@VERSION]", help="A model, or a version of it: fan@previous."),
]


def compare(
    first: Model,
    second: Model,
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders of them.", show_default=False)
    ],
    plot: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Also draw the scores of both, to this PNG file."),
    ] = None,
    models: ModelsLocation = None,
    as_json: Json = False,
) -> None:
    """Let two versions of a model judge the same recordings, and say which changed sides."""
    from oddsound import runtime
    from oddsound_workbench import comparing
    from oddsound_workbench.learn.recordings import expand
    from oddsound_workbench.model_versions import Versions

    with reported_errors(as_json):
        files = expand(recordings)
        versions = Versions(models_location(models))
        both = [versions.load(*comparing.parse(each)) for each in (first, second)]
    with progress_bars(show=len(files) > 1 and not as_json) as progress:
        advance = progress("Scoring", len(files))
        rows = comparing.compare(both[0], both[1], files, runtime.limits(), advance)
    names = [f"{model.name} {model.version}" for model in both]
    if plot is not None:
        with reported_errors(as_json):
            thresholds = [model.predictor.threshold for model in both]
            replace_file(plot, comparing.plot(rows, names[0], names[1], thresholds))
    if as_json:
        print_json({"first": names[0], "second": names[1], "recordings": comparing.as_json(rows)})
    else:
        _print(rows, names)
        out.print(comparing.summary(rows), highlight=False, markup=False)
    if any(row.error for row in rows):
        raise typer.Exit(SOME_FAILED)


def _print(rows: Sequence["Row"], names: Sequence[str]) -> None:
    table = Table(Column("recording", overflow="fold"), *map(escape, names), "changed")
    for row in rows:
        if row.first and row.second:
            changed = "[bold]yes[/bold]" if row.changed else ""
            table.add_row(escape(printable(row.file)), _cell(row.first), _cell(row.second), changed)
    out.print(table)
    for row in rows:
        if row.error:
            text = f"{printable(row.file)}: {row.error}"
            err.print(text, highlight=False, markup=False, soft_wrap=True)


def _cell(judged: "Judged") -> str:
    """Verdict with its anomaly score, or with its probability if there is no score."""
    score = judged.probability if judged.anomaly_score is None else judged.anomaly_score
    colour = {None: "cyan", True: "red", False: "green"}[judged.is_anomaly]
    return f"[{colour}]{escape(judged.prediction)}[/{colour}] {score:.3f}"
