"""`oddsound review`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddsound.errors import ResultNotFoundError
from oddsound.machines.records import HistoryRow, ReviewLabel
from oddsound_workbench.cli.console import Json, err, out, print_json, reported_errors
from oddsound_workbench.cli.learning import FaultyLabels, NormalLabels
from oddsound_workbench.cli.machines import History, open_history
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import decoded, harmless, printable

if TYPE_CHECKING:
    from oddsound.machines.ledger import Ledger

MAX_NAMED = 5
"""Recordings and texts that a sentence names."""


def review(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="KEY|FILE|FOLDER",
            help="The key of a row, or a file; with --labels, the labelled file or files.",
            show_default=False,
        ),
    ],
    label: Annotated[
        ReviewLabel | None, typer.Option(help="What it is.", show_default=False)
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Label file (Audacity, Raven, CSV) that says what recordings are. Repeat it, or"
            " name a folder, for more.",
        ),
    ] = None,
    normal_labels: NormalLabels = None,
    faulty_labels: FaultyLabels = None,
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
    if (label is None) == (not labels):
        raise typer.BadParameter("give either --label or --labels")
    if (normal_labels or faulty_labels) and not labels:
        raise typer.BadParameter("--normal-label and --faulty-label need --labels")
    if labels and (note or recorded_at):
        raise typer.BadParameter("--note and --recorded-at need --label: labels have their own")
    with reported_errors(as_json):
        ledger = open_history(history)
        if label is not None:
            rows = [_reviewed(ledger, recording, label, note, person, recorded_at)]
        else:
            chosen = (normal_labels, faulty_labels)
            rows = _by_labels(ledger, Path(recording), labels or [], chosen, person)
    if as_json:
        shown = [row.model_dump(mode="json") for row in rows]
        return print_json(shown[0] if label is not None else {"reviewed": shown})
    for row in rows:
        _print(row)
    return None


def _print(row: HistoryRow) -> None:
    said = row.review
    label, note = (said.label, f"; {said.note}" if said.note else "") if said else ("", "")
    machine = row.machine or "no machine"
    at = f"{row.recorded_at:%Y-%m-%d %H:%M} UTC"
    text = f"{machine}, {at}: {label}, scored as {row.prediction}{note}"
    out.print(harmless(text), markup=False, highlight=False, soft_wrap=True)


def _reviewed(
    ledger: "Ledger",
    recording: str,
    label: ReviewLabel,
    note: str,
    person: str,
    recorded_at: datetime | None = None,
) -> HistoryRow:
    at = recorded_at and recorded_at.replace(tzinfo=UTC)
    path = Path(recording)
    key = decoded(path.resolve()) if path.is_file() else recording
    return ledger.review(key, label, person, note, at)


def _by_labels(
    ledger: "Ledger",
    recordings: Path,
    labels: list[Path],
    chosen: tuple[list[str] | None, list[str] | None],
    person: str,
) -> list[HistoryRow]:
    """The rows that label files have reviewed. Raises FolderError if that is none."""
    from oddsound_workbench.label_reviews import reviews_of
    from oddsound_workbench.labels.stretches import FAULTY_TEXTS, NORMAL_TEXTS, Choice
    from oddsound_workbench.learn.labelled import label_files
    from oddsound_workbench.learn.recordings import expand

    normal, faulty = chosen
    choice = Choice(normal or NORMAL_TEXTS, faulty or FAULTY_TEXTS)
    found, unused = reviews_of(label_files(labels), expand([recordings]), choice)
    if unused:
        texts = ", ".join(f"{text!r} ({number})" for text, number in unused.most_common(MAX_NAMED))
        _warn(f"Labels that are neither normal nor faulty nor unusable are left out: {texts}.")
    rows, missing = [], []
    for each in found:
        try:
            path = str(each.recording)
            rows.append(_reviewed(ledger, path, each.label, each.note, person))
        except ResultNotFoundError:
            missing.append(printable(each.recording))
    if missing:
        names = ", ".join(missing[:MAX_NAMED])
        text = f"{len(missing)} labelled recording(s) are not in the history: {names}"
        if not rows:
            raise FolderError(f"{text}; `oddsound watch --once` adds them")
        _warn(f"{text}.")
    return rows


def _warn(text: str) -> None:
    err.print(harmless(text), markup=False, highlight=False, soft_wrap=True)
