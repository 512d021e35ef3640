"""`oddsound evaluate`: what is measured on which recordings, and what to beware of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from oddsound import runtime
from oddsound.model import Model
from oddsound.predictors import Floats
from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench import training
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import dataset
from oddsound_workbench.learn import folds as evaluation
from oddsound_workbench.learn.dataset import Listening, Rows
from oddsound_workbench.learn.folds import ClassifierResult, DetectorResult
from oddsound_workbench.learn.recordings import Labelled, class_folders, labelled, unlabelled
from oddsound_workbench.learn.robustness import AS_RECORDED
from oddsound_workbench.report import tables as report
from oddsound_workbench.report.tables import Report, Result
from oddsound_workbench.training import Material, Plan, Progress

MP3_FILES = 10
"""Files of which the bit rate is measured."""


@dataclass(frozen=True)
class Assessment:
    """Figures for scripts, and a report for people."""

    metrics: dict[str, Any]
    report: Report

    @property
    def text(self) -> str:
        return report.text(self.report)


type Trial = Callable[[str, Callable[[], Any]], dict[str, Result]]
"""Results under a condition of robustness.TITLES: one called "", or one for each detector.

The second argument is called after each recording that is listened to again.
"""


def of_recipe(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """The training recipe, by cross-validation on a folder, or on one folder per machine.

    conditions : of robustness.CONDITIONS; the same models are tested again under each
    """
    if machines := machine_folders(plan.folder):
        return _of_machines(plan, machines, progress, conditions)
    material = training.listen(plan, progress)
    models = training.fit_folds(plan, material, progress)

    def trial(condition: str, advance: Callable[[], Any]) -> dict[str, Result]:
        return {"": training.evaluate(plan, models, material.under(condition, advance))}

    written = Report(
        title=f"The recipe on {training.folder_name(plan)}",
        method=training.METHODS[material.is_classifier],
        facts=training.facts(plan, material),
        results=trial(AS_RECORDED, _silent),
    )
    return _assessed(written, trial, _recordings_of(material), conditions, progress)


def _of_machines(
    plan: Plan, machines: list[Path], progress: Progress, conditions: Sequence[str]
) -> Assessment:
    plans, materials, models = {}, {}, {}
    for machine in machines:
        name = machine.name
        plans[name] = replace(plan, folder=machine / NORMAL, anomalies=_anomalies(machine))
        materials[name] = training.listen(plans[name], progress)
        models[name] = training.fit_folds(plans[name], materials[name], progress)

    def trial(condition: str, advance: Callable[[], Any]) -> dict[str, Result]:
        return {
            name: training.evaluate(plans[name], models[name], material.under(condition, advance))
            for name, material in materials.items()
        }

    written = Report(
        title=f"A detector for each machine of {training.folder_name(plan)}",
        method=training.METHODS[False],
        facts=[
            (f"{name}: {question.lower()}", answer)
            for name, material in materials.items()
            for question, answer in training.facts(plans[name], material)
        ],
        results=trial(AS_RECORDED, _silent),
    )
    recordings = [r for material in materials.values() for r in _recordings_of(material)]
    return _assessed(written, trial, recordings, conditions, progress)


def of_each_class(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """Detectors that each take one class of a folder as normal, all others as anomalies."""
    material = training.listen(plan, progress, for_detectors=True)
    if not material.is_classifier:
        raise FolderError(f"{plan.folder} has no folder per class")
    choice, threshold = material.choice, plan.threshold
    with threadpool_limits(1):
        models = evaluation.fit_one_versus_rest(material.rows, choice, threshold, progress)

    def trial(condition: str, advance: Callable[[], Any]) -> dict[str, Result]:
        rows = material.under(condition, advance).rows
        return dict(evaluation.evaluate_one_versus_rest(models, rows, choice, threshold))

    written = Report(
        title=f"Each class of {training.folder_name(plan)} as the normal one",
        method="For each class a detector learned its recordings as normal, and judged a fold"
        " that it had not heard, the other classes as anomalies.",
        facts=training.facts(plan, replace(material, is_classifier=False)),
        results=trial(AS_RECORDED, _silent),
    )
    return _assessed(written, trial, _recordings_of(material), conditions, progress)


def of_model(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """A finished model as it is, on a folder of recordings."""
    model = runtime.registry().get(plan.name)
    recordings = _recordings(plan, model)
    listening = Listening(model.sample_rate, model.window_s)

    def trial(condition: str, advance: Callable[[], Any]) -> dict[str, Result]:
        heard = listening if condition == AS_RECORDED else listening.under(condition)
        return {"": _judged(plan, model, dataset.rows_of(recordings, heard, advance))}

    heard = training.heard_in_training(plan.models, model.name, recordings)
    warnings = [
        f"{heard} of the {len(recordings)} recordings were trained on; what is said of them is no"
        " measure of what the model does with others"
    ]
    written = Report(
        title=f"Model {model.name} {model.version} on {training.folder_name(plan)}",
        method="Each recording was judged by the finished model.",
        facts=[
            ("Recordings", training.amount(dataset.survey(recordings))),
            ("Model", f"{model.name}, version {model.version}"),
            ("Classes", ", ".join(model.predictor.classes)),
            ("Listens at", f"{model.sample_rate / 1000:g} kHz"),
        ],
        results=trial(AS_RECORDED, progress("Listening to the recordings", len(recordings))),
        warnings=warnings if heard else [],
    )
    return _assessed(written, trial, recordings, conditions, progress)


def machine_folders(folder: Path) -> list[Path]:
    """Subfolders that each hold a folder called `normal`, as MIMII and DCASE lay them out."""
    return [path for path in class_folders(folder) if (path / NORMAL).is_dir()]


def _assessed(
    written: Report,
    trial: Trial,
    recordings: Sequence[Labelled],
    conditions: Sequence[str],
    progress: Progress,
) -> Assessment:
    """With the figures of every condition, where there are any."""
    metrics = _metrics(written.results)
    if not conditions:
        return Assessment(metrics, written)
    advance = progress("Listening to altered recordings", len(conditions) * len(recordings))
    found = {AS_RECORDED: _figures(written.results)}
    for condition in conditions:
        found[condition] = _figures(trial(condition, advance))
    if "mp3_64_kbps" in found:
        found["mp3_64_kbps"]["kbit_per_s"] = _mp3_kbps(recordings[:MP3_FILES])
    return Assessment(metrics | {"robustness": found}, replace(written, robustness=found))


def _metrics(results: dict[str, Result]) -> dict[str, Any]:
    if "" not in results:
        return evaluation.summary(report.detectors(results))
    result = results[""]
    metrics = result.metrics()
    if isinstance(result, ClassifierResult):
        metrics |= {"classes": list(result.classes), "confusion": result.confusion.tolist()}
    return metrics


def _figures(results: dict[str, Result]) -> dict[str, float]:
    """Those of `_metrics` that a table has a column for."""
    return {k: value for k, value in _metrics(results).items() if k in report.COLUMNS}


def _mp3_kbps(recordings: Sequence[Labelled]) -> float:
    """What MP3 files of the recordings hold per second of sound, headers included."""
    files = [dataset.altered_file(r.path, "mp3_64_kbps", [0]) for r in recordings]
    seconds = sum(dataset.survey(recordings).durations_s)
    return round(8 * sum(map(len, files)) / seconds / 1000, 1)


def _judged(plan: Plan, model: Model, rows: Rows) -> Result:
    probabilities = _probabilities(model, rows)
    labels = np.array([recording.label for recording in rows.recordings])
    classes = model.predictor.classes
    if classes != (NORMAL, ANOMALY):
        if strangers := sorted(set(labels.tolist()) - set(classes)):
            raise FolderError(
                f"{plan.folder} has classes that the model does not know: {', '.join(strangers)};"
                f" it knows {', '.join(classes)}"
            )
        return ClassifierResult(
            classes, labels, probabilities, np.full(len(labels), "all"), rows.paths
        )
    scores, is_normal = probabilities[:, 1], labels == NORMAL
    if not is_normal.any():
        raise FolderError(f"{plan.folder} holds no normal recordings")
    normal, strange = scores[is_normal], scores[~is_normal]
    return DetectorResult(
        threshold=model.predictor.threshold or 0,
        normal=normal,
        anomaly=strange,
        normal_paths=[r.path for r in rows.recordings if r.label == NORMAL],
        anomaly_paths=[r.path for r in rows.recordings if r.label != NORMAL],
        splits=[evaluation.aucs(normal, strange)] if len(strange) else [],
    )


def _recordings(plan: Plan, model: Model) -> list[Labelled]:
    if class_folders(plan.folder):
        return labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
    if model.predictor.classes != (NORMAL, ANOMALY):
        raise FolderError(f"{plan.folder} has no folder per class, which {model.name} needs")
    strange = unlabelled(plan.anomalies, ANOMALY) if plan.anomalies else []
    return unlabelled(plan.folder, NORMAL, plan.group_pattern) + strange


def _recordings_of(material: Material) -> list[Labelled]:
    strange = material.anomaly.recordings if material.anomaly else ()
    return [*material.rows.recordings, *strange]


def _anomalies(machine: Path) -> Path:
    for name in ("abnormal", "anomaly"):
        if (machine / name).is_dir():
            return machine / name
    raise FolderError(f"{machine} has a folder 'normal' but none called 'abnormal'")


def _probabilities(model: Model, rows: Rows) -> Floats:
    kept = rows.values[:, model.kept]
    scaled: Any = kept if model.scaler is None else model.scaler.transform(kept)
    return evaluation.combined(model.predictor, scaled, rows)[1]


def _silent() -> None: ...
