"""What drift says about the recent recordings of one machine, in each condition."""

import io
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.detection.ours import trained
from benchmarks.detection.protocol import Split
from benchmarks.drift.changes import CHANGES, UNCHANGED, Apply
from benchmarks.events.measure import LIMITS
from oddsound import pipeline
from oddsound.history.sqlite import SqliteHistory
from oddsound.machines import drift
from oddsound.machines.ledger import Ledger, Origin
from oddsound.machines.records import Machine
from oddsound.model import Model

FAULTS = "faults"
CONDITIONS = [*CHANGES, FAULTS]
MACHINE = "benchmark"
START = datetime(2026, 11, 2, tzinfo=UTC)


def kinds(split: Split, seed: Sequence[int]) -> dict[str, str]:
    """The kind of drift in each of CONDITIONS.

    A half of the normal recordings trains a model. The recent recordings are up to RECENT of the
    other half, all changed in the same way, or of the faults.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = trained(split.train, Path(folder))
    recent = split.normal[: drift.RECENT]
    rate = soundfile.info(recent[0]).samplerate
    found = {
        name: _kind(model, recent, change(rate, [*seed, place]))
        for place, (name, change) in enumerate(CHANGES.items())
    }
    order = np.random.default_rng(list(seed)).permutation(len(split.anomalous))
    faults = [split.anomalous[place] for place in order[: drift.RECENT]]
    return {**found, FAULTS: _kind(model, faults, CHANGES[UNCHANGED](rate, seed))}


def _kind(model: Model, paths: Sequence[Path], apply: Apply) -> str:
    """What a machine's drift is after these recordings, one an hour, in a history of its own."""
    with closing(SqliteHistory(Path(":memory:"))) as store:
        ledger = Ledger(store, now=lambda: START + timedelta(days=10))
        ledger.register(Machine(id=MACHINE, model_name=model.name))
        for number, path in enumerate(paths):
            prediction = pipeline.predict(_changed(path, apply, number), model, LIMITS)
            at = START + timedelta(hours=number)
            ledger.record(prediction, Origin(MACHINE, at, "benchmark", path.name, str(number)))
        return ledger.drift(MACHINE).kind


def _changed(path: Path, apply: Apply, number: int) -> bytes:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    file = io.BytesIO()
    # Floats, because some changes exceed full scale, and clipping is another change.
    soundfile.write(file, apply(samples.mean(axis=1), number), rate, "FLOAT", format="WAV")
    return file.getvalue()
