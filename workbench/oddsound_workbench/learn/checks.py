"""Checks recordings before training: which cannot be used, and what their recorders did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddsound import pipeline
from oddsound.errors import AudioAnomalyError
from oddsound.features import extractor
from oddsound.quality import warnings
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.learn.dataset import LIMITS
from oddsound_workbench.learn.recordings import Labelled

MAX_NAMED = 3
"""Recordings that a note names for each kind of warning."""


@dataclass(frozen=True)
class Checked:
    """The recordings that were checked.

    usable : in their order
    bad : path of each other recording, and the reason that a prediction would give
    faults : kind of warning -> the usable recordings that have it
    """

    usable: list[Labelled]
    bad: list[tuple[Path, str]]
    faults: dict[str, list[Path]]

    def raise_if_bad(self) -> None:
        """Raises FolderError that lists every recording that cannot be used."""
        if not self.bad:
            return
        count = len(self.bad)
        head = f"{count} of {count + len(self.usable)} recordings cannot be used"
        lines = [f"{printable(path)}: {reason}" for path, reason in self.bad]
        hint = "`oddsound train --skip-bad` leaves them out"
        raise FolderError("\n  ".join([f"{head}; {hint}:", *lines]))

    def notes(self) -> list[str]:
        """Sentences for the user: what was left out, and the warnings of the rest."""
        found = []
        total = len(self.usable) + len(self.bad)
        if self.bad:
            names = [f"{printable(Path(path.name))} ({reason})" for path, reason in self.bad]
            left_out = f"Left out {len(self.bad)} of {total} recordings"
            found.append(f"{left_out}: {'; '.join(names)}.")
        if self.faults:
            parts = [
                f"{kind} in {len(paths)} ({_examples(paths)})"
                for kind, paths in self.faults.items()
            ]
            found.append(
                f"Recorder warnings for {len(self.usable)} recordings: {'; '.join(parts)}."
                " The model takes these faults for normal."
            )
        return found


def check(
    recordings: Sequence[Labelled],
    sample_rate: int,
    feature_extractor: str,
    advance: Callable[[], Any] = lambda: None,
) -> Checked:
    """Decode every recording and check it as a prediction does.

    sample_rate, feature_extractor : of the model
    advance : called after each recording
    """
    extract = extractor(feature_extractor, sample_rate)
    top_hz = pipeline.top_hz(extract, sample_rate)
    usable: list[Labelled] = []
    bad: list[tuple[Path, str]] = []
    faults: dict[str, list[Path]] = {}
    for recording in recordings:
        try:
            quality = pipeline.load(recording.path, extract, sample_rate, LIMITS).quality
        except AudioAnomalyError as error:
            bad.append((recording.path, str(error)))
        except OSError as error:
            bad.append((recording.path, error.strerror or str(error)))
        else:
            usable.append(recording)
            for fault in warnings.faults(quality, top_hz):
                faults.setdefault(fault.kind, []).append(recording.path)
        advance()
    return Checked(usable, bad, faults)


def _examples(paths: Sequence[Path]) -> str:
    """The names of the first recordings, and how many there are besides."""
    names = [printable(Path(path.name)) for path in paths[:MAX_NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
