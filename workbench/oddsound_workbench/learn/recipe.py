"""What a kind of model must offer to be trained and evaluated, and the choice of the kind."""

from collections.abc import Sequence
from typing import Protocol

from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.classifier import ClassifierRecipe
from oddsound_workbench.learn.detector import DetectorRecipe
from oddsound_workbench.learn.fitted import Fitted
from oddsound_workbench.learn.folds import Fold
from oddsound_workbench.learn.plan import Facts, Plan, Progress, TrainingData
from oddsound_workbench.learn.recordings import Labelled, class_folders
from oddsound_workbench.learn.results import Result


class Evaluation(Protocol):
    """What can be cross-validated on the recordings of a plan.

    method : a sentence for the report: which model scored which recordings
    """

    @property
    def method(self) -> str: ...

    def read(self, progress: Progress) -> TrainingData:
        """The features of the recordings. Raises FolderError if they are not enough."""
        ...

    def describe(self, data: TrainingData) -> Facts:
        """What the report states about recordings and model."""
        ...

    def folds(self, data: TrainingData, progress: Progress) -> list[Fold]:
        """Models that were each fitted without some of the recordings."""
        ...

    def evaluate(self, folds: Sequence[Fold], data: TrainingData) -> Result:
        """The recordings, degraded or not, scored by the models that were fitted without them.

        data : as `folds` used it, or the same recordings under another condition
        """
        ...


class Recipe(Evaluation, Protocol):
    """How one kind of model is trained: a classifier or a detector."""

    def check(self, recordings: Sequence[Labelled]) -> None:
        """Raises FolderError if the recordings are not enough to train and to test."""
        ...

    def notes(self, data: TrainingData) -> list[str]:
        """Sentences for the user: how the folder was understood, and the alternative."""
        ...

    def fit(self, data: TrainingData) -> Fitted:
        """The model, fitted to all training recordings."""
        ...


def choose(plan: Plan) -> Recipe:
    """A classifier for a folder with one subfolder per class, otherwise a detector.

    Label files say what is normal, so they always train a detector.

    Raises FolderError if the folder does not exist, or if --anomalies contradicts it.
    """
    folders = [] if plan.label_files else class_folders(plan.folder)
    if not folders:
        return DetectorRecipe(plan)
    if plan.anomalies is not None:
        raise FolderError(
            f"{plan.folder} has a subfolder per class, which trains a classifier, but --anomalies"
            f" is for a detector; to train one, pass only normal recordings, such as {folders[0]}"
        )
    return ClassifierRecipe(plan)
