"""How methods are compared: the same random halves for all, one threshold each, four figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.model_selection import KFold

from benchmarks.detection.data import MachineSet
from oddsound.predictors import Floats
from oddsound_workbench.learn.metrics import aucs

SPLITS = 5
QUANTILE = 0.9
"""Share of unseen normal recordings that a threshold is meant to leave below it."""

FOLDS = 5
FIGURES = ("auc", "pauc", "false_alarm_rate", "detection_rate")

type Score = Callable[[Sequence[Path]], Floats]
"""Anomaly scores of recordings [shape=(recordings,)]; larger is more anomalous."""

type Fit = Callable[[Sequence[Path]], Score]
"""Fits to normal recordings."""


@dataclass(frozen=True)
class Detector:
    """A fitted method. A recording is an alarm if its score is at least the threshold."""

    score: Score
    threshold: float


@dataclass(frozen=True)
class Split:
    """One random half of the normal recordings trains; the rest and all anomalies test."""

    train: list[Path]
    normal: list[Path]
    anomalous: list[Path]


def split(machine: MachineSet, number: int, seed: int) -> Split:
    """A split that depends only on the number of normal recordings, `number` and `seed`."""
    count = len(machine.normal)
    order = np.random.default_rng([seed, number]).permutation(count)
    paths = [machine.normal[index] for index in order]
    return Split(paths[: count // 2], paths[count // 2 :], list(machine.anomalous))


def measure(detector: Detector, split: Split) -> dict[str, float]:
    """AUC, pAUC, false-alarm rate and detection rate of one split, rounded to four digits."""
    found = figures(
        detector.score(split.normal), detector.score(split.anomalous), detector.threshold
    )
    return {name: round(value, 4) for name, value in found.items()}


def figures(normal: Floats, anomalous: Floats, threshold: float) -> dict[str, float]:
    """The FIGURES of the scores of unseen normal and of anomalous recordings.

    The pAUC is scikit-learn's roc_auc_score with max_fpr=0.1, standardised by McClish's formula:
    0.5 is chance, 1 is perfect.
    """
    auc, pauc = aucs(normal, anomalous)
    return {
        "auc": auc,
        "pauc": pauc,
        "false_alarm_rate": float(np.mean(normal >= threshold)),
        "detection_rate": float(np.mean(anomalous >= threshold)),
    }


def with_threshold(fit: Fit, train: Sequence[Path]) -> Detector:
    """A method without a threshold of its own gets one from out-of-fold scores."""
    return Detector(fit(train), t_quantile(out_of_fold(fit, train)))


def out_of_fold(fit: Fit, train: Sequence[Path]) -> Floats:
    """The score of each training recording, by a fit without its fold [shape=(recordings,)]."""
    scores = np.empty(len(train))
    folds = KFold(min(FOLDS, len(train)), shuffle=True, random_state=0)
    for rest, held_out in folds.split(np.arange(len(train))):
        score = fit([train[index] for index in rest])
        scores[held_out] = score([train[index] for index in held_out])
    return scores


def t_quantile(scores: Floats, share: float = QUANTILE) -> float:
    """The value that the score of another normal recording stays below with probability `share`.

    The prediction interval of a normal distribution whose mean and deviation are estimated from
    `scores`: Student's t with one degree of freedom less than there are scores.
    """
    count = len(scores)
    width = stats.t.ppf(share, count - 1) * np.sqrt(1 + 1 / count)
    return float(scores.mean() + width * scores.std(ddof=1))


def harmonic_mean(values: Sequence[float]) -> float:
    """0 if a value is 0."""
    return 0.0 if min(values) <= 0 else float(stats.hmean(values))
