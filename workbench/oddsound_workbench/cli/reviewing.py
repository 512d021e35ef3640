"""`oddsound review`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from oddsound.machines.records import HistoryRow, ReviewLabel
from oddsound_workbench.cli.console import Json, out, print_json, reported_errors
from oddsound_workbench.cli.machines import History, open_history
from oddsound_workbench.files import decoded, harmless


def review(
    recording: Annotated[
        str,
        typer.Argument(metavar="KEY|FILE", help="The key of a row, or a file.", show_default=False),
    ],
    label: Annotated[ReviewLabel, typer.Option(help="What it is.", show_default=False)],
    note: Annotated[str, typer.Option(help="What else there is to say.")] = "",
    person: Annotated[str, typer.Option(help="Who says so.")] = "",
    recorded_at: Annotated[
        datetime | None,
        typer.Option(help="For a key with several recordings. [default: the newest]"),
    ] = None,
    history: History = None,
    as_json: Json = False,
) -> None:
    """Say what a recording of the history is: normal, a fault of the machine, or unusable."""
    at = recorded_at and recorded_at.replace(tzinfo=UTC)
    path = Path(recording)
    key = decoded(path.resolve()) if path.is_file() else recording
    with reported_errors(as_json):
        row: HistoryRow = open_history(history).review(key, label, person, note, at)
    if as_json:
        return print_json(row.model_dump(mode="json"))
    machine = row.machine or "no machine"
    text = f"{machine}, {row.recorded_at:%Y-%m-%d %H:%M} UTC: {label}, scored as {row.prediction}"
    out.print(harmless(text), markup=False, highlight=False, soft_wrap=True)
    return None
