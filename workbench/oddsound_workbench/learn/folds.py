"""Cross-validation: how recordings are split, and how held-out recordings are scored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from oddsound.predictors import Floats, Predictor
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.fitted import FeatureChoice, Fitted

FOLDS = 5
MIN_GROUPS_OUTSIDE = 2
"""Groups of a class that must be outside each fold, because calibration leaves one out."""

REPEATS = 4
SINGLE_PASS_FROM = 41
"""Normal recordings from which the splits are not repeated: their results vary little."""


@dataclass(frozen=True)
class Fold:
    """A model, and the recordings that it was not trained on.

    held_out : mask over the recordings [shape=(recordings,)]
    normal_class : the class that was taken as normal, if each class is in turn
    """

    name: str
    held_out: NDArray[np.bool_]
    fitted: Fitted
    normal_class: str | None = None


def score(fitted: Fitted, rows: Rows, choice: FeatureChoice) -> tuple[NDArray[np.intp], Floats]:
    """Indices of the recordings in `rows`, and their probabilities, windows combined."""
    scaled = fitted.scaler.transform(rows.values[:, choice.kept])
    return combine_windows(fitted.predictor(), scaled, rows)


def combine_windows(
    predictor: Predictor, scaled: Floats, rows: Rows
) -> tuple[NDArray[np.intp], Floats]:
    """Probabilities of recordings from those of their windows, as a prediction combines them."""
    windows = predictor.probabilities(np.asarray(scaled, dtype=np.float64))
    recordings = np.unique(rows.owner)
    parts = [windows[rows.owner == recording] for recording in recordings]
    whole = [part[0] if len(part) == 1 else predictor.combine(part) for part in parts]
    return recordings, np.stack(whole)


def class_folds(rows: Rows, seed: int) -> NDArray[np.str_]:
    """Fold of each recording: its own, or one of five stratified folds that keep groups together.

    Raises FolderError if some class could not be trained without some fold.
    """
    labels = rows.recording_labels
    if all(recording.fold is not None for recording in rows.recordings):
        folds = np.array([str(recording.fold) for recording in rows.recordings])
        if len(set(folds.tolist())) < 2:
            raise FolderError(f"the fold pattern finds only one fold: {folds[0]!r}")
        _check_folds(rows, labels, folds)
        return folds
    groups = rows.recording_groups
    smallest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    if smallest < 2:
        raise FolderError("the recordings of a class are one group; a test needs two groups")
    splitter = StratifiedGroupKFold(min(FOLDS, smallest), shuffle=True, random_state=seed)
    folds = np.empty(len(labels), dtype="<U8")
    for number, (_, test) in enumerate(splitter.split(labels, labels, groups), 1):
        folds[test] = str(number)
    return folds


def normal_splits(normal: Rows, seed: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of the held-out recordings of repeated splits that keep groups together."""
    groups = normal.recording_groups
    count = min(FOLDS, len(set(groups.tolist())))
    for repeat in range(number_of_splits(len(groups)) // count):
        folds = GroupKFold(count, shuffle=True, random_state=seed + repeat)
        for _, test in folds.split(groups, groups=groups):
            held_out = np.zeros(len(groups), dtype=bool)
            held_out[test] = True
            yield held_out


def number_of_splits(recordings: int) -> int:
    """How many splits `normal_splits` makes of so many recordings of a group each."""
    if recordings < FOLDS:
        return recordings * REPEATS
    return FOLDS if recordings >= SINGLE_PASS_FROM else FOLDS * REPEATS


def _check_folds(rows: Rows, labels: NDArray[np.str_], folds: NDArray[np.str_]) -> None:
    groups = rows.recording_groups
    for label in sorted(set(labels.tolist())):
        for fold in sorted(set(folds.tolist())):
            outside = len(set(groups[(labels == label) & (folds != fold)]))
            if outside < MIN_GROUPS_OUTSIDE:
                raise FolderError(
                    f"outside fold {fold}, the class {label!r} has {outside} recordings (those of"
                    f" one group count once); training needs {MIN_GROUPS_OUTSIDE}. Leave out"
                    " --fold-pattern to use folds that fit"
                )
