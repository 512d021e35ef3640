"""Checks recordings before training: which cannot be used, and what their recorders did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddsound import features, scanning
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
    bandwidths_hz : of the usable recordings, see oddsound.quality.bandwidth
    """

    usable: list[Labelled]
    bad: list[tuple[Path, str]]
    faults: dict[str, list[Path]]
    bandwidths_hz: list[float]


def raise_if_bad(parts: Sequence[Checked]) -> None:
    """Raises FolderError that lists every recording that cannot be used."""
    if bad := [each for part in parts for each in part.bad]:
        raise FolderError(
            f"{len(bad)} of {_total(parts)} recordings cannot be used (--skip-bad leaves them"
            " out):\n  " + "\n  ".join(f"{printable(path)}: {reason}" for path, reason in bad)
        )


def left_out(parts: Sequence[Checked]) -> list[str]:
    """A sentence for the user that names the recordings that were left out, if there are any."""
    bad = [each for part in parts for each in part.bad]
    if not bad:
        return []
    names = [f"{printable(Path(path.name))} ({reason})" for path, reason in bad]
    return [f"Left out {len(bad)} of {_total(parts)} recordings: {'; '.join(names)}."]


def notes(training: Checked, tests: Checked) -> list[str]:
    """Sentences for the user: what was left out, and the recorder warnings for training data."""
    found = left_out((training, tests))
    if training.faults:
        parts = [
            f"{kind} in {len(paths)} ({_examples(paths)})"
            for kind, paths in training.faults.items()
        ]
        found.append(
            f"Recorder warnings for {len(training.usable)} training recordings:"
            f" {'; '.join(parts)}. The model learns these faults too."
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
    top_hz = features.top_hz(extract, sample_rate)
    usable: list[Labelled] = []
    bad: list[tuple[Path, str]] = []
    faults: dict[str, list[Path]] = {}
    bandwidths_hz: list[float] = []
    for recording in recordings:
        try:
            quality = scanning.load(recording.path, extract, sample_rate, LIMITS).quality
        except AudioAnomalyError as error:
            bad.append((recording.path, str(error)))
        except OSError as error:
            bad.append((recording.path, error.strerror or str(error)))
        else:
            usable.append(recording)
            bandwidths_hz.append(quality.bandwidth_hz)
            for fault in warnings.faults(quality, top_hz):
                faults.setdefault(fault.kind, []).append(recording.path)
        advance()
    return Checked(usable, bad, faults, bandwidths_hz)


def _total(parts: Sequence[Checked]) -> int:
    return sum(len(part.usable) + len(part.bad) for part in parts)


def _examples(paths: Sequence[Path]) -> str:
    """The names of the first recordings, and how many there are besides."""
    names = [printable(Path(path.name)) for path in paths[:MAX_NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
