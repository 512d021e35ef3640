"""Labels of long recordings -> the normal and the faulty stretches, checked and divided.

A stretch is divided into pieces of about one window, which are then used like short recordings.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path, PureWindowsPath

from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import decoded, printable
from oddsound_workbench.labels.reading import Label, read_labels

NORMAL_TEXTS = ("", "normal", "ok", "good", "healthy")
FAULTY_TEXTS = ("faulty", "fault", "anomaly", "anomalous", "abnormal", "bad")
"""Texts of labels that count by default; upper and lower case are the same."""

MIN_STRETCH_S = 0.25
"""Shorter stretches say little about a machine."""

MAX_PAST_END_S = 0.1
"""A stretch may end later than its recording by that: programs round."""

MIN_RECORDINGS = 4
"""Recordings from which each is a group of a cross-validation."""

BLOCKS = 10
"""Groups of a recording, if there are fewer recordings: pieces that follow each other in time."""

MAX_SHOWN_ERRORS = 20


@dataclass(frozen=True)
class Choice:
    """Which texts of labels count as normal and which as faulty; all others are not used.

    A text counts if it is one of these, also up to its first colon: `impact: a knock`.
    """

    normal: Sequence[str] = NORMAL_TEXTS
    faulty: Sequence[str] = FAULTY_TEXTS

    def __post_init__(self) -> None:
        if both := _folded(self.normal) & _folded(self.faulty):
            raise FolderError(f"the label {min(both)!r} cannot be both normal and faulty")

    def is_faulty(self, text: str) -> bool | None:
        """Whether a label with this text is faulty; None if it is not used."""
        whole = " ".join(text.split()).casefold()
        for each in (whole, whole.partition(":")[0].strip()):
            if each in _folded(self.normal):
                return False
            if each in _folded(self.faulty):
                return True
        return None


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, in seconds from its start.

    where : label file and line, for error texts
    """

    recording: Path
    start_s: float
    end_s: float
    faulty: bool
    where: str = field(compare=False)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Piece:
    """A part of a stretch that is used like one recording.

    group : pieces of one group are never in both the training and the test part of a split
    """

    recording: Path
    start_s: float
    end_s: float
    faulty: bool
    group: str


def read_stretches(
    files: Sequence[Path],
    recordings: Sequence[Path],
    duration_of: Callable[[Path], float | None],
    choice: Choice,
) -> tuple[list[Stretch], Counter[str]]:
    """The normal and faulty stretches of recordings, by time; those that overlap are joined.

    files : label files
    recordings : that they may be about
    duration_of : seconds of a recording; None if its header does not say
    Also returns the texts of labels that are neither, with their number.
    Raises FolderError that lists every label that cannot be used, with its line.
    """
    unused: Counter[str] = Counter()
    errors: list[str] = []
    found: list[Stretch] = []
    for file in files:
        for label in read_labels(file):
            faulty = choice.is_faulty(label.text)
            if faulty is None:
                unused[label.text] += 1
                continue
            where = f"{printable(file)}, line {label.line}"
            try:
                recording = recording_of(label, file, recordings, only=len(files) == 1)
                start_s, end_s = _checked(label, recording, duration_of(recording))
                found.append(Stretch(recording, start_s, end_s, faulty, where))
            except FolderError as error:
                errors.append(f"{where}: {error}")
    stretches = _joined(sorted(found, key=lambda s: (str(s.recording), s.start_s)), errors)
    if errors:
        more = len(errors) - MAX_SHOWN_ERRORS
        shown = [*errors[:MAX_SHOWN_ERRORS], *([f"and {more} more"] if more > 0 else [])]
        raise FolderError(f"{len(errors)} label(s) cannot be used:\n  " + "\n  ".join(shown))
    return stretches, unused


def recording_of(label: Label, file: Path, recordings: Sequence[Path], *, only: bool) -> Path:
    """The recording that a label is about."""
    if label.recording is not None:
        return _by_name(label.recording, recordings)
    # A label file begins with the name of its recording, with or without the suffix.
    name = _comparable(file.name)
    fitting = [
        (len(start), path)
        for path in recordings
        for start in {_comparable(path.name), _comparable(path.stem)}
        if name.startswith(f"{start}.")
    ]
    if fitting:
        longest = max(length for length, _ in fitting)
        best = [path for length, path in fitting if length == longest]
        beside = [path for path in best if path.parent.resolve() == file.parent.resolve()]
        return _single(beside or best, name)
    if only and len(recordings) == 1:
        return recordings[0]
    raise FolderError(
        f"no recording fits the name of the label file {name}; a file of Audacity is named like its"
        " recording, as pump.txt and pump.wav"
    )


def _by_name(given: str, recordings: Sequence[Path]) -> Path:
    """The recording of that name or path, in which only the last parts need to agree."""
    parts = PureWindowsPath(given).parts or (given,)
    named = [path for path in recordings if _comparable(path.name) == _comparable(parts[-1])]
    if not named:
        raise FolderError(f"there is no recording {printable(Path(given))}")
    agreeing = [_agreement(path, parts) for path in named]
    return _single([p for p, n in zip(named, agreeing, strict=True) if n == max(agreeing)], given)


def _agreement(path: Path, parts: Sequence[str]) -> int:
    """How many of the last parts of a path are the same."""
    pairs = zip(reversed(path.resolve().parts), reversed(parts), strict=False)
    count = 0
    for mine, other in pairs:
        if _comparable(mine) != _comparable(other):
            break
        count += 1
    return count


def _comparable(name: str) -> str:
    """A file name as label files contain it: no tabs, no bytes that are not UTF-8, and an accent
    is part of its letter, which file systems may store apart."""
    return unicodedata.normalize("NFC", re.sub(r"\s", " ", decoded(Path(name))))


def _single(found: Sequence[Path], name: str) -> Path:
    if len(found) > 1:
        raise FolderError(
            f"{name} may mean {printable(found[0])} or {printable(found[1])}; train with a folder"
            " that contains only one of them"
        )
    return found[0]


def _checked(label: Label, recording: Path, duration_s: float | None) -> tuple[float, float]:
    """Start and end of a stretch in its recording. Raises FolderError if it cannot be used."""
    start_s, end_s = label.start_s, label.end_s
    if duration_s is not None:
        if start_s >= duration_s or end_s > duration_s + MAX_PAST_END_S:
            raise FolderError(
                f"the stretch from {start_s:g} to {end_s:g} s is not in"
                f" {printable(Path(recording.name))}, which lasts {duration_s:.2f} s"
            )
        end_s = min(end_s, duration_s)
    if end_s == start_s:
        raise FolderError(f"the label marks one moment, {end_s:g} s, and not a stretch")
    if end_s - start_s < MIN_STRETCH_S:
        raise FolderError(
            f"the stretch lasts {end_s - start_s:.3f} s; it must last {MIN_STRETCH_S:g} s or longer"
        )
    return start_s, end_s


def _joined(stretches: Sequence[Stretch], errors: list[str]) -> list[Stretch]:
    """Sorted stretches, those of the same kind joined where they overlap.

    errors : gets a text for each overlap of a normal and a faulty stretch
    """
    found: list[Stretch] = []
    for each in stretches:
        last = found[-1] if found else None
        if last is None or last.recording != each.recording or each.start_s >= last.end_s:
            found.append(each)
        elif last.faulty == each.faulty:
            end_s = max(last.end_s, each.end_s)
            found[-1] = Stretch(last.recording, last.start_s, end_s, last.faulty, last.where)
        else:
            errors.append(
                f"{each.where}: the stretch overlaps with that of {last.where}, but only one of"
                " them is faulty"
            )
    return found


def _folded(texts: Iterable[str]) -> set[str]:
    return {" ".join(text.split()).casefold() for text in texts}


def divide(stretches: Sequence[Stretch], piece_s: float) -> list[Piece]:
    """Pieces of about `piece_s` seconds, with groups for cross-validation.

    A recording is a group if there are at least MIN_RECORDINGS with normal stretches. Otherwise
    the normal pieces of each recording are divided into up to BLOCKS groups that follow each other
    in time, because neighbours sound alike: a split between them would be too easy a test.
    """
    by_recording = len({each.recording for each in stretches if not each.faulty}) >= MIN_RECORDINGS
    pieces: list[Piece] = []
    for recording, of_recording in groupby(stretches, key=lambda each: each.recording):
        parts = [
            (start_s, end_s, each.faulty)
            for each in of_recording
            for start_s, end_s in _parts(each, piece_s)
        ]
        normal = sum(not faulty for *_, faulty in parts)
        blocks = 1 if by_recording else min(normal, BLOCKS)
        done = 0
        for start_s, end_s, faulty in parts:
            block = 0 if faulty else done * blocks // normal
            done += not faulty
            pieces.append(Piece(recording, start_s, end_s, faulty, f"{recording}#{block}"))
    return pieces


def _parts(stretch: Stretch, piece_s: float) -> list[tuple[float, float]]:
    """Start and end of equal parts of a stretch, each about `piece_s` long."""
    count = max(1, round(stretch.length_s / piece_s))
    size_s = stretch.length_s / count
    edges = [stretch.start_s + number * size_s for number in range(count)]
    return list(pairwise([*edges, stretch.end_s]))
