"""`oddsound train`: a folder of recordings -> a saved model with a report."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from oddsound.schemas import ModelEntry
from oddsound_workbench import model_folder
from oddsound_workbench.learn import left_out
from oddsound_workbench.learn import recipe as recipes
from oddsound_workbench.learn.labelled import with_pieces
from oddsound_workbench.learn.plan import Plan, Progress, no_progress
from oddsound_workbench.learn.results import Result
from oddsound_workbench.report import page, plots, text
from oddsound_workbench.report.report import Report

__all__ = ["Plan", "Trained", "fit", "train"]


@dataclass(frozen=True)
class Trained:
    """A saved model.

    folder : of the artifacts and the report of this version
    report : its text
    notes : how the folder was understood, for the user; the report contains them too
    """

    entry: ModelEntry
    folder: Path
    result: Result
    report: str
    notes: list[str]


def train(plan: Plan, progress: Progress = no_progress) -> Trained:
    """Train a model, evaluate its recipe by cross-validation, and save both.

    models.json is replaced last and atomically. The same recordings and seed give the same
    bytes, on the same machine and with the same versions of the libraries.
    Raises FolderError if the recordings are not enough or a file cannot be written, and
    ModelsConfigError if models.json is not usable.
    """
    model_folder.check_target(plan)
    with with_pieces(plan, progress) as prepared:
        return _trained(prepared, progress)


def fit(plan: Plan, progress: Progress = no_progress) -> None:
    """Train and save a model, without evaluating it and without a report: for a comparison.

    The same recordings and seed give the model of `train`. Raises the errors of `train`.
    """
    model_folder.check_target(plan)
    with with_pieces(plan, progress) as prepared:
        recipe = recipes.choose(prepared)
        data = recipe.read(progress)
        model_folder.save(model_folder.new_version(prepared, recipe.fit(data), data, {}), {})


def _trained(plan: Plan, progress: Progress) -> Trained:
    recipe = recipes.choose(plan)
    data = recipe.read(progress)
    others = left_out.sentences(plan.folders, full_paths=plan.links, known=plan.used_label_files)
    notes = [*recipe.notes(data), *plan.notes, *data.check_notes, *others]
    facts = recipe.describe(data)
    done = progress("Fitting the model", 1)
    fitted = recipe.fit(data)
    done()
    result = recipe.evaluate(recipe.folds(data, progress), data)
    metrics, summary = result.metrics(), result.summary()
    new = model_folder.new_version(plan, fitted, data, metrics)
    today = date.today().isoformat()
    report = Report(
        title=f"Model {plan.name}",
        method=recipe.method,
        facts=[*facts, ("Version", new.entry.version), ("Trained on", today)],
        summary=summary,
        notes=notes,
        origins=plan.origins,
    )
    documents = {
        "report.txt": text.render(report).encode(),
        "report.png": plots.png(report.title, summary.charts),
        "report.html": page.render(
            report, new.folder, links=plan.links, readme=new.folder.parent / "README.md"
        ).encode(),
        "training.json": model_folder.training_details(plan, data, metrics),
    }
    model_folder.save(new, documents)
    return Trained(new.entry, new.folder, result, documents["report.txt"].decode(), notes)
