"""This project's detector, trained, saved, loaded and used as a user would do it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import oddsound
from benchmarks.detection.protocol import Detector
from oddsound.predictors import DETECTOR_THRESHOLD, Floats
from oddsound_workbench import model_folder
from oddsound_workbench.learn import recipe as recipes
from oddsound_workbench.learn.plan import Plan, no_progress

NAME = "benchmark"


def fit(train: Sequence[Path]) -> Detector:
    """The model that `oddsound train` would save for these normal recordings.

    The cross-validation of `oddsound train` is left out: it does not change the model. The
    score is the anomaly score of a prediction, with its threshold.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = trained(train, Path(folder))

    def score(paths: Sequence[Path]) -> Floats:
        return np.array([oddsound.predict(path, model).anomaly_score for path in paths], float)

    return Detector(score, model.predictor.threshold or DETECTOR_THRESHOLD)


def trained(train: Sequence[Path], folder: Path) -> oddsound.Model:
    recordings = folder / "normal"
    recordings.mkdir()
    for number, path in enumerate(train):
        (recordings / f"{number:04}{path.suffix}").symlink_to(path.resolve())
    plan = Plan(folder=recordings, name=NAME, models=folder / "models" / "models.json")
    recipe = recipes.choose(plan)
    data = recipe.read(no_progress)
    model_folder.save(model_folder.new_version(plan, recipe.fit(data), data, {}), {})
    return oddsound.load_model(NAME, plan.models)
