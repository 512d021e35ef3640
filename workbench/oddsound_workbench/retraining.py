"""`oddsound retrain`: a new model from what people reviewed, used only if it is not worse."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import oddsound
from oddsound import pipeline, runtime
from oddsound.artifacts import resolve_path
from oddsound.errors import AudioAnomalyError
from oddsound.machines.ledger import Ledger
from oddsound.machines.records import HistoryRow, Machine
from oddsound.model import Model
from oddsound.storage import MissingError, translating_errors
from oddsound_workbench import training
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import content_sha256
from oddsound_workbench.learn.plan import Plan, Progress, no_progress
from oddsound_workbench.learn.recordings import expand
from oddsound_workbench.promotion import Decision, Pair, decide

MIN_TRAINING, MIN_NORMAL, MIN_FAULTS = 10, 4, 1
"""Normal recordings to train with; normal and faulty recordings to compare the models with."""

FOLDS = 3
"""Parts of the normal recordings, each of which is judged by a model of the others."""


@dataclass(frozen=True)
class Recording:
    """A reviewed recording that is there. corrected : a false alarm that was reviewed as normal."""

    file: Path
    checksum: str
    label: str
    corrected: bool


@dataclass(frozen=True)
class Score:
    """What a model says about the recordings that neither model was trained with."""

    model: str
    version: str
    false_alarms: int
    normal: int
    detected: int
    faults: int


@dataclass(frozen=True)
class Retrained:
    """Whether the new model is used, and why, in sentences."""

    machine: str
    model: str
    promoted: bool
    reasons: list[str]
    old: Score | None = None
    new: Score | None = None
    corrected: int = 0
    corrected_still_alarm: int = 0
    missing: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Request:
    """What to retrain. models : models.json; normal, anomalies : folders with more recordings."""

    machine: str
    models: Path
    normal: Path | None = None
    anomalies: Path | None = None


def retrain(request: Request, ledger: Ledger, progress: Progress = no_progress) -> Retrained:
    """Train a model of a machine's reviewed recordings, compare it, and promote it if it may be.

    Raises UnknownMachineError, WorkbenchError if a recording cannot be used, and the errors of
    `training.train`.
    """
    machine = _machine(ledger, request.machine)
    name = machine.id.replace("/", "-").replace(" ", "-")
    old = runtime.registry().get(machine.model_name)
    with tempfile.TemporaryDirectory(prefix="retrain-") as temporary:
        folder = Path(temporary)
        found, gone = _reviewed(ledger, machine, folder / "fetched")
        found += _of_folder(request.normal, "normal") + _of_folder(request.anomalies, "fault")
        material = _divided(found, _trained_with(request.models, old))
        if missing := _missing(material, gone):
            reason = "There are not enough reviewed recordings to train and to compare."
            return Retrained(machine.id, name, False, [reason, *missing], missing=missing)
        new = _trained(request, name, material.normal, folder / "final", progress)
        normal = _compared_normal(request, name, material, old, folder, progress)
        faults = [Pair(_is_anomaly(old, each), _is_anomaly(new, each)) for each in material.faults]
        decision = decide(normal, faults, 1 - (new.predictor.threshold or 0))
        corrected = [recording for recording in material.normal if recording.corrected]
        still = sum(_is_anomaly(new, recording) for recording in corrected)
        if decision.promoted:
            # The same recordings and seed give the same model, now in its place.
            plan = _plan(request, name, material.normal, folder / "promoted", request.models)
            training.train(plan, progress)
            ledger.register(machine.model_copy(update={"model_name": name}))
    return Retrained(
        machine.id,
        name,
        decision.promoted,
        [*decision.reasons, *_consequences(decision, len(corrected), still)],
        _score(old, normal, faults, is_new=False),
        _score(new, normal, faults, is_new=True),
        len(corrected),
        still,
    )


def _compared_normal(
    request: Request,
    name: str,
    material: "Material",
    old: Model,
    folder: Path,
    progress: Progress,
) -> list[Pair]:
    """What the old model and models like the new one say about normal recordings that they lack.

    Each fold of the fresh recordings is judged by a model of all other recordings.
    """
    pairs = []
    for number, fold in enumerate(material.folds):
        left_out = {recording.checksum for recording in fold}
        rest = [each for each in material.normal if each.checksum not in left_out]
        model = _trained(request, name, rest, folder / f"fold-{number}", progress)
        pairs += [
            Pair(_is_anomaly(old, each), _is_anomaly(model, each), each.corrected) for each in fold
        ]
    return pairs


def _trained(
    request: Request, name: str, recordings: Sequence[Recording], folder: Path, progress: Progress
) -> Model:
    """A model in a folder of its own."""
    folder.mkdir()
    models = folder / "models.json"
    training.fit(_plan(request, name, recordings, folder / "recordings", models), progress)
    return oddsound.load_model(name, models)


def _machine(ledger: Ledger, machine_id: str) -> Machine:
    info = ledger.machine(machine_id)
    return Machine(**{name: getattr(info, name) for name in Machine.model_fields})


def _reviewed(ledger: Ledger, machine: Machine, folder: Path) -> tuple[list[Recording], int]:
    """The reviewed recordings that are there, and how many are not."""
    found: dict[str, Recording] = {}
    gone = 0
    for row in ledger.rows(machine.id):
        if row.review is None or row.review.label == "unusable":
            continue
        file = _fetched(row, folder / f"{len(found)}-{gone}{Path(row.key).suffix}")
        if file is None:
            gone += 1
            continue
        checksum = content_sha256(file)
        corrected = row.review.label == "normal" and bool(row.is_anomaly)
        before = found.get(checksum)
        found[checksum] = Recording(
            file, checksum, row.review.label, corrected or bool(before and before.corrected)
        )
    return list(found.values()), gone


def _fetched(row: HistoryRow, target: Path) -> Path | None:
    """The file of a row, from S3 if it came from there; None if it is not there any more."""
    if row.bucket is None:
        return file if (file := Path(row.key)).is_file() else None
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with translating_errors(f"s3://{row.bucket}/{row.key}"):
            answer = runtime.s3_client().get_object(Bucket=row.bucket, Key=row.key)
            with closing(answer["Body"]) as body, target.open("wb") as copy:
                shutil.copyfileobj(body, copy)
    except MissingError:
        return None
    return target


def _of_folder(folder: Path | None, label: str) -> list[Recording]:
    if folder is None:
        return []
    return [Recording(file, content_sha256(file), label, False) for file in expand([folder])]


def _trained_with(models: Path, model: Model) -> set[str]:
    """Beginnings of the checksums of what a model was trained with, as far as that is known."""
    entries = json.loads(models.read_text(encoding="utf-8")) if models.exists() else {}
    if model.name not in entries:
        return set()
    artifact = Path(resolve_path(str(models), entries[model.name]["model_path"]))
    details = artifact.parent / "training.json"
    if not details.exists():
        return set()
    return set(json.loads(details.read_text(encoding="utf-8"))["recordings"].values())


@dataclass(frozen=True)
class Material:
    """What a new model is trained and compared with.

    normal : recordings that train it; folds : those of them that the old model was not trained
    with, in parts of about the same size
    faults : recordings that the old model was not trained with
    """

    normal: list[Recording]
    folds: list[list[Recording]]
    faults: list[Recording]


def _divided(found: Sequence[Recording], trained_with: set[str]) -> Material:
    """The recordings, each content once. Their content decides about the folds, not their order.

    Faults are never trained with, and what the old model was trained with compares nothing.
    """
    unique = {recording.checksum: recording for recording in found}
    recordings = [unique[checksum] for checksum in sorted(unique)]
    normal = [each for each in recordings if each.label == "normal"]
    fresh = [each for each in recordings if each.checksum[:16] not in trained_with]
    fresh_normal = [each for each in fresh if each.label == "normal"]
    folds = [fresh_normal[number::FOLDS] for number in range(FOLDS)]
    faults = [each for each in fresh if each.label == "fault"]
    return Material(normal, [fold for fold in folds if fold], faults)


def _missing(material: Material, gone: int) -> list[str]:
    """What is missing for a comparison, in sentences."""
    fresh = sum(len(fold) for fold in material.folds)
    largest = max((len(fold) for fold in material.folds), default=0)
    train = len(material.normal) - largest
    sentences = []
    if train < MIN_TRAINING:
        sentences.append(
            f"{train} recordings reviewed as normal can be trained with while others are left out;"
            f" {MIN_TRAINING} are needed. --normal adds a folder."
        )
    if fresh < MIN_NORMAL:
        sentences.append(
            f"{fresh} recordings reviewed as normal are new to the model in use, and compare both"
            f" models; {MIN_NORMAL} are needed."
        )
    if len(material.faults) < MIN_FAULTS:
        sentences.append(
            "No recording is reviewed as a fault: whether the new model still finds faults cannot"
            " be known. --anomalies adds a folder of recordings with faults."
        )
    if sentences and gone:
        sentences.append(f"{gone} reviewed recordings are not there any more.")
    return sentences


def _plan(
    request: Request, name: str, train: Sequence[Recording], folder: Path, models: Path
) -> Plan:
    folder.mkdir()
    for recording in train:
        target = folder / f"{recording.checksum[:16]}{recording.file.suffix.lower()}"
        shutil.copyfile(recording.file, target)
    description = f"Of {request.machine}, from reviewed recordings."
    return Plan(folder, name, models, description=description, links=False, skip_bad=True)


def _score(model: Model, normal: Sequence[Pair], faults: Sequence[Pair], *, is_new: bool) -> Score:
    def alarms(pairs: Sequence[Pair]) -> int:
        return sum(pair.new if is_new else pair.old for pair in pairs)

    counts = (alarms(normal), len(normal), alarms(faults), len(faults))
    return Score(model.name, model.version, *counts)


def _is_anomaly(model: Model, recording: Recording) -> bool:
    try:
        found = pipeline.predict(recording.file, model, runtime.limits())
    except AudioAnomalyError as error:
        raise WorkbenchError(f"{recording.file}: {error}") from error
    if found.is_anomaly is None:
        raise WorkbenchError(f"the model {model.name} has no normal class; it cannot be compared")
    return found.is_anomaly


def _consequences(decision: Decision, corrected: int, still_alarm: int) -> list[str]:
    """What becomes of the corrected false alarms, and which model is used."""
    if not decision.promoted:
        return []
    sentences = []
    if corrected:
        sentences.append(
            f"False alarms that were reviewed as normal: {corrected}. Normal for the new model,"
            f" which is trained with all of them: {corrected - still_alarm}."
        )
    return [*sentences, "The new model is not worse, so it is used from now on."]
