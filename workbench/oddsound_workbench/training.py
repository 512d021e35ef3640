"""Folder of recordings -> artifacts, an entry in models.json, and a report."""

import inspect
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import joblib
import sklearn
from threadpoolctl import threadpool_limits

from oddsound import catalogue
from oddsound.artifacts import digest
from oddsound.errors import ModelsConfigError
from oddsound.features import extractor
from oddsound.predictors import DETECTOR_THRESHOLD
from oddsound.schemas import ANOMALY, NORMAL, ModelEntry
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import content_sha256, replace_file
from oddsound_workbench.learn import classifier, dataset, detector
from oddsound_workbench.learn import folds as evaluation
from oddsound_workbench.learn import recipe as recipes
from oddsound_workbench.learn.dataset import Listening, Rows, Survey
from oddsound_workbench.learn.folds import ClassifierResult, DetectorResult, Fold
from oddsound_workbench.learn.recipe import FeatureChoice, Fitted
from oddsound_workbench.learn.recordings import Labelled, class_folders, labelled, unlabelled
from oddsound_workbench.learn.robustness import AS_RECORDED
from oddsound_workbench.report import page, plots
from oddsound_workbench.report import tables as report
from oddsound_workbench.report.tables import Report

METRICS_IN_ENTRY = ("accuracy", "auc", "pauc", "log_loss", "false_alarm_rate", "detection_rate")


@dataclass(frozen=True)
class Plan:
    """What to train, on what, and how.

    folder : a subfolder per class for a classifier; normal recordings alone for a detector
    anomalies : recordings that only evaluate a detector
    fixed_gain : whether every recording, now and later, is made at the same gain
    window_s : None for the median duration of the recordings
    links : whether the page of the report leads to the recordings, or names them alone
    """

    folder: Path
    name: str
    models: Path
    anomalies: Path | None = None
    group_pattern: str | None = None
    fold_pattern: str | None = None
    sample_rate: int = 16000
    window_s: float | None = None
    copies: int = classifier.COPIES
    threshold: float = DETECTOR_THRESHOLD
    fixed_gain: bool = False
    seed: int = 0
    description: str = ""
    version: str | None = None
    links: bool = True


@dataclass(frozen=True)
class Trained:
    """What training left behind. report : its text"""

    entry: ModelEntry
    folder: Path
    result: ClassifierResult | DetectorResult
    report: str


type Progress = Callable[[str, int], Callable[[], Any]]
"""Given a step's name and its length, gives what to call after each unit of it."""


def _silent(_step: str, _total: int) -> Callable[[], None]:
    return lambda: None


@dataclass(frozen=True)
class Material:
    """What there is to train on and to test with.

    anomaly : for a detector, the recordings that only evaluate it
    survey : of the recordings that it is trained on
    """

    is_classifier: bool
    rows: Rows
    anomaly: Rows | None
    choice: FeatureChoice
    listening: Listening
    survey: Survey

    def under(self, condition: str, advance: Callable[[], Any]) -> "Material":
        """The same recordings under a condition of robustness.TITLES; altered ones get no copies.

        advance : called after each recording that is listened to again
        """
        if condition == AS_RECORDED:
            return self
        listening = self.listening.under(condition)
        rows = dataset.rows_of(self.rows.recordings, listening, advance)
        strange = self.anomaly and dataset.rows_of(self.anomaly.recordings, listening, advance)
        return replace(self, rows=rows, anomaly=strange, listening=listening)


def train(plan: Plan, progress: Progress = _silent) -> Trained:
    """Train, measure, and write the model. models.json is replaced last, in one step.

    The same recordings and seed give the same bytes, on the same machine and versions.
    Raises FolderError where the recordings do not suffice.
    """
    _check_name(plan.name)
    _current_entries(plan.models)
    material = listen(plan, progress)
    done = progress("Fitting the model", 1)
    fitted = fit(plan, material)
    done()
    result = cross_validate(plan, material, progress)
    folder = plan.models.parent / plan.name
    version = plan.version or date.today().isoformat()
    written = Report(
        title=f"Model {plan.name}",
        method=METHODS[material.is_classifier],
        facts=[*facts(plan, material), ("Version", version), ("Made", date.today().isoformat())],
        results={"": result},
    )
    text = report.text(written)
    replace_file(folder / "report.txt", text.encode())
    replace_file(folder / "report.png", plots.png(written.title, result))
    page.write(written, folder / "report.html", links=plan.links)
    entry = _write(plan, folder, fitted, material, result)
    return Trained(entry, folder, result, text)


METHODS = {
    True: "Each recording was judged by a model that had not heard its fold.",
    False: "Normal recordings were judged by models that had not heard them, in repeated splits.",
}
"""Who judged, in a cross-validation of a classifier (True) or of a detector."""


def facts(plan: Plan, material: Material) -> list[tuple[str, str]]:
    """What a reader asks about the recordings and the recipe, and the answers."""
    recordings = material.rows.recordings
    counts = Counter(recording.label for recording in recordings)
    told = [("Folder", folder_name(plan)), ("Recordings", amount(material.survey))]
    if material.is_classifier:
        told.append(("Classes", ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))))
    elif material.anomaly is not None:
        strange = f"{len(material.anomaly.recordings)} anomalous recordings, which trained nothing"
        told.append(("Tested with", strange))
    groups = len({recording.group for recording in recordings})
    recipe = classifier.fit_classifier if material.is_classifier else detector.fit_detector
    told += [
        ("Groups", f"{groups}, none of them on both sides of a split"),
        (
            "Listens at",
            f"{plan.sample_rate / 1000:g} kHz, {material.listening.window_s:g} s a time",
        ),
        ("Loudness", "counts: the gain was said to be fixed" if plan.fixed_gain else "is ignored"),
        ("Recipe", (inspect.getdoc(recipe) or "").partition("\n\n")[0]),
    ]
    if material.is_classifier:
        told.append(("Augmented copies", f"{plan.copies} of each recording, for training only"))
    return told


def folder_name(plan: Plan) -> str:
    """As it was typed; its name alone where the report is to be passed on."""
    return str(plan.folder) if plan.links else plan.folder.resolve().name


def amount(survey: Survey) -> str:
    """How many recordings there are, how long, and at which sample rates."""
    seconds = sum(survey.durations_s)
    length = f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min"
    rates = ", ".join(
        f"{n} at {rate / 1000:g} kHz" for rate, n in survey.sample_rates.most_common()
    )
    return f"{len(survey.durations_s)}, {length} in all: {rates}"


def listen(plan: Plan, progress: Progress = _silent, *, for_detectors: bool = False) -> Material:
    """Read the recordings of a plan. Raises FolderError where they do not suffice.

    for_detectors : copy them as detectors need it, even where there is a folder per class
    """
    choice = FeatureChoice.of(extractor("default", plan.sample_rate), fixed_gain=plan.fixed_gain)
    folders = class_folders(plan.folder)
    if folders and plan.anomalies is not None:
        raise FolderError(
            f"{plan.folder} holds a folder per class, which makes a classifier; --anomalies"
            f" belongs to a folder of normal recordings, such as {folders[0]}"
        )
    if folders:
        recordings = labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
        strange: list[Labelled] = []
    else:
        recordings = unlabelled(plan.folder, NORMAL, plan.group_pattern)
        strange = unlabelled(plan.anomalies, ANOMALY) if plan.anomalies else []
    (recipes.check_classes if folders else recipes.check_normals)(recordings)
    survey = dataset.survey(recordings)
    window_s = plan.window_s or survey.median_duration_s
    listening = Listening(plan.sample_rate, window_s, seed=plan.seed)
    copies, alteration = plan.copies, "varied"
    if for_detectors or not folders:
        copies, alteration = detector.KNOCKED_COPIES, "knocked"
    copied = replace(listening, copies=copies, alteration=alteration)
    advance = progress("Listening to the recordings", len(recordings) + len(strange))
    rows = dataset.rows_of(recordings, copied, advance)
    anomaly = dataset.rows_of(strange, listening, advance) if strange else None
    return Material(bool(folders), rows, anomaly, choice, listening, survey)


def fit(plan: Plan, material: Material) -> Fitted:
    """The model of a plan, fitted to all that there is to train on."""
    with threadpool_limits(1):
        return _fit(plan, material)


def _fit(plan: Plan, material: Material) -> Fitted:
    if not material.is_classifier:
        return detector.fit_detector(material.rows, material.choice, plan.threshold)
    fitted = classifier.fit_classifier(material.rows, material.choice, plan.seed)
    if NORMAL in fitted.fields["classes"]:
        fitted.fields["normal_label"] = NORMAL
    return fitted


def cross_validate(
    plan: Plan, material: Material, progress: Progress = _silent
) -> ClassifierResult | DetectorResult:
    """How well the recipe does on recordings that are left out of the fit."""
    return evaluate(plan, fit_folds(plan, material, progress), material)


def fit_folds(plan: Plan, material: Material, progress: Progress = _silent) -> list[Fold]:
    """Models that each have not seen some of the recordings."""
    step = "Fitting models to test on unseen recordings"
    rows, choice = material.rows, material.choice
    # Hundreds of small decompositions: on a busy machine, threads of BLAS that wait for each
    # other made them 4 to 20 times slower.
    with threadpool_limits(1):
        if not material.is_classifier:
            advance = progress(step, evaluation.detector_splits(len(rows.recordings)))
            return evaluation.fit_detector_folds(rows, choice, plan.threshold, plan.seed, advance)
        folds = {recording.fold for recording in rows.recordings}
        advance = progress(step, evaluation.FOLDS if None in folds else len(folds))
        return evaluation.fit_classifier_folds(rows, choice, plan.seed, advance)


def evaluate(
    plan: Plan, models: Sequence[Fold], material: Material
) -> ClassifierResult | DetectorResult:
    """Each recording, altered or not, judged by the models of `fit_folds` that know it not."""
    with threadpool_limits(1):
        if material.is_classifier:
            return evaluation.evaluate_classifier(models, material.rows, material.choice)
        return evaluation.evaluate_detector(
            models, material.rows, material.anomaly, material.choice, plan.threshold
        )


def _write(
    plan: Plan,
    folder: Path,
    fitted: Fitted,
    material: Material,
    result: ClassifierResult | DetectorResult,
) -> ModelEntry:
    artifacts = {
        "model": fitted.estimator,
        "scaler": fitted.scaler,
        "label_encoder": fitted.label_encoder,
        "dropped_features": list(material.choice.dropped) or None,
    }
    paths, checksums = {}, {}
    for kind, artifact in artifacts.items():
        if artifact is None:
            continue
        data = _dumped(artifact)
        replace_file(folder / f"{kind}.joblib", data)
        paths[f"{kind}_path"] = f"{plan.name}/{kind}.joblib"
        checksums[f"{kind}_path"] = digest(data)
    metrics = {k: round(v, 4) for k, v in result.metrics().items() if k in METRICS_IN_ENTRY}
    entry = ModelEntry(
        **paths,
        feature_extractor="default",
        predictor=fitted.predictor_name,
        sha256=checksums,
        sample_rate=plan.sample_rate,
        window_s=material.listening.window_s,
        version=plan.version or date.today().isoformat(),
        sklearn_version=sklearn.__version__,
        description=plan.description,
        metrics=metrics,
        **fitted.fields,
    )
    heard = {
        str(recording.path.relative_to(plan.folder)): content_sha256(recording.path)[:16]
        for recording in material.rows.recordings
    }
    details = {"seed": plan.seed, "metrics": result.metrics(), "recordings": heard}
    replace_file(folder / "training.json", _json(details))
    entries = {**_current_entries(plan.models), plan.name: _entry_json(entry)}
    replace_file(plan.models, _json(dict(sorted(entries.items()))))
    return entry


def heard_in_training(models: Path, name: str, recordings: Sequence[Labelled]) -> int:
    """How many of the recordings the model called `name` was trained on, by content."""
    details = models.parent / name / "training.json"
    if not details.exists():
        return 0
    heard = set(json.loads(details.read_text(encoding="utf-8"))["recordings"].values())
    return sum(content_sha256(recording.path)[:16] in heard for recording in recordings)


def _dumped(artifact: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(artifact, file, compress=3)
    return file.getvalue()


def _entry_json(entry: ModelEntry) -> Any:
    return entry.model_dump(mode="json", exclude_none=True)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _check_name(name: str) -> None:
    if (
        not name
        or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)
        or name[0] == "."
    ):
        raise FolderError(
            f"{name!r} cannot name a model: letters, digits, '-', '_' and '.' can, not '.' first"
        )


def _current_entries(models: Path) -> dict[str, Any]:
    """The entries of models.json as they stand; a broken file is not overwritten."""
    if not models.exists():
        return {}
    text = models.read_bytes()
    try:
        catalogue.parse(text, str(models))
    except ModelsConfigError as error:
        raise FolderError(f"{error}; fix or delete the file first") from None
    entries: Any = catalogue.parse_json(text, str(models))
    return dict(entries)
