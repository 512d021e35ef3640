"""Label files of recordings -> reviews of these recordings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oddsound.machines.records import ReviewLabel
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.labels.reading import Label, read_labels
from oddsound_workbench.labels.stretches import MAX_SHOWN_ERRORS, Choice, recording_of

UNUSABLE_TEXTS = ("unusable",)
"""Texts of labels of recordings that say nothing about the machine."""


@dataclass(frozen=True)
class LabelReview:
    """What the labels of a recording say about it. note : the faulty or unusable stretches"""

    recording: Path
    label: ReviewLabel
    note: str


def reviews_of(
    files: Sequence[Path], recordings: Sequence[Path], choice: Choice
) -> tuple[list[LabelReview], Counter[str]]:
    """A review for each labelled recording: a fault if one of its labels is.

    files : label files; recordings : that they may be about
    Also returns the texts of labels that mean nothing here, with their number.
    Raises FolderError that lists every label whose recording is not there.
    """
    unused: Counter[str] = Counter()
    found: dict[Path, dict[ReviewLabel, list[Label]]] = {}
    errors: list[str] = []
    for file in files:
        for label in read_labels(file):
            kind = _kind(label.text, choice)
            if kind is None:
                unused[label.text] += 1
                continue
            try:
                recording = recording_of(label, file, recordings, only=len(files) == 1)
            except FolderError as error:
                errors.append(f"{printable(file)}, line {label.line}: {error}")
                continue
            found.setdefault(recording, {}).setdefault(kind, []).append(label)
    if errors:
        more = len(errors) - MAX_SHOWN_ERRORS
        shown = [*errors[:MAX_SHOWN_ERRORS], *([f"and {more} more"] if more > 0 else [])]
        raise FolderError(f"{len(errors)} label(s) cannot be used:\n  " + "\n  ".join(shown))
    return [_review(recording, found[recording]) for recording in sorted(found)], unused


def _kind(text: str, choice: Choice) -> ReviewLabel | None:
    if " ".join(text.split()).casefold() in UNUSABLE_TEXTS:
        return "unusable"
    faulty = choice.is_faulty(text)
    return None if faulty is None else "fault" if faulty else "normal"


def _review(recording: Path, labels: dict[ReviewLabel, list[Label]]) -> LabelReview:
    """A fault anywhere is a fault; a recording is only normal if nothing else is said."""
    kinds: tuple[ReviewLabel, ...] = ("fault", "unusable", "normal")
    kind = next(kind for kind in kinds if kind in labels)
    note = "" if kind == "normal" else _described(labels[kind])
    return LabelReview(recording, kind, note)


def _described(labels: Iterable[Label]) -> str:
    ordered = sorted(labels, key=lambda label: label.start_s)
    return "; ".join(
        f"{label.text} from {label.start_s:.1f} to {label.end_s:.1f} s" for label in ordered
    )
