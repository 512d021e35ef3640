"""`oddsound machines`: add machines, and list them with their states."""

import csv
import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from oddsound import strict_json
from oddsound.machines.records import Machine, MachineInfo
from oddsound_workbench.cli.console import Json, out, print_json, reported_errors
from oddsound_workbench.cli.tables import Cell, Column, print_rows
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import harmless as printable_text

if TYPE_CHECKING:
    from oddsound.machines.ledger import Ledger

DEFAULT_HISTORY = Path("oddsound-data") / "history.sqlite"
"""Where `oddsound serve` keeps the history of one computer."""

History = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|dynamodb:TABLE",
        help=f"Where the history is. [default: HISTORY, or {DEFAULT_HISTORY}]",
    ),
]

MachineArgument = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Person = Annotated[str, typer.Option(help="Who says so.", show_default=False)]
Note = Annotated[str, typer.Option(help="What else there is to say.")]

machines = typer.Typer(no_args_is_help=True, help="Add machines, and list them with their states.")


def open_history(history: str | None) -> "Ledger":
    """The history that the option, the environment or the default names."""
    from oddsound import runtime

    if history is not None:
        os.environ["HISTORY"] = history
        runtime.clear()
    else:
        use_by_default(DEFAULT_HISTORY)
    return runtime.required_history()


def use_by_default(path: Path) -> None:
    """Make the runtime use this file if the environment names no history."""
    from oddsound import runtime

    if runtime.settings().history is None:
        os.environ["HISTORY"] = str(path)
        runtime.clear()


@machines.command("add")
def add(
    machine_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A path such as hall-3/pump-07.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Add all machines of a JSON file (a list) or of a CSV file (with a header).",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    site: Annotated[str, typer.Option(help="Where the machine is.")] = "",
    model: Annotated[
        str | None, typer.Option(help="Model that scores its recordings. [default: none yet]")
    ] = None,
    expected_every: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds between two recordings.")
    ] = None,
    alarm: Annotated[
        str, typer.Option(metavar="N/M", help="Alarm after N anomalies in M recordings.")
    ] = "2/3",
    history: History = None,
    as_json: Json = False,
) -> None:
    """Add a machine, or all machines of a file; a known id is replaced."""
    if (machine_id is None) == (file is None):
        raise typer.BadParameter("give either the id of a machine or --file")
    with reported_errors(as_json):
        if file is not None:
            wanted = machines_of_file(file)
        else:
            n, of = _alarm(alarm)
            fields = {
                **{"id": machine_id, "name": name, "site": site, "model_name": model},
                **{"expected_every_s": expected_every, "alarm": {"n": n, "of": of}},
            }
            wanted = [_machine(fields, "the options")]
        ledger = open_history(history)
        added = [machine.id for machine in wanted if ledger.register(machine)]
    replaced = [machine.id for machine in wanted if machine.id not in added]
    if as_json:
        return print_json({"added": added, "replaced": replaced})
    for verb, ids in (("Added", added), ("Replaced", replaced)):
        if ids:
            out.print(f"{verb}: {', '.join(ids)}", highlight=False, markup=False, soft_wrap=True)
    return None


@machines.command("list")
def list_machines(history: History = None, as_json: Json = False) -> None:
    """List the machines with their states."""
    with reported_errors(as_json):
        ledger = open_history(history)
        found: list[MachineInfo] = []
        after: str | None = None
        while True:
            page = ledger.machines(1000, after)
            found += page.machines
            if (after := page.next) is None:
                break
    if as_json:
        return print_json({"machines": [info.model_dump(mode="json") for info in found]})
    headings = ("machine", "site", "model", "state", "drift", "last recording")
    rows = []
    for info in found:
        last = info.last_recorded_at
        recorded = f"{last:%Y-%m-%d %H:%M} UTC" if last else "none"
        drifting = info.drift.kind if info.drift and not info.drift_explained else ""
        values = (info.id, info.site, info.model_name or "none yet", info.state, drifting, recorded)
        rows.append([Cell(value) for value in values])
    print_rows(out, [Column(heading) for heading in headings], rows)
    return None


@machines.command("acknowledge")
def acknowledge(
    machine_id: MachineArgument,
    person: Person,
    note: Note = "",
    history: History = None,
    as_json: Json = False,
) -> None:
    """Say that a person has seen the alarm of a machine."""
    with reported_errors(as_json):
        _print_state(open_history(history).acknowledge(machine_id, person, note), as_json)


@machines.command("clear")
def clear(
    machine_id: MachineArgument,
    person: Person,
    note: Note = "",
    history: History = None,
    as_json: Json = False,
) -> None:
    """End the alarm of a machine, for example after a repair."""
    with reported_errors(as_json):
        _print_state(open_history(history).clear(machine_id, person, note), as_json)


@machines.command("snooze")
def snooze(
    machine_id: MachineArgument,
    person: Person,
    hours: Annotated[
        float, typer.Option(min=0, max=24 * 366, help="Hours from now; 0 ends a snooze.")
    ],
    note: Note = "",
    history: History = None,
    as_json: Json = False,
) -> None:
    """Hear nothing about a machine for some time."""
    until = datetime.now(UTC) + timedelta(hours=hours)
    with reported_errors(as_json):
        _print_state(open_history(history).snooze(machine_id, until, person, note), as_json)


@machines.command("events")
def events(
    machine_id: MachineArgument,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    history: History = None,
    as_json: Json = False,
) -> None:
    """List the changes of a machine's state, newest first."""
    with reported_errors(as_json):
        page = open_history(history).events(machine_id, limit)
    if as_json:
        return print_json(page.model_dump(mode="json"))
    for event in page.events:
        said = f" {event.person}: {event.note}" if event.note else f" {event.person}".rstrip()
        text = f"{event.at:%Y-%m-%d %H:%M} UTC  {event.state}  {event.why}{said}"
        out.print(printable_text(text), highlight=False, markup=False, soft_wrap=True)
    return None


@machines.command("drift")
def drift(machine_id: MachineArgument, history: History = None, as_json: Json = False) -> None:
    """Say how the recent recordings of a machine differ from the training recordings."""
    with reported_errors(as_json):
        found = open_history(history).drift(machine_id)
    if as_json:
        return print_json(found.model_dump(mode="json"))
    out.print(printable_text(found.says), highlight=False, markup=False, soft_wrap=True)
    shifted = [group for group in found.groups if group.shifted]
    if shifted:
        rows = [
            [Cell(group.name), Cell(f"{group.shift:+.1f}"), Cell(f"{group.p_value:.1g}")]
            for group in shifted
        ]
        columns = [Column("group"), Column("shift, deviations"), Column("p-value")]
        print_rows(out, columns, rows)
    return None


@machines.command("check")
def check(history: History = None, as_json: Json = False) -> None:
    """Find silent machines and snoozes that are over, and send what was not sent.

    `oddsound serve` and the stack on AWS do it every few minutes.
    """
    with reported_errors(as_json):
        changed = open_history(history).check().changed
    if as_json:
        return print_json({"changed": [info.model_dump(mode="json") for info in changed]})
    for info in changed:
        _print_state(info, as_json)
    return None


def _print_state(info: MachineInfo, as_json: bool) -> None:
    if as_json:
        return print_json(info.model_dump(mode="json"))
    out.print(printable_text(f"{info.id}: {info.state}"), highlight=False, markup=False)
    return None


def machines_of_file(path: Path) -> list[Machine]:
    """The machines of a JSON or CSV file.

    Raises WorkbenchError naming the line or entry that cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkbenchError(f"{path}: {error}") from None
    if path.suffix.lower() == ".csv":
        try:
            rows = [(f"{path}, line {n}", _of_csv(row)) for n, row in _csv_rows(text)]
        except (csv.Error, WorkbenchError) as error:
            raise WorkbenchError(f"{path}: {error}") from None
    else:
        rows = [(f"{path}, entry {n}", row) for n, row in enumerate(_json_list(path, text), 1)]
    if not rows:
        raise WorkbenchError(f"{path} contains no machine")
    found = [_machine(row, where) for where, row in rows]
    ids = [machine.id for machine in found]
    if double := sorted({machine_id for machine_id in ids if ids.count(machine_id) > 1}):
        raise WorkbenchError(f"{path} names {', '.join(double)} more than once")
    return found


def _csv_rows(text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = reader.fieldnames or []
    if len(set(names)) < len(names):
        raise WorkbenchError(f"a column appears twice in its heading: {', '.join(names)}")
    rows = []
    for row in reader:
        if None in row:
            raise WorkbenchError(f"line {reader.line_num} has more values than the heading")
        rows.append((reader.line_num, row))
    return rows


def _of_csv(row: dict[str, Any]) -> dict[str, Any]:
    """A line of a CSV file in the form of JSON; empty cells count as absent."""
    found = {name: value for name, value in row.items() if value not in ("", None)}
    if "alarm" in found:
        found["alarm"] = dict(zip(("n", "of"), _alarm(found["alarm"]), strict=True))
    return found


def _json_list(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        found = strict_json.loads(text)
    except ValueError as error:
        raise WorkbenchError(f"{path} is not JSON: {error}") from None
    if isinstance(found, dict) and isinstance(found.get("machines"), list):
        found = found["machines"]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise WorkbenchError(f'{path} is not a list such as [{{"id": "hall-3/pump-07"}}]')
    return found


def _machine(fields: dict[str, Any], where: str) -> Machine:
    try:
        return Machine.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'machine'}: {fault['msg']}"
            for fault in error.errors()
        )
        allowed = ", ".join(Machine.model_fields)
        raise WorkbenchError(f"{where}: {faults}; allowed are {allowed}") from None


def _alarm(text: str) -> tuple[int, int]:
    try:
        n, of = map(int, text.split("/"))
    except ValueError:
        raise WorkbenchError(f"{text!r} is not of the form 2/3: N anomalies in M") from None
    return n, of
