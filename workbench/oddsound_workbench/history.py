"""Recordings in files become rows of the history."""

from datetime import UTC, datetime
from pathlib import Path

from oddsound import runtime
from oddsound.machines.ledger import Ledger, Origin
from oddsound.schemas import Prediction
from oddsound_workbench.files import content_sha256, decoded


def remember(
    ledger: Ledger, prediction: Prediction, file: Path, machine: str | None, source: str = "file"
) -> Prediction:
    """Store the row of a scored file. Returns the prediction with its machine.

    The time is that in the file's name, or that of its last change. The same file twice is one row.
    """
    path = file.resolve()
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    prediction = prediction.model_copy(update={"machine": machine})
    origin = Origin(
        machine=machine,
        recorded_at=runtime.recorded_at_of(path.name) or changed,
        source=source,
        key=decoded(path),
        content=f"{content_sha256(path)} {machine}",
    )
    ledger.record(prediction, origin)
    return prediction
