"""A finished model, evaluated on the recordings of a folder."""

import numpy as np

from oddsound.model import Model
from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.classifier_result import ClassifierResult
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.detector_result import DetectorResult, groups_of
from oddsound_workbench.learn.folds import combine_windows
from oddsound_workbench.learn.plan import Plan
from oddsound_workbench.learn.recordings import Labelled, class_folders, labelled
from oddsound_workbench.learn.results import Result


def recordings_for(model: Model, plan: Plan) -> list[Labelled]:
    """The recordings of a plan, labelled. Raises FolderError if they do not fit the model."""
    if plan.pieces is None and class_folders(plan.folder):
        return labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
    if not model.predictor.is_detector:
        raise FolderError(f"{plan.folder} has no subfolder per class, which {model.name} needs")
    return plan.normal_recordings() + plan.anomalous_recordings()


def evaluate_model(model: Model, plan: Plan, rows: Rows) -> Result:
    """Compare a model's predictions with the labels of recordings.

    rows : all features of the extractor, without copies
    Raises FolderError if the labels do not fit the model.
    """
    kept = rows.values[:, model.kept]
    probabilities = combine_windows(model.predictor, model.scaled(kept), rows)[1]
    labels = rows.recording_labels
    if not model.predictor.is_detector:
        classes = model.predictor.classes
        if unknown := sorted(set(labels.tolist()) - set(classes)):
            raise FolderError(
                f"{plan.folder} has classes that the model does not know: {', '.join(unknown)};"
                f" it knows {', '.join(classes)}"
            )
        folds = np.full(len(labels), "all")
        return ClassifierResult(classes, labels, probabilities, folds, rows.paths)
    scores, is_normal = probabilities[:, 1], labels == NORMAL
    if not is_normal.any():
        raise FolderError(f"{plan.folder} contains no normal recordings")
    anomaly = scores[~is_normal], [r.path for r in rows.recordings if r.label != NORMAL]
    return DetectorResult(
        threshold=model.predictor.threshold or 0,
        normal=(scores[is_normal], [r.path for r in rows.recordings if r.label == NORMAL]),
        anomaly=anomaly,
        detection=anomaly,
        cross_validated=False,
        recordings_per_day=plan.recordings_per_day,
        groups=groups_of(rows.recordings),
    )
