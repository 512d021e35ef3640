"""A detector for each class in turn: its recordings are normal, all other classes anomalies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from threadpoolctl import threadpool_limits

from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn import plan as plans
from oddsound_workbench.learn.classifier import check_classes
from oddsound_workbench.learn.detector import EXTRACTOR, anomaly_scores, fit_detector
from oddsound_workbench.learn.detector_result import DetectorGroup, DetectorResult, Split, groups_of
from oddsound_workbench.learn.folds import Fold, class_folds
from oddsound_workbench.learn.plan import Facts, Plan, Progress, TrainingData
from oddsound_workbench.learn.recordings import class_folders, labelled

FOLD_SEED = 0


@dataclass(frozen=True)
class EachClassAsNormal:
    """Evaluates the recipe of a detector on a folder with one subfolder per class."""

    plan: Plan

    method: ClassVar[str] = (
        "For each class, detectors were trained on its recordings as normal. Each one scored a"
        " fold that it was not trained on, with the other classes as anomalies."
    )

    def read(self, progress: Progress) -> TrainingData:
        """The recordings of the plan's folder. Raises FolderError if they are not enough."""
        plan = self.plan
        if not class_folders(plan.folder):
            raise FolderError(f"{plan.folder} has no subfolder per class")
        recordings = labelled(plan.folder, plan.group_pattern, plan.fold_pattern)
        check_classes(recordings)
        return plans.read(
            plan, recordings, progress, feature_extractor=EXTRACTOR, check=check_classes
        )

    def describe(self, data: TrainingData) -> Facts:
        return plans.describe(self.plan, data)

    def folds(self, data: TrainingData, progress: Progress) -> list[Fold]:
        """For each class and fold, a detector of the class's recordings outside the fold."""
        rows = data.rows
        labels, folds = rows.recording_labels, class_folds(rows, FOLD_SEED)
        classes, names = sorted(set(labels.tolist())), sorted(set(folds.tolist()))
        advance = progress("Fitting a detector of each class", len(classes) * len(names))
        found = []
        with threadpool_limits(1):
            for label in classes:
                for name in names:
                    # A fold without the class, or with only that class, cannot test its detector.
                    if len(set(labels[folds == name] == label)) == 2:
                        train = (labels == label) & (folds != name)
                        fitted = fit_detector(data, train, self.plan.threshold)
                        found.append(Fold(name, folds == name, fitted, normal_class=label))
                    advance()
        return found

    def evaluate(self, folds: Sequence[Fold], data: TrainingData) -> DetectorGroup:
        """Each detector on the fold that it was not trained on."""
        rows, labels = data.rows, data.rows.recording_labels
        splits: dict[str, list[Split]] = {}
        with threadpool_limits(1):
            for fold in folds:
                is_normal = labels == fold.normal_class
                normal = rows.of(fold.held_out & is_normal, copies=False)
                anomaly = rows.of(fold.held_out & ~is_normal, copies=False)
                scores = [anomaly_scores(fold.fitted, r, data.choice) for r in (normal, anomaly)]
                splits.setdefault(str(fold.normal_class), []).append((scores[0], scores[1]))
        return DetectorGroup(
            {
                label: DetectorResult.of_splits(
                    each,
                    self.plan.threshold,
                    recordings_per_day=self.plan.recordings_per_day,
                    groups=groups_of(rows.recordings),
                )
                for label, each in splits.items()
            }
        )
