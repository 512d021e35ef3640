"""`oddsound retrain`: a new model from what people reviewed, used only if it is not worse."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
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

MIN_TRAINING, MIN_NORMAL, MIN_FAULTS = 10, 4, 1
"""Normal recordings to train with; normal and faulty recordings to compare the models with."""

TEST_SHARE = 3
"""One in so many normal recordings is kept for the comparison; its content decides which."""

PAGE = 1000


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
        train, test = _divided(found, _trained_with(request.models, old))
        if missing := _missing(train, test, gone):
            reason = "There are not enough reviewed recordings to train and to compare."
            return Retrained(machine.id, name, False, [reason, *missing], missing=missing)
        new = _trained(request, name, train, folder / "compared", progress)
        scores = _score(old, test), _score(new, test)
        everything = [*train, *(each for each in test if each.label == "normal")]
        corrected = [recording for recording in everything if recording.corrected]
        final = (
            new
            if _is_worse(*scores)
            else _trained(request, name, everything, folder / "final", progress)
        )
        still = sum(_is_anomaly(final, recording) for recording in corrected)
        detected = _score(final, test).detected
        reasons, promoted = _compared(*scores, len(corrected), still, detected)
        if promoted:
            # The same recordings and seed give the same model, now in its place.
            plan = _plan(request, name, everything, folder / "promoted", request.models)
            training.train(plan, progress)
            ledger.register(machine.model_copy(update={"model_name": name}))
    return Retrained(machine.id, name, promoted, reasons, *scores, len(corrected), still)


def _trained(
    request: Request, name: str, recordings: Sequence[Recording], folder: Path, progress: Progress
) -> Model:
    """A model in a folder of its own."""
    folder.mkdir()
    models = folder / "models.json"
    training.train(_plan(request, name, recordings, folder / "recordings", models), progress)
    return oddsound.load_model(name, models)


def _machine(ledger: Ledger, machine_id: str) -> Machine:
    info = ledger.machine(machine_id)
    return Machine(**{name: getattr(info, name) for name in Machine.model_fields})


def _reviewed(ledger: Ledger, machine: Machine, folder: Path) -> tuple[list[Recording], int]:
    """The reviewed recordings that are there, and how many are not."""
    found: dict[str, Recording] = {}
    gone = 0
    for row in _rows(ledger, machine.id):
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


def _rows(ledger: Ledger, machine_id: str) -> Iterator[HistoryRow]:
    before: str | None = None
    while True:
        page = ledger.history(machine_id, PAGE, before)
        yield from page.rows
        if (before := page.next) is None:
            return


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


def _divided(
    found: Sequence[Recording], trained_with: set[str]
) -> tuple[list[Recording], list[Recording]]:
    """Recordings to train with, and those to compare the models with.

    Faults are never trained with, and what the old model was trained with compares nothing. A
    corrected false alarm is divided as all others are: the comparison would otherwise only have
    recordings that are normal for the old model.
    """
    train, test = [], []
    for recording in {recording.checksum: recording for recording in found}.values():
        known = recording.checksum[:16] in trained_with
        if recording.label == "fault":
            test += [] if known else [recording]
        elif known or int(recording.checksum[:8], 16) % TEST_SHARE:
            train.append(recording)
        else:
            test.append(recording)
    return train, test


def _missing(train: Sequence[Recording], test: Sequence[Recording], gone: int) -> list[str]:
    """What is missing for a comparison, in sentences."""
    normal = sum(recording.label == "normal" for recording in test)
    faults = len(test) - normal
    sentences = []
    if len(train) < MIN_TRAINING:
        sentences.append(
            f"{len(train)} recordings reviewed as normal can be trained with; {MIN_TRAINING} are"
            f" needed. One in {TEST_SHARE} is kept for the comparison. --normal adds a folder."
        )
    if normal < MIN_NORMAL:
        sentences.append(
            f"{normal} recordings reviewed as normal are kept for the comparison; {MIN_NORMAL} are"
            f" needed: review about {TEST_SHARE * (MIN_NORMAL - normal)} more."
        )
    if faults < MIN_FAULTS:
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


def _score(model: Model, test: Sequence[Recording]) -> Score:
    normal = [recording for recording in test if recording.label == "normal"]
    faults = [recording for recording in test if recording.label == "fault"]
    return Score(
        model.name,
        model.version,
        false_alarms=sum(_is_anomaly(model, recording) for recording in normal),
        normal=len(normal),
        detected=sum(_is_anomaly(model, recording) for recording in faults),
        faults=len(faults),
    )


def _is_anomaly(model: Model, recording: Recording) -> bool:
    try:
        found = pipeline.predict(recording.file, model, runtime.limits())
    except AudioAnomalyError as error:
        raise WorkbenchError(f"{recording.file}: {error}") from error
    if found.is_anomaly is None:
        raise WorkbenchError(f"the model {model.name} has no normal class; it cannot be compared")
    return found.is_anomaly


def _is_worse(old: Score, new: Score) -> bool:
    return new.false_alarms > old.false_alarms or new.detected < old.detected


def _compared(
    old: Score, new: Score, corrected: int, still_alarm: int, detected: int
) -> tuple[list[str], bool]:
    """The reasons, in sentences, and whether the new model is not worse.

    detected : faults that are detected after training with all normal recordings
    """
    reasons = [
        f"False alarms, of {old.normal} normal recordings that neither model was trained with:"
        f" {new.false_alarms} instead of {old.false_alarms}.",
        f"Faults detected, of {old.faults}: {new.detected} instead of {old.detected}.",
    ]
    if _is_worse(old, new):
        return [*reasons, "The new model is worse, so the old one stays in use."], False
    if detected < old.detected:
        reasons.append(
            f"After training with all {old.normal} of them too, it detects only {detected} faults,"
            " so the old one stays in use."
        )
        return reasons, False
    if corrected:
        reasons.append(
            f"Of {corrected} false alarms that were reviewed as normal, {corrected - still_alarm}"
            " are normal for it after training with all of them."
        )
    return [*reasons, "The new model is not worse, so it is used from now on."], True
