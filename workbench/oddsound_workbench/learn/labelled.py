"""Label files of long recordings -> short recordings in a temporary folder, for a plan."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.labels.cutting import cut, duration_s
from oddsound_workbench.labels.stretches import (
    FAULTY_TEXTS,
    NORMAL_TEXTS,
    Choice,
    Piece,
    Stretch,
    divide,
    read_stretches,
)
from oddsound_workbench.learn.plan import (
    MAX_DEFAULT_WINDOW_S,
    Origin,
    Pieces,
    Plan,
    Progress,
)
from oddsound_workbench.learn.recordings import Labelled, expand, match

LABEL_SUFFIXES = (".txt", ".csv", ".tsv")
"""Suffixes of the label files in a folder."""

MAX_NAMED = 5
"""Label files and texts that a sentence names."""


@contextmanager
def with_pieces(plan: Plan, progress: Progress) -> Iterator[Plan]:
    """The plan with the pieces of its label files; unchanged if it has none.

    The pieces are deleted at the end. Raises FolderError, also for a label that cannot be used.
    """
    if not plan.label_files:
        yield plan
        return
    files = label_files(plan.label_files)
    recordings = expand([plan.folder])
    choice = Choice(plan.normal_labels or NORMAL_TEXTS, plan.faulty_labels or FAULTY_TEXTS)
    stretches, unused = read_stretches(files, recordings, cache(duration_s), choice)
    if not any(not each.faulty for each in stretches):
        found = _quoted(unused) or ("faulty" if stretches else "none")
        raise FolderError(
            f"there is no normal stretch; texts that count as normal: {_quoted(choice.normal)};"
            f" labels in {_described(files)}: {found}. --normal-label chooses another text"
        )
    parts = divide(stretches, plan.window_s or MAX_DEFAULT_WINDOW_S)
    used = list(dict.fromkeys(part.recording for part in parts))
    advance = progress("Cutting recordings", len(used))
    with tempfile.TemporaryDirectory(prefix="oddsound-") as name:
        folder = Path(name)
        try:
            cut_parts = dict(zip(cut(parts, folder, advance), parts, strict=True))
            notes = _notes(stretches, len(used), unused)
            yield replace(plan, pieces=_pieces(plan, folder, files, cut_parts, notes))
        except FolderError as error:
            # The names below the temporary folder are those of recordings and pieces.
            raise FolderError(str(error).replace(f"{folder}/", "")) from None


def label_files(paths: Iterable[Path]) -> list[Path]:
    """The label files, and those in the given folders. Raises FolderError if there are none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in LABEL_SUFFIXES)
            if not inside:
                raise FolderError(
                    f"{printable(path)} contains no label files ({', '.join(LABEL_SUFFIXES)})"
                )
            found += inside
        else:
            found.append(path)
    return found


def _pieces(
    plan: Plan,
    folder: Path,
    files: Sequence[Path],
    parts: Mapping[Path, Piece],
    notes: Sequence[str],
) -> Pieces:
    def recordings(*, faulty: bool) -> list[Labelled]:
        return [
            Labelled(
                path,
                ANOMALY if faulty else NORMAL,
                match(plan.group_pattern, part.recording) or part.group,
            )
            for path, part in parts.items()
            if part.faulty == faulty
        ]

    origins = {path: Origin(p.recording, p.start_s, p.end_s) for path, p in parts.items()}
    normal, faulty = recordings(faulty=False), recordings(faulty=True)
    facts = [("Labels", _described(files))]
    return Pieces(folder, files, normal, faulty, origins, facts, notes)


def _notes(stretches: Sequence[Stretch], recordings: int, unused: Counter[str]) -> list[str]:
    """What the labels were taken for."""
    parts = []
    for name, faulty in (("normal", False), ("faulty", True)):
        lengths = [each.length_s for each in stretches if each.faulty is faulty]
        parts.append(f"{_count(len(lengths), f'{name} stretch', 'es')} ({sum(lengths):.0f} s)")
    found = [f"Labels of {_count(recordings, 'recording', 's')}: {parts[0]}, {parts[1]}."]
    if unused:
        texts = ", ".join(f"{text!r} ({n})" for text, n in unused.most_common(MAX_NAMED))
        more = len(unused) - MAX_NAMED
        found.append(
            f"Labels that are neither normal nor faulty are not used: {texts}"
            + (f" and {more} other texts" if more > 0 else "")
            + ". --normal-label and --faulty-label choose them."
        )
    return found


def _described(files: Sequence[Path]) -> str:
    """The names of the first label files, and how many there are besides."""
    names = [printable(Path(path.name)) for path in files[:MAX_NAMED]]
    more = len(files) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(repr(text) for text in list(texts)[:MAX_NAMED])


def _count(number: int, noun: str, ending: str) -> str:
    return f"{number} {noun}{'' if number == 1 else ending}"
