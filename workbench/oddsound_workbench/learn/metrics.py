"""Figures of merit: AUC and pAUC, standard error, calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from oddsound.predictors import Floats

PAUC_MAX_FALSE_POSITIVE_RATE = 0.1
"""The p of DCASE's pAUC: the area up to this false-alarm rate, standardised to 0.5..1."""

BINS = 10
"""Equal ranges of probability, for reliability and calibration error."""


@dataclass(frozen=True)
class Bin:
    """The predictions with a probability between `low` and `high`.

    probability : mean probability; right : share of correct predictions
    """

    low: float
    high: float
    recordings: int
    probability: float
    right: float


def aucs(normal: Floats, anomaly: Floats) -> tuple[float, float]:
    """AUC and DCASE's pAUC (p = 0.1) of two groups of anomaly scores."""
    truth = np.repeat([0, 1], [len(normal), len(anomaly)])
    scores = np.concatenate([normal, anomaly])
    auc = roc_auc_score(truth, scores)
    return float(auc), float(roc_auc_score(truth, scores, max_fpr=PAUC_MAX_FALSE_POSITIVE_RATE))


def standard_error(right: NDArray[np.bool_], by_fold: list[float]) -> float:
    """Standard error of the accuracy: from the spread of the folds; binomial for one fold.

    right : whether each prediction is correct; by_fold : accuracy of each fold
    """
    if len(by_fold) > 1:
        return float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold)))
    return float(np.std(right) / np.sqrt(len(right)))


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> list[Bin]:
    """Share of correct predictions for each range of probability; empty ranges are left out.

    confidence : probability of each prediction, 0..1 [shape=(recordings,)]
    right : whether it is correct [shape=(recordings,)]
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(
            low=b / BINS,
            high=(b + 1) / BINS,
            recordings=int((place == b).sum()),
            probability=float(confidence[place == b].mean()),
            right=float(right[place == b].mean()),
        )
        for b in sorted(set(place.tolist()))
    ]


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance between confidence and accuracy of the bins.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
    """
    bins = reliability(confidence, right)
    return sum(b.recordings * abs(b.probability - b.right) for b in bins) / len(right)
