"""The formats of label files: Audacity label tracks, Raven selection tables, CSV."""

import csv
import io
import re
from collections.abc import Sequence
from enum import StrEnum

from oddsound.schemas import Event
from oddsound_workbench.files import FORMULA_STARTS


class LabelFormat(StrEnum):
    """A format of label files."""

    AUDACITY = "audacity"
    RAVEN = "raven"
    CSV = "csv"


SUFFIXES = {
    LabelFormat.AUDACITY: ".txt",
    LabelFormat.RAVEN: ".selections.txt",
    LabelFormat.CSV: ".csv",
}
"""What the name of a label file has in place of the recording's suffix."""

BEGIN_S, END_S, BEGIN_FILE = "Begin Time (s)", "End Time (s)", "Begin File"
FILE_OFFSET_S, ANNOTATION = "File Offset (s)", "Annotation"
RAVEN_HEAD = (
    *("Selection", "View", "Channel", BEGIN_S, END_S, "Low Freq (Hz)", "High Freq (Hz)"),
    *(BEGIN_FILE, FILE_OFFSET_S, "Kind", "Score", ANNOTATION),
)
CSV_HEAD = ("file", "start_s", "end_s", "kind", "score", "says")


def file_content(
    kind: LabelFormat, recording: str, sample_rate: int, events: Sequence[Event]
) -> bytes:
    """The content of a label file with the events of one recording.

    recording : its name
    sample_rate : of the recording, in Hz; a selection of Raven needs a range of frequencies
    """
    if kind is LabelFormat.AUDACITY:
        return _delimited([_audacity(event) for event in events], "\t")
    if kind is LabelFormat.CSV:
        # The same path; a spreadsheet would compute a name that begins with "=".
        name = f"./{recording}" if recording.startswith(FORMULA_STARTS) else recording
        rows = [
            (name, _s(each.start_s), _s(each.end_s), each.kind, f"{each.score:g}", each.says)
            for each in events
        ]
        return _delimited([CSV_HEAD, *rows], ",")
    selections = [
        (
            *(str(number), "Spectrogram 1", "1", _s(each.start_s), _s(each.end_s)),
            *("0", f"{sample_rate / 2:g}", recording, _s(each.start_s)),
            *(each.kind, f"{each.score:g}", f"{each.kind}: {each.says}"),
        )
        for number, each in enumerate(events, 1)
    ]
    return _delimited([RAVEN_HEAD, *selections], "\t")


def _audacity(event: Event) -> tuple[str, str, str]:
    return _s(event.start_s), _s(event.end_s), f"{event.kind}: {event.says}"


def _s(seconds: float) -> str:
    """Six decimals, as Audacity writes them."""
    return f"{seconds:.6f}"


def _delimited(rows: Sequence[Sequence[str]], delimiter: str) -> bytes:
    if delimiter == "\t":
        # Neither Audacity nor Raven knows quotes.
        lines = ["\t".join(re.sub(r"\s", " ", cell) for cell in row) + "\n" for row in rows]
        return "".join(lines).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
