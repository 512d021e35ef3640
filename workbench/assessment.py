"""`audio-anomaly evaluate`: what is measured on which recordings, and what to beware of."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from audio_anomaly import runtime
from audio_anomaly.model import Floats, Model
from audio_anomaly.schemas import ANOMALY, NORMAL

from workbench import dataset, evaluation, report, training
from workbench.dataset import Listening, Rows
from workbench.evaluation import ClassifierResult, DetectorResult
from workbench.recordings import FolderError, Labelled, class_folders, labelled, unlabelled
from workbench.training import Plan, Progress


@dataclass(frozen=True)
class Assessment:
    """Figures for scripts, a text for people, and what to beware of."""

    metrics: dict[str, Any]
    text: str
    warnings: list[str] = field(default_factory=list)


def of_recipe(plan: Plan, progress: Progress) -> Assessment:
    """The training recipe, by cross-validation on a folder, or on one folder per machine."""
    machines = machine_folders(plan.folder)
    if not machines:
        result = training.cross_validate(plan, training.listen(plan, progress), progress)
        return _told(f"The recipe on {plan.folder}", result)
    results = {}
    for machine in machines:
        anomalies = next(
            (p for p in (machine / "abnormal", machine / "anomaly") if p.is_dir()), None
        )
        if anomalies is None:
            raise FolderError(f"{machine} has a folder 'normal' but none called 'abnormal'")
        own = replace(plan, folder=machine / "normal", anomalies=anomalies)
        result = training.cross_validate(own, training.listen(own, progress), progress)
        if isinstance(result, DetectorResult):
            results[machine.name] = result
    return _told_many(f"A detector for each machine of {plan.folder}", results)


def of_each_class(plan: Plan, progress: Progress) -> Assessment:
    """Detectors that each take one class of a folder as normal, all others as anomalies."""
    material = training.listen(plan, progress, for_detectors=True)
    if not material.is_classifier:
        raise FolderError(f"{plan.folder} has no folder per class")
    results = evaluation.one_versus_rest(material.rows, material.choice, plan.threshold, progress)
    return _told_many(f"Each class of {plan.folder} as the normal one", results)


def of_model(plan: Plan, progress: Progress) -> Assessment:
    """A finished model as it is, on a folder of recordings."""
    model = runtime.registry().get(plan.name)
    recordings = _recordings(plan, model)
    listening = Listening(model.sample_rate, model.window_s)
    advance = progress("Listening to the recordings", len(recordings))
    rows = dataset.rows_of(recordings, listening, advance)
    probabilities = _probabilities(model, rows)
    labels = np.array([recording.label for recording in recordings])
    title = f"Model {model.name} {model.version} on {plan.folder}"
    heard = training.heard_in_training(plan.models, model.name, recordings)
    warnings = [
        f"{heard} of the {len(recordings)} recordings were trained on; what is said of them is no"
        " measure of what the model does with others"
    ]
    classes = model.predictor.classes
    if classes == (NORMAL, ANOMALY):
        scores, is_normal = probabilities[:, 1], labels == NORMAL
        if not is_normal.any():
            raise FolderError(f"{plan.folder} holds no normal recordings")
        normal, strange = scores[is_normal], scores[~is_normal]
        splits = [evaluation.aucs(normal, strange)] if len(strange) else []
        threshold = model.predictor.threshold or 0
        result: ClassifierResult | DetectorResult = DetectorResult(
            threshold, normal, strange, splits, len(normal), len(strange)
        )
    else:
        if strangers := sorted(set(labels.tolist()) - set(classes)):
            raise FolderError(
                f"{plan.folder} has classes that the model does not know: {', '.join(strangers)};"
                f" it knows {', '.join(classes)}"
            )
        folds = np.full(len(labels), "all")
        result = ClassifierResult(classes, labels, probabilities, folds, rows.names)
    told = _told(title, result)
    return replace(told, warnings=warnings if heard else [])


def machine_folders(folder: Path) -> list[Path]:
    """Subfolders that each hold a folder called `normal`, as MIMII and DCASE lay them out."""
    return [path for path in class_folders(folder) if (path / NORMAL).is_dir()]


def _recordings(plan: Plan, model: Model) -> list[Labelled]:
    if class_folders(plan.folder):
        return labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
    if model.predictor.classes != (NORMAL, ANOMALY):
        raise FolderError(f"{plan.folder} has no folder per class, which {model.name} needs")
    strange = unlabelled(plan.anomalies, ANOMALY) if plan.anomalies else []
    return unlabelled(plan.folder, NORMAL, plan.group_pattern) + strange


def _probabilities(model: Model, rows: Rows) -> Floats:
    kept = rows.values[:, model.kept]
    scaled: Any = kept if model.scaler is None else model.scaler.transform(kept)
    return evaluation.combined(model.predictor, scaled, rows)[1]


def _told(title: str, result: ClassifierResult | DetectorResult) -> Assessment:
    metrics = result.metrics()
    if isinstance(result, ClassifierResult):
        metrics |= {"classes": list(result.classes), "confusion": result.confusion.tolist()}
    return Assessment(metrics, report.describe(title, result))


def _told_many(title: str, results: dict[str, DetectorResult]) -> Assessment:
    found = evaluation.summary(results)
    width = max(map(len, results))
    lines = [title, "=" * len(title), "", f"{'':{width}}   AUC   pAUC  false alarms  detected"]
    for name, each in [*found["each"].items(), ("mean", found)]:
        lines.append(
            f"{name:>{width}}  {each['auc']:.3f}  {each['pauc']:.3f}"
            f"  {each['false_alarm_rate']:12.1%}  {each['detection_rate']:8.1%}"
        )
    lines += [
        "",
        f"Harmonic mean of all AUC and pAUC: {found['harmonic_mean']:.3f}",
        f"Worst: {found['worst']}, AUC {found['worst_auc']:.3f}, pAUC {found['worst_pauc']:.3f}",
        "",
    ]
    return Assessment(found, "\n".join(lines))
