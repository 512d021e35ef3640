"""Reads label files. The content decides about the format."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.labels.formats import ANNOTATION, BEGIN_FILE, BEGIN_S, END_S, FILE_OFFSET_S

TEXT_COLUMNS = (
    *(ANNOTATION, "Label", "Class", "Type", "Kind", "Tag", "Text"),
    *("Call Type", "Species", "Common Name", "Notes", "Comment"),
)
"""Columns whose value is the text of a label; the first that a table has is used."""

MAX_BEFORE_START_S = 0.01
"""Times that are smaller than 0 by no more than that are taken as 0: programs round."""

type Row = Mapping[str, str]
"""A line of a table: heading in lower case -> value."""


@dataclass(frozen=True)
class Label:
    """A stretch of a recording with a text.

    recording : name or path of the recording as the file gives it; None if it gives none
    line : of the label file, from 1
    """

    start_s: float
    end_s: float
    text: str
    recording: str | None
    line: int


def read_labels(path: Path) -> list[Label]:
    """The labels of an Audacity label track, a Raven selection table or a CSV file.

    Raises FolderError, with the number of the line, if the file cannot be read or understood.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FolderError(f"{printable(path)} cannot be read: {error.strerror}") from None
    text = _decoded(content).replace("\r\n", "\n").replace("\r", "\n")
    head = next((line for line in text.split("\n") if line.strip()), "").casefold()
    try:
        if {BEGIN_S.casefold(), END_S.casefold()} & _cells(head, "\t"):
            return list(_raven(_table(text, "\t", (BEGIN_S, END_S))))
        delimiter = max(",;\t", key=head.count)
        if {"start_s", "end_s"} & _cells(head, delimiter):
            return [_csv_label(*each) for each in _table(text, delimiter, ("start_s", "end_s"))]
        return list(_audacity(text))
    except _LineError as error:
        raise FolderError(f"{printable(path)}, line {error.line}: {error}") from None
    except csv.Error as error:
        raise FolderError(f"{printable(path)} is not a table: {error}") from None


class _LineError(Exception):
    """What is wrong with one line of a file."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


def _cells(head: str, delimiter: str) -> set[str]:
    return {cell.strip(' "') for cell in head.split(delimiter)}


def _decoded(content: bytes) -> str:
    """UTF-8, or UTF-16 with its mark, or else what Windows programs write."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _audacity(text: str) -> Iterator[Label]:
    """Lines of start, end and text. A line that begins with \\ has the frequencies of a label."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        cells = line.split("\t")
        if len(cells) < 2:
            raise _LineError(
                number,
                f"{line[:40]!r} is not a label of Audacity, which has a start, an end and a text"
                f" with tabs between them; tables of Raven have a heading with {BEGIN_S!r} and"
                f" {END_S!r}, CSV files one with 'start_s' and 'end_s'",
            )
        yield _label(number, cells[0], cells[1], " ".join(cells[2:]), None)


def _raven(rows: Iterator[tuple[int, Row]]) -> Iterator[Label]:
    """Selections; one that is listed for several views is one label."""
    seen = set()
    for number, row in rows:
        recording = row.get("begin path") or row.get(BEGIN_FILE.casefold()) or None
        start, end = row[BEGIN_S.casefold()], row[END_S.casefold()]
        if (key := (row.get("selection") or number, start, end)) in seen:
            continue
        seen.add(key)
        label = _label(number, start, end, _text_of(row), recording)
        if recording is not None and (offset := row.get(FILE_OFFSET_S.casefold())):
            # The times of a table for several files count from the start of the first.
            start_s = _seconds(number, offset)
            end_s = round(start_s + label.end_s - label.start_s, 6)
            label = Label(start_s, end_s, label.text, recording, number)
        yield label


def _csv_label(number: int, row: Row) -> Label:
    text = _text_of(row)
    if row.get("kind") and row.get("says"):
        text = f"{row['kind']}: {row['says']}"
    recording = row.get("file") or row.get("recording") or None
    return _label(number, row["start_s"], row["end_s"], text, recording)


def _table(text: str, delimiter: str, needed: tuple[str, str]) -> Iterator[tuple[int, Row]]:
    """Number and values of each line below the heading. Raises _LineError if one has too few."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    head: list[str] | None = None
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if head is None:
            head = [cell.strip().casefold() for cell in cells]
            for name in needed:
                if name.casefold() not in head:
                    raise _LineError(reader.line_num, f"the heading has no column {name!r}")
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=False))
        for name in needed:
            if name.casefold() not in row:
                raise _LineError(
                    reader.line_num,
                    f"the line has {len(cells)} values, which do not reach the column {name!r}",
                )
        yield reader.line_num, row


def _text_of(row: Row) -> str:
    return next((row[name.casefold()] for name in TEXT_COLUMNS if name.casefold() in row), "")


def _label(number: int, start: str, end: str, text: str, recording: str | None) -> Label:
    start_s, end_s = _seconds(number, start), _seconds(number, end)
    if end_s < start_s:
        raise _LineError(
            number, f"the label ends at {end_s:g} s, before its start at {start_s:g} s"
        )
    return Label(start_s, end_s, " ".join(text.split()), recording, number)


def _seconds(number: int, text: str) -> float:
    """A time in seconds, with a decimal point or comma."""
    try:
        seconds = float(text.strip().replace(",", "."))
    except ValueError:
        raise _LineError(number, f"{text.strip()[:40]!r} is not a time in seconds") from None
    if not math.isfinite(seconds) or seconds < -MAX_BEFORE_START_S:
        raise _LineError(number, f"{text.strip()!r} is not a time in a recording")
    return max(0.0, seconds)
