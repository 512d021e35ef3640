"""A finished model, evaluated on the recordings of a folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oddsound import pipeline
from oddsound.errors import InvalidAudioError
from oddsound.model import Model
from oddsound.schemas import NORMAL
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable
from oddsound_workbench.learn.classifier_result import ClassifierResult
from oddsound_workbench.learn.dataset import LIMITS, altered_file, seed_of
from oddsound_workbench.learn.detector_result import DetectorResult, groups_of
from oddsound_workbench.learn.plan import Plan
from oddsound_workbench.learn.recordings import Labelled, class_folders, labelled
from oddsound_workbench.learn.results import Result
from oddsound_workbench.learn.robustness import AS_RECORDED


def recordings_for(model: Model, plan: Plan) -> list[Labelled]:
    """The recordings of a plan, labelled. Raises FolderError if they do not fit the model."""
    if plan.pieces is None and class_folders(plan.folder):
        return labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
    if not model.predictor.is_detector:
        raise FolderError(f"{plan.folder} has no subfolder per class, which {model.name} needs")
    return plan.normal_recordings() + plan.anomalous_recordings()


def evaluate_model(
    model: Model,
    plan: Plan,
    recordings: Sequence[Labelled],
    condition: str,
    advance: Callable[[], Any],
) -> Result:
    """Compare a model's predictions with the labels of recordings.

    Every recording is predicted as the service would do it, with the detector for its sample rate
    and its length. What a condition makes impossible to judge, such as a quiet recording that
    becomes silent, is left out under that condition.

    condition : a key of robustness.TITLES; advance : called after each recording
    Raises FolderError if the labels do not fit the model, or a recording cannot be judged.
    """
    found = []
    for recording in recordings:
        found.append(_probabilities(model, recording, condition))
        advance()
    judged = [number for number, each in enumerate(found) if each is not None]
    if not judged:
        raise FolderError(f"no recording can be judged under the condition {condition}")
    recordings = [recordings[number] for number in judged]
    probabilities = np.array([found[number] for number in judged])
    labels = np.array([recording.label for recording in recordings])
    if not model.predictor.is_detector:
        classes = model.predictor.classes
        if unknown := sorted(set(labels.tolist()) - set(classes)):
            raise FolderError(
                f"{plan.folder} has classes that the model does not know: {', '.join(unknown)};"
                f" it knows {', '.join(classes)}"
            )
        folds = np.full(len(labels), "all")
        paths = [recording.path for recording in recordings]
        return ClassifierResult(classes, labels, probabilities, folds, paths)
    scores, is_normal = probabilities[:, 1], labels == NORMAL
    if not is_normal.any():
        raise FolderError(f"{plan.folder} contains no normal recordings")
    anomaly = scores[~is_normal], [r.path for r in recordings if r.label != NORMAL]
    return DetectorResult(
        threshold=model.predictor.threshold or 0,
        normal=(scores[is_normal], [r.path for r in recordings if r.label == NORMAL]),
        anomaly=anomaly,
        detection=anomaly,
        cross_validated=False,
        recordings_per_day=plan.recordings_per_day,
        groups=groups_of(recordings),
    )


def _probabilities(model: Model, recording: Labelled, condition: str) -> list[float] | None:
    """Of every class; None if the condition leaves nothing that can be judged."""
    source: bytes | Path = recording.path
    if condition != AS_RECORDED:
        source = altered_file(recording.path, condition, seed_of(recording.path))
    try:
        prediction = pipeline.predict(source, model, LIMITS)
    except InvalidAudioError as error:
        if condition != AS_RECORDED:
            return None
        raise FolderError(f"{printable(recording.path)}: {error}") from None
    return [prediction.all_probabilities[label] for label in model.predictor.classes]
