"""One case: a model of few recordings, many reviews, and what `oddsound retrain` makes of them."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.detection.data import MachineSet
from oddsound import pipeline, runtime
from oddsound.machines.records import Machine, ReviewLabel
from oddsound.model import Model
from oddsound_workbench import training
from oddsound_workbench.history import remember
from oddsound_workbench.retraining import Request, retrain

MIN_FIRST, MAX_FIRST = 5, 10
"""Recordings of the model in use: a quarter of the normal ones within these limits."""

MAX_LATER, FAULTS = 30, 6
"""Normal recordings and faults that are scored and reviewed afterwards."""

MACHINE, FIRST = "benchmark", "first"

type Figures = dict[str, bool | int]


@dataclass(frozen=True)
class Case:
    """first : train the model in use; later, faults : are scored by it, and reviewed

    others : faults that nobody reviews
    """

    first: list[Path]
    later: list[Path]
    faults: list[Path]
    others: list[Path]


def case(machine: MachineSet, seed: Sequence[int]) -> Case:
    """A division that depends on the numbers of recordings and on the seed only."""
    rng = np.random.default_rng(list(seed))
    normal = [machine.normal[place] for place in rng.permutation(len(machine.normal))]
    faults = [machine.anomalous[place] for place in rng.permutation(len(machine.anomalous))]
    count = min(max(len(normal) // 4, MIN_FIRST), MAX_FIRST)
    later = normal[count : count + MAX_LATER]
    return Case(normal[:count], later, faults[:FAULTS], faults[FAULTS:])


def figures(parts: Case) -> Figures:
    """Review everything that was scored, retrain, and score again.

    false_alarms : of the first model, all of them reviewed as normal; again : those of them that
        are anomalies for the model in use afterwards
    compared, old_alarms, new_alarms : normal recordings that neither model was trained with
    faults, old_detected, new_detected : that were reviewed; others, others_old, others_new : faults
        that nobody reviewed, for the first model and the one in use afterwards
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        models = folder / "models" / "models.json"
        _copied(parts.first, folder / "first")
        training.train(training.Plan(folder / "first", FIRST, models, links=False))
        with _configured(folder / "history.sqlite", models):
            first = runtime.registry().get(FIRST)
            alarms = _reviewed(parts, first)
            found = retrain(Request(MACHINE, models), runtime.required_history())
            runtime.clear()  # models.json has changed
            used = runtime.registry().get(runtime.required_history().model_of(MACHINE))
            counts: Figures = {
                "promoted": found.promoted,
                **{"first": len(parts.first), "later": len(parts.later)},
                **{"false_alarms": len(alarms), "again": _anomalies(used, alarms)},
                **{"faults": len(parts.faults), "others": len(parts.others)},
                "others_old": _anomalies(first, parts.others),
                "others_new": _anomalies(used, parts.others),
            }
    for name, score in (("old", found.old), ("new", found.new)):
        if score is not None:
            counts |= {f"{name}_alarms": score.false_alarms, f"{name}_detected": score.detected}
            counts["compared"] = score.normal
    return counts


def _reviewed(parts: Case, model: Model) -> list[Path]:
    """Score and review everything. Returns the false alarms."""
    ledger = runtime.required_history()
    ledger.register(Machine(id=MACHINE, model_name=model.name))
    alarms = []
    reviews: list[tuple[ReviewLabel, list[Path]]] = [
        ("normal", parts.later),
        ("fault", parts.faults),
    ]
    for label, paths in reviews:
        for path in paths:
            prediction = pipeline.predict(path, model, runtime.limits())
            remember(ledger, prediction, path, MACHINE)
            ledger.review(str(path.resolve()), label)
            if label == "normal" and prediction.is_anomaly:
                alarms.append(path)
    return alarms


def _anomalies(model: Model, paths: Sequence[Path]) -> int:
    return sum(bool(pipeline.predict(path, model, runtime.limits()).is_anomaly) for path in paths)


def _copied(paths: Sequence[Path], folder: Path) -> None:
    folder.mkdir()
    for number, path in enumerate(paths):
        shutil.copyfile(path, folder / f"{number:04}{path.suffix}")


@contextmanager
def _configured(history: Path, models: Path) -> Iterator[None]:
    """The settings name this history and these models."""
    before = dict(os.environ)
    os.environ.update({"HISTORY": str(history), "MODELS_CONFIG_PATH": str(models)})
    runtime.clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        runtime.clear()
