"""A fitted model before it is saved, and the features that it uses.

Everything that becomes an artifact is an object of scikit-learn, or a dictionary of numbers and
arrays, so that any process with scikit-learn can load it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import LabelEncoder

from oddsound.features import FeatureExtractor
from oddsound.predictors import PREDICTORS, Predictor
from oddsound.schemas import ModelEntry


@dataclass(frozen=True)
class Fitted:
    """A fitted model, before it is saved.

    fields : fields of its models.json entry that the fit determines
    """

    predictor_name: str
    scaler: Any
    estimator: Any
    label_encoder: LabelEncoder | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    def predictor(self) -> Predictor:
        """The predictor that will serve this model, as the registry would create it."""
        entry = ModelEntry(model_path="the fitted model", **self.fields)
        return PREDICTORS[self.predictor_name](self.estimator, self.label_encoder, entry)


@dataclass(frozen=True)
class FeatureChoice:
    """Which features a model uses: all except the level, unless the gain is fixed.

    kept : indices into the extractor's vector; families : indices of the kept features of each
        family, after the others are dropped
    """

    kept: NDArray[np.intp]
    dropped: tuple[str, ...]
    families: dict[str, NDArray[np.intp]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of kept features of each family."""
        return tuple(len(indices) for indices in self.families.values())

    @classmethod
    def of(cls, extract: FeatureExtractor, *, fixed_gain: bool) -> "FeatureChoice":
        dropped = () if fixed_gain else extract.families["level"]
        kept = [i for i, name in enumerate(extract.names) if name not in dropped]
        places = {extract.names[index]: place for place, index in enumerate(kept)}
        families = {
            family: np.array([places[name] for name in names if name in places], np.intp)
            for family, names in extract.families.items()
            if set(names) - set(dropped)
        }
        return cls(np.array(kept), tuple(dropped), families)
