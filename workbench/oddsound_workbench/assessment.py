"""`oddsound evaluate`: measures a recipe by cross-validation, or a finished model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from oddsound import runtime
from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import checks, dataset, finished, left_out
from oddsound_workbench.learn import recipe as recipes
from oddsound_workbench.learn.detector import DetectorRecipe
from oddsound_workbench.learn.detector_result import DetectorGroup
from oddsound_workbench.learn.each_class import EachClassAsNormal
from oddsound_workbench.learn.labelled import with_pieces
from oddsound_workbench.learn.plan import Plan, Progress, TrainingData, no_progress
from oddsound_workbench.learn.recipe import Evaluation
from oddsound_workbench.learn.recordings import Labelled, machine_folders
from oddsound_workbench.learn.results import COLUMNS, Result
from oddsound_workbench.learn.robustness import AS_RECORDED
from oddsound_workbench.model_folder import count_trained_on
from oddsound_workbench.report import text
from oddsound_workbench.report.report import Report

MP3_FILES = 10
"""Files of which the bit rate is measured."""


@dataclass(frozen=True)
class Assessment:
    """Metrics for scripts, and a report for people."""

    metrics: dict[str, Any]
    report: Report

    @property
    def text(self) -> str:
        return text.render(self.report)


type Measure = Callable[[str, Callable[[], Any]], Result]
"""Evaluates under a condition of robustness.TITLES.

The second argument is called after each recording that is read again.
"""


def of_recipe(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """Cross-validate the recipe on a folder, or on a folder of machines.

    conditions : keys of robustness.CONDITIONS; the same models are also tested under each
    Raises FolderError if the recordings are not enough.
    """
    if not plan.label_files and (machines := machine_folders(plan.folder)):
        return _with_left_out(_of_machines(plan, machines, progress, conditions), plan)
    title = f"Recipe on {plan.folder_name}"
    with with_pieces(plan, progress) as prepared:
        assessed = _cross_validated(title, recipes.choose(prepared), progress, conditions)
        return _with_left_out(_about_pieces(assessed, prepared), prepared)


def of_each_class(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """Cross-validate detectors that each take one class as normal, all others as anomalies."""
    title = f"Each class of {plan.folder_name} as normal"
    assessed = _cross_validated(title, EachClassAsNormal(plan), progress, conditions)
    return _with_left_out(assessed, plan)


def of_model(plan: Plan, progress: Progress, conditions: Sequence[str] = ()) -> Assessment:
    """Evaluate a finished model on a folder of recordings."""
    window_s = plan.window_s or runtime.registry().get(plan.name).window_s
    with with_pieces(replace(plan, window_s=window_s), progress) as prepared:
        return _about_pieces(_of_model(prepared, progress, conditions), prepared)


def _about_pieces(assessed: Assessment, plan: Plan) -> Assessment:
    """The same with what label files said, if there are any."""
    notes = [*plan.notes, *assessed.report.notes]
    return replace(assessed, report=replace(assessed.report, notes=notes, origins=plan.origins))


def _of_model(plan: Plan, progress: Progress, conditions: Sequence[str]) -> Assessment:
    registry = runtime.registry()
    model = registry.get(plan.name)
    recordings = finished.recordings_for(model, plan)
    _, entry = registry.catalogue.entry(plan.name)
    advance = progress("Checking recordings", len(recordings))
    checked = checks.check(recordings, model.sample_rate, entry.feature_extractor, advance)
    if not plan.skip_bad:
        checks.raise_if_bad([checked])
    recordings = checked.usable

    def measure(condition: str, advance: Callable[[], Any]) -> Result:
        return finished.evaluate_model(model, plan, recordings, condition, advance)

    known = count_trained_on(plan.models, entry, recordings, plan.origins)
    result = measure(AS_RECORDED, progress("Scoring the recordings", len(recordings)))
    report = Report(
        title=f"Model {model.name} {model.version} on {plan.folder_name}",
        method="Each recording was scored by the finished model.",
        facts=[
            ("Recordings", dataset.summarize_headers(recordings).describe()),
            ("Model", f"{model.name}, version {model.version}"),
            ("Classes", ", ".join(model.predictor.classes)),
            ("Model sample rate", f"{model.sample_rate / 1000:g} kHz"),
        ],
        summary=result.summary(),
        notes=checks.left_out([checked]),
        warnings=_warnings(known, len(recordings)),
    )
    assessed = _assessed(report, result, measure, recordings, conditions, progress)
    assessed = replace(assessed, metrics=assessed.metrics | {"trained_on_recordings": known})
    return _with_left_out(assessed, plan)


def _with_left_out(assessed: Assessment, plan: Plan) -> Assessment:
    """The assessment with a note about files in the plan's folders that are no recordings."""
    notes = left_out.sentences(plan.folders, full_paths=plan.links, known=plan.used_label_files)
    if not notes:
        return assessed
    report = replace(assessed.report, notes=[*assessed.report.notes, *notes])
    return Assessment(assessed.metrics | {"left_out": notes}, report)


def _warnings(trained_on: int | None, recordings: int) -> list[str]:
    """Whether a finished model was tested with recordings that trained it."""
    if trained_on is None:
        return [
            "the folder of the model has no training.json, so it is unknown whether the model was"
            " trained on these recordings. If it was, the figures are too good"
        ]
    if not trained_on:
        return []
    return [
        f"{trained_on} of the {recordings} recordings were trained on: their predictions do not"
        " show how the model performs on new recordings"
    ]


def _cross_validated(
    title: str, evaluation: Evaluation, progress: Progress, conditions: Sequence[str]
) -> Assessment:
    data = evaluation.read(progress)
    measure = _measure(evaluation, data, progress)

    result = measure(AS_RECORDED, _nothing)
    report = Report(
        title=title,
        method=evaluation.method,
        facts=evaluation.describe(data),
        summary=result.summary(),
        notes=list(data.check_notes),
    )
    return _assessed(report, result, measure, data.recordings, conditions, progress)


def _measure(evaluation: Evaluation, data: TrainingData, progress: Progress) -> Measure:
    """Fits the models of a cross-validation, which then measure under any condition."""
    folds = {data.settings.sample_rate: evaluation.folds(data, progress)}

    def measure(condition: str, advance: Callable[[], Any]) -> Result:
        compared = data.compared_under(condition)
        rate = compared.settings.sample_rate
        if rate not in folds:
            folds[rate] = evaluation.folds(compared, no_progress)
        return evaluation.evaluate(folds[rate], compared.under(condition, advance))

    return measure


def _of_machines(
    plan: Plan, machines: list[Path], progress: Progress, conditions: Sequence[str]
) -> Assessment:
    detectors = {
        machine.name: DetectorRecipe(
            replace(plan, folder=machine / NORMAL, anomalies=_anomalies(machine))
        )
        for machine in machines
    }
    data = {name: detector.read(progress) for name, detector in detectors.items()}
    each = {name: _measure(detectors[name], data[name], progress) for name in detectors}

    def measure(condition: str, advance: Callable[[], Any]) -> Result:
        return DetectorGroup({name: of_one(condition, advance) for name, of_one in each.items()})

    result = measure(AS_RECORDED, _nothing)
    report = Report(
        title=f"A detector for each machine of {plan.folder_name}",
        method=DetectorRecipe.method,
        facts=[
            (f"{name}: {fact.lower()}", value)
            for name, detector in detectors.items()
            for fact, value in detector.describe(data[name])
        ],
        summary=result.summary(),
        notes=[f"{name}: {note}" for name, each in data.items() for note in each.check_notes],
    )
    recordings = [recording for each in data.values() for recording in each.recordings]
    return _assessed(report, result, measure, recordings, conditions, progress)


def _assessed(
    report: Report,
    result: Result,
    measure: Measure,
    recordings: Sequence[Labelled],
    conditions: Sequence[str],
    progress: Progress,
) -> Assessment:
    """Add the metrics under every condition, if there are conditions."""
    metrics = result.metrics()
    if not conditions:
        return Assessment(metrics, report)
    advance = progress("Scoring degraded recordings", len(conditions) * len(recordings))
    found = {AS_RECORDED: _in_table(result)}
    for condition in conditions:
        found[condition] = _in_table(measure(condition, advance))
    if "mp3_64_kbps" in found:
        found["mp3_64_kbps"]["kbit_per_s"] = _mp3_kbps(recordings[:MP3_FILES])
    return Assessment(metrics | {"robustness": found}, replace(report, robustness=found))


def _in_table(result: Result) -> dict[str, float]:
    """The metrics that a table can show."""
    return {key: value for key, value in result.metrics().items() if key in COLUMNS}


def _mp3_kbps(recordings: Sequence[Labelled]) -> float:
    """Mean bit rate of the recordings as MP3 files, with their headers."""
    files = [dataset.altered_file(r.path, "mp3_64_kbps", [0]) for r in recordings]
    seconds = sum(dataset.summarize_headers(recordings).durations_s)
    return round(8 * sum(map(len, files)) / seconds / 1000, 1)


def _anomalies(machine: Path) -> Path:
    for name in ("abnormal", "anomaly"):
        if (machine / name).is_dir():
            return machine / name
    raise FolderError(f"{machine} has a folder 'normal' but none called 'abnormal' or 'anomaly'")


def _nothing() -> None: ...
