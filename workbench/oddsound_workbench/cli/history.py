"""`oddsound history`: the scored recordings of a machine, as a table, CSV or JSON."""

import csv
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Annotated, Any

import typer

from oddsound import strict_json
from oddsound.machines.records import HistoryRow
from oddsound.machines.wording import strongest_event
from oddsound_workbench.cli.console import Json, out, reported_errors
from oddsound_workbench.cli.machines import History, MachineArgument, open_history
from oddsound_workbench.cli.tables import Cell, Column, print_rows
from oddsound_workbench.files import as_text

LIMIT = 20

AS_THEY_ARE = (
    *("recorded_at", "machine", "key", "prediction", "is_anomaly", "score", "level", "threshold"),
    *("model_name", "model_version", "duration_s", "source", "bucket", "scored_at", "id"),
)
"""Fields of a row that are columns of the CSV file."""

COLUMNS = (
    *AS_THEY_ARE,
    *(
        "review",
        "review_note",
        "review_person",
        "reviewed_at",
        "event_start_s",
        "event",
        "warnings",
    ),
)

After = Annotated[
    datetime | None, typer.Option(help="Recorded after this time, in UTC.", show_default=False)
]
Before = Annotated[
    datetime | None, typer.Option(help="Recorded before this time, in UTC.", show_default=False)
]


def show_history(
    machine_id: MachineArgument,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"The newest so many. [default: {LIMIT} in a table, else all]"),
    ] = None,
    after: After = None,
    before: Before = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    history: History = None,
    as_json: Json = False,
) -> None:
    """List the scored recordings of a machine, newest first."""
    if as_csv and as_json:
        raise typer.BadParameter("give either --csv or --json")
    if limit is None and not (as_csv or as_json):
        limit = LIMIT
    with reported_errors(as_json):
        times = [at and at.replace(tzinfo=at.tzinfo or UTC) for at in (after, before)]
        found = islice(open_history(history).rows(machine_id, *times), limit)
        # An unknown machine is an error before anything is printed.
        rows = chain(list(islice(found, 1)), found)
        if as_csv:
            _print_csv(rows)
        elif as_json:
            _print_json(machine_id, rows)
        else:
            _print_table(list(rows))


def _print_table(rows: list[HistoryRow]) -> None:
    headings = ("recording", "recorded", "verdict", "score", "event at", "review")
    columns = [Column(heading, number=heading in ("score", "event at")) for heading in headings]
    print_rows(out, columns, [[Cell(text) for text in _texts(row)] for row in rows])


def _texts(row: HistoryRow) -> list[str]:
    event = strongest_event(row)
    return [
        row.key,
        f"{row.recorded_at:%Y-%m-%d %H:%M} UTC",
        row.prediction,
        "" if row.score is None else f"{row.score:.3f}",
        f"{event.start_s:.1f} s" if event else "",
        row.review.label if row.review else "",
    ]


def _print_csv(rows: Iterator[HistoryRow]) -> None:
    """One line for each row, as it is read: an export needs no more memory than a page."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_without_formulas(_cells(row)) for row in rows)
    sys.stdout.flush()


def _without_formulas(cells: dict[str, Any]) -> dict[str, Any]:
    """The cells with an apostrophe before texts that a spreadsheet would compute."""
    return {
        name: as_text(value) if isinstance(value, str) else value for name, value in cells.items()
    }


def _cells(row: HistoryRow) -> dict[str, Any]:
    fields = row.model_dump(mode="json", exclude={"profile"})
    review, event = fields["review"] or {}, strongest_event(row)
    return {
        **{name: fields[name] for name in AS_THEY_ARE},
        "review": review.get("label"),
        "review_note": review.get("note"),
        "review_person": review.get("person"),
        "reviewed_at": review.get("at"),
        "event_start_s": event and event.start_s,
        "event": event and event.says,
        "warnings": "; ".join(row.warnings),
    }


def _print_json(machine_id: str, rows: Iterator[HistoryRow]) -> None:
    """An object with the list of all rows, one in each line, written as they are read."""
    write = sys.stdout.write
    write(f'{{"machine": {json.dumps(machine_id, ensure_ascii=False)}, "rows": [')
    for number, row in enumerate(rows):
        text = strict_json.printable(row.model_dump_json().encode()).decode()
        write(f"{',' if number else ''}\n{text}")
    write("\n]}\n")
    sys.stdout.flush()
