"""What the recipes for classifiers and for detectors share.

Everything that ends in an artifact is a plain scikit-learn object.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelEncoder

from oddsound.features import FeatureExtractor
from oddsound.predictors import PREDICTORS, Predictor
from oddsound.schemas import ModelEntry
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.recordings import Labelled

FEWEST_GROUPS = 3
FEWEST_NORMALS = 4
"""Recordings of normal sound; with fewer there is nothing to calibrate on."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model, before it is written down.

    fields : of its models.json entry that the fit decides
    """

    predictor_name: str
    scaler: Any
    estimator: Any
    label_encoder: LabelEncoder | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def predictor(self) -> Predictor:
        """The strategy that will serve this model, as the registry would build it."""
        entry = ModelEntry(model_path="the fitted model", **self.fields)
        return PREDICTORS[self.predictor_name](self.estimator, self.label_encoder, entry)


@dataclass(frozen=True)
class FeatureChoice:
    """Which features a model uses: all but the level, unless the gain is fixed.

    kept : indices into the extractor's vector; sizes : of the families among them
    """

    kept: NDArray[np.intp]
    sizes: tuple[int, ...]
    dropped: tuple[str, ...]

    @classmethod
    def of(cls, extract: FeatureExtractor, *, fixed_gain: bool) -> "FeatureChoice":
        dropped = () if fixed_gain else extract.families["level"]
        sizes = [len(set(names) - set(dropped)) for names in extract.families.values()]
        kept = [i for i, name in enumerate(extract.names) if name not in dropped]
        return cls(np.array(kept), tuple(size for size in sizes if size), tuple(dropped))


def check_classes(recordings: Sequence[Labelled]) -> None:
    """Raises FolderError naming the class that has too few recordings to leave some out."""
    groups: dict[str, set[str]] = {}
    for recording in recordings:
        groups.setdefault(recording.label, set()).add(recording.group)
    label = min(groups, key=lambda name: len(groups[name]))
    if len(groups[label]) < FEWEST_GROUPS:
        raise FolderError(
            f"the class {label!r} has {_different(len(groups[label]))}; {FEWEST_GROUPS} or more"
            " are needed, so that calibration and test can leave some out"
        )


def check_normals(recordings: Sequence[Labelled]) -> None:
    """Raises FolderError where too few normal recordings are there to calibrate on."""
    count = len({recording.group for recording in recordings})
    if count < FEWEST_NORMALS:
        raise FolderError(
            f"a detector needs {FEWEST_NORMALS} or more normal recordings, found"
            f" {_different(count)}"
        )


def _different(count: int) -> str:
    noun = "recording" if count == 1 else "recordings"
    return f"{count} {noun} (identical files, and those of one group, count once)"
