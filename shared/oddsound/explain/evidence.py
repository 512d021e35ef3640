"""Explains a prediction: the features and bands that contributed most, in numbers and in words.

A detector is explained by the largest deviations from normal recordings, in standard deviations
over its training recordings. A classifier is explained by variants of the recording, in which a
family of features or a band is replaced by the average of the training recordings: they show how
the probability of the prediction changes. The variants are scored in one call with the recording
itself, because a call of a classifier takes more time than additional rows do.
"""

import math
from collections import Counter
from typing import Protocol

import numpy as np

from oddsound.descriptors import Array
from oddsound.explain import wording
from oddsound.explain.comparison import Comparison, Indices, Region
from oddsound.model import Model
from oddsound.predictors import Floats
from oddsound.schemas import ANOMALY, BandEvidence, Explanation, FeatureEvidence, Prediction, Window

type Evidence = FeatureEvidence | BandEvidence

MAX_FEATURES, MAX_BANDS, MAX_SENTENCES = 8, 3, 3
MAX_PER_FAMILY = 2
"""Features of one family in an explanation: the others mostly repeat the same information."""

MIN_DEVIATION = 3.0
"""Smallest deviation in an explanation, in standard deviations. Some of 240 features reach 2 by
chance."""

MIN_LOG_ODDS_CHANGE = 0.1
"""Smallest change of a classifier's log-odds in an explanation: the odds change by about 10 %."""

MIN_PROBABILITY_CHANGE = 0.001
"""Smallest change of probability in an explanation: the texts show three decimals."""

MAX_TESTED_BANDS, MIN_TESTED_DEVIATION = 4, 0.5
"""Bands that are replaced to explain a classifier: their number, and their smallest deviation."""

MIN_PROBABILITY = 1e-12
"""Keeps the log-odds of the probabilities 0 and 1 finite."""

NO_STATISTICS = (
    "No explanation is possible: the model's artifacts do not contain the mean and the standard"
    " deviation of each feature in training, as a StandardScaler does."
)
NO_SINGLE_REASON = (
    "No single family of features or frequency band decides the prediction: without any one of"
    " them, the probability would be nearly the same."
)


class Explainer(Protocol):
    """Computes an explanation alongside a prediction.

    rows : float32 [shape=(rows, features)], the rows that the model must score: those of the
        recording's windows, then any that the explanation needs
    """

    rows: Array

    def explain(self, scored: Floats, prediction: Prediction) -> Explanation:
        """The explanation of `prediction`.

        scored : the predictor's probabilities for `rows` [shape=(rows, classes)]
        """
        ...


def create_explainer(model: Model, rows: Array) -> Explainer:
    """An explainer for the kind of the model.

    rows : float32 [shape=(windows, features)], of `Model.features`
    """
    if model.predictor.is_detector:
        return DetectorExplainer(model, rows)
    return ClassifierExplainer(model, rows)


class DetectorExplainer:
    """Explains a detector by the deviations of the most anomalous window, which decides."""

    def __init__(self, model: Model, rows: Array) -> None:
        self.model = model
        self.rows = rows

    def explain(self, scored: Floats, prediction: Prediction) -> Explanation:
        most_anomalous = int(scored[:, self.model.predictor.classes.index(ANOMALY)].argmax())
        window = prediction.windows[most_anomalous] if prediction.windows else None
        comparison = Comparison.of(self.model, self.rows[most_anomalous])
        if comparison is None:
            return _explanation([NO_STATISTICS], [], window)
        evidence = self._evidence(comparison)
        sentences = _sentences(evidence)
        if evidence and not prediction.is_anomaly:
            sentences.insert(0, "Overall within the normal range. The largest differences:")
        if not evidence:
            sentences.append(
                f"No feature deviates from normal by {MIN_DEVIATION:g} or more standard deviations."
            )
            if prediction.is_anomaly:
                sentences.append("The anomaly score results from many small deviations.")
        return _explanation(sentences, evidence, window)

    def _evidence(self, comparison: Comparison) -> list[Evidence]:
        found: list[Evidence] = [
            _feature(comparison, index, comparison.describe(index, "normal"))
            for index in _largest_deviations(comparison)
        ]
        found += [
            _band(region, _describe(region, "normal"))
            for region in comparison.regions(MAX_BANDS, MIN_DEVIATION)
        ]
        return sorted(found, key=lambda evidence: -abs(evidence.deviation))


class ClassifierExplainer:
    """Explains a classifier by the probability without each family of features and each band.

    A long recording is explained by the average of its windows, which takes as long as one window.
    """

    def __init__(self, model: Model, rows: Array) -> None:
        self.model = model
        self.rows = rows
        self.families: list[Indices] = []
        self.regions: list[Region] = []
        self.comparison = Comparison.of(model, rows.mean(axis=0))
        if self.comparison is not None:
            self.families = self.comparison.families()
            self.regions = self.comparison.regions(MAX_TESTED_BANDS, MIN_TESTED_DEVIATION)
            variants = [
                *map(self.comparison.without_family, self.families),
                *map(self.comparison.without_region, self.regions),
            ]
            average = [self.comparison.value] if len(rows) > 1 else []
            self.rows = np.vstack([rows, *average, *variants])

    def explain(self, scored: Floats, prediction: Prediction) -> Explanation:
        comparison = self.comparison
        if comparison is None:
            return _explanation([NO_STATISTICS], [], None)
        predicted = self.model.predictor.classes.index(prediction.prediction)
        parts: list[Indices | Region] = [*self.families, *self.regions]
        # The last rows are the recording, or the average of its windows, and its variants.
        whole, *without = scored[-1 - len(parts) :, predicted].tolist()
        # Probabilities near 0 or 1 hardly change; log-odds show the difference there too.
        effects = [abs(_log_odds(whole) - _log_odds(probability)) for probability in without]
        ranked = sorted(zip(effects, parts, without, strict=True), key=lambda each: -each[0])
        evidence = [
            _evidence_without(comparison, part, whole, probability)
            for effect, part, probability in ranked
            if effect >= MIN_LOG_ODDS_CHANGE and abs(whole - probability) >= MIN_PROBABILITY_CHANGE
        ]
        return _explanation(_sentences(evidence) or [NO_SINGLE_REASON], evidence, None)


def _largest_deviations(comparison: Comparison) -> list[int]:
    """Indices of the features that deviate most, the largest deviation first.

    Levels are left out, because the bands describe them. Of the mean and the standard deviation
    of one descriptor, only the larger deviation is included.
    """
    levels = set(comparison.levels.tolist())
    found: list[int] = []
    descriptors: set[str] = set()
    families: Counter[str] = Counter()
    for index in np.argsort(-np.abs(comparison.deviation)).tolist():
        if len(found) == MAX_FEATURES or abs(comparison.deviation[index]) < MIN_DEVIATION:
            break
        descriptor = comparison.name(index).removesuffix("_mean").removesuffix("_std")
        family = comparison.family(index)
        redundant = descriptor in descriptors or families[family] == MAX_PER_FAMILY
        if index not in levels and not redundant:
            found.append(index)
            descriptors.add(descriptor)
            families[family] += 1
    return found


def _evidence_without(
    comparison: Comparison, part: Indices | Region, whole: float, without: float
) -> Evidence:
    """A band, or a family of features, described by its feature that deviates most.

    whole : probability of the prediction; without : the same if the part has average values
    """
    change = whole - without
    then = f"the probability would be {without:.3f} instead of {whole:.3f}"
    if isinstance(part, Region):
        text = f"{_describe(part, 'average')}; with average loudness there, {then}"
        return _band(part, text, probability_change=change)
    index = int(part[np.abs(comparison.deviation[part]).argmax()])
    noun = wording.family(comparison.family(index))
    text = f"{comparison.describe(index, 'average')}; with average {noun}, {then}"
    return _feature(comparison, index, text, probability_change=change)


def _describe(region: Region, reference: str) -> str:
    direction = "Louder" if region.level_db > 0 else "Quieter"
    where = wording.between(region.low_hz, region.high_hz)
    return f"{direction} than {reference} {where}, by {abs(region.level_db):.0f} dB"


def _sentences(evidence: list[Evidence]) -> list[str]:
    """Sentences for the most important evidence, which always includes the first band."""
    band = next((each for each in evidence if isinstance(each, BandEvidence)), None)
    selected = evidence[:MAX_SENTENCES]
    if band is not None and band not in selected:
        selected[-1] = band
    return [f"{each.says}." for each in selected]


def _feature(
    comparison: Comparison,
    index: int,
    text: str,
    probability_change: float | None = None,
) -> FeatureEvidence:
    return FeatureEvidence(
        name=comparison.name(index),
        family=comparison.family(index),
        says=text,
        value=float(comparison.value[index]),
        usual=float(comparison.training.mean[index]),
        deviation=float(comparison.deviation[index]),
        probability_change=probability_change,
    )


def _band(
    region: Region,
    text: str,
    probability_change: float | None = None,
) -> BandEvidence:
    return BandEvidence(
        low_hz=round(region.low_hz, 1),
        high_hz=round(region.high_hz, 1),
        says=text,
        level_db=region.level_db,
        deviation=region.deviation,
        probability_change=probability_change,
    )


def _explanation(
    sentences: list[str], evidence: list[Evidence], window: Window | None
) -> Explanation:
    return Explanation(
        summary=" ".join(sentences),
        features=[each for each in evidence if isinstance(each, FeatureEvidence)][:MAX_FEATURES],
        bands=[each for each in evidence if isinstance(each, BandEvidence)][:MAX_BANDS],
        window=window,
    )


def _log_odds(probability: float) -> float:
    return math.log(max(probability, MIN_PROBABILITY) / max(1 - probability, MIN_PROBABILITY))
