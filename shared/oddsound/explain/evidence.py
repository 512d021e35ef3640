"""Which features and bands carried a verdict, in numbers and in words.

A detector's verdict is explained by the largest deviations from normal sound, in standard
deviations of the recordings that it was trained on. A classifier's is explained by what the
probability would be, were a family of features or a band as in the average recording. These
variants are judged together with the recording itself, because a call of a classifier costs
more than the rows do.
"""

import math
from collections import Counter
from typing import Protocol

import numpy as np

from oddsound.descriptors import Array
from oddsound.explain import wording
from oddsound.explain.comparison import Comparison, Indices, Region
from oddsound.model import Model
from oddsound.predictors import Floats, SklearnOutlier
from oddsound.schemas import ANOMALY, BandEvidence, Explanation, FeatureEvidence, Prediction, Window

type Evidence = FeatureEvidence | BandEvidence

MOST_FEATURES, MOST_BANDS, MOST_SENTENCES = 8, 3, 3
PER_FAMILY = 2
"""Features of one family that are named: its others mostly say the same in other words."""

NOTABLE = 3.0
"""Standard deviations from which a deviation is named; of 240 features some reach 2 by chance."""

NOTABLE_ODDS = 0.1
"""Change of log-odds from which a part of a classifier's features is named: odds by a tenth."""

NOTABLE_CHANGE = 0.001
"""Change of probability from which it can be seen in the digits that are said."""

TRIED_BANDS, WORTH_TRYING = 4, 0.5
"""Bands whose part in a classifier's verdict is tried, and the deviation from which they are."""

LEAST_ODDS = 1e-12

NOTHING_KNOWN = (
    "Nothing can be said: the model's artifacts do not tell the mean and the deviation of each"
    " feature in training, as a StandardScaler does."
)
NONE_ALONE = (
    "No family of features and no band decides alone: without any one of them the verdict would"
    " be as sure."
)


class Inquiry(Protocol):
    """A question about a verdict that is yet to be made.

    rows : what the model has to judge for it, those of the recording's windows first
    """

    rows: Array

    def answer(self, judged: Floats, prediction: Prediction) -> Explanation:
        """What carried `prediction`.

        judged : the probabilities that the predictor gave to `rows`
        """
        ...


def inquire(model: Model, rows: Array) -> Inquiry:
    """Ask why the verdict will be what it will be.

    rows : float32 [shape=(windows, features)], of `Model.features`
    """
    if isinstance(model.predictor, SklearnOutlier):
        return DetectorInquiry(model, rows)
    return ClassifierInquiry(model, rows)


class DetectorInquiry:
    """Of a detector: how far does the window that decides, the strangest, deviate?"""

    def __init__(self, model: Model, rows: Array) -> None:
        self.model = model
        self.rows = rows

    def answer(self, judged: Floats, prediction: Prediction) -> Explanation:
        strangest = int(judged[:, self.model.predictor.classes.index(ANOMALY)].argmax())
        window = prediction.windows[strangest] if prediction.windows else None
        comparison = Comparison.of(self.model, self.rows[strangest])
        if comparison is None:
            return _explanation([NOTHING_KNOWN], [], window)
        evidence = self._evidence(comparison)
        said = _said(evidence)
        if evidence and not prediction.is_anomaly:
            said.insert(0, "All in all within the spread of normal recordings. What differs most:")
        if not evidence:
            said.append(f"No feature deviates from normal by {NOTABLE:g} standard deviations.")
            if prediction.is_anomaly:
                said.append("Many small deviations together make the score.")
        return _explanation(said, evidence, window)

    def _evidence(self, comparison: Comparison) -> list[Evidence]:
        found: list[Evidence] = [
            _feature(comparison, index, comparison.says(index, "normal"))
            for index in _notable(comparison)
        ]
        found += [
            _band(region, _heard(region, "normal"))
            for region in comparison.regions(MOST_BANDS, NOTABLE)
        ]
        return sorted(found, key=lambda evidence: -abs(evidence.deviation))


class ClassifierInquiry:
    """Of a classifier: what would the probability be without each part of the features?

    Of a long recording the average of its windows is asked about, at the price of one.
    """

    def __init__(self, model: Model, rows: Array) -> None:
        self.model = model
        self.rows = rows
        self.families: list[Indices] = []
        self.regions: list[Region] = []
        self.comparison = Comparison.of(model, rows.mean(axis=0))
        if self.comparison is not None:
            self.families = self.comparison.families()
            self.regions = self.comparison.regions(TRIED_BANDS, WORTH_TRYING)
            variants = [
                *map(self.comparison.without_family, self.families),
                *map(self.comparison.without_region, self.regions),
            ]
            average = [self.comparison.value] if len(rows) > 1 else []
            self.rows = np.vstack([rows, *average, *variants])

    def answer(self, judged: Floats, prediction: Prediction) -> Explanation:
        comparison = self.comparison
        if comparison is None:
            return _explanation([NOTHING_KNOWN], [], None)
        verdict = self.model.predictor.classes.index(prediction.prediction)
        parts: list[Indices | Region] = [*self.families, *self.regions]
        whole, *without = judged[-1 - len(parts) :, verdict].tolist()
        # Near 1 a probability hardly moves, and the odds still tell what matters.
        effects = [abs(_log_odds(whole) - _log_odds(probability)) for probability in without]
        ranked = sorted(zip(effects, parts, without, strict=True), key=lambda each: -each[0])
        evidence = [
            _without(comparison, part, whole, probability)
            for effect, part, probability in ranked
            if effect >= NOTABLE_ODDS and abs(whole - probability) >= NOTABLE_CHANGE
        ]
        return _explanation(_said(evidence) or [NONE_ALONE], evidence, None)


def _notable(comparison: Comparison) -> list[int]:
    """Indices of the features that deviate most, the largest first.

    Levels are left to the bands, and the mean and the deviation of one thing count once.
    """
    levels = set(comparison.levels.tolist())
    found: list[int] = []
    things: set[str] = set()
    families: Counter[str] = Counter()
    for index in np.argsort(-np.abs(comparison.deviation)).tolist():
        if len(found) == MOST_FEATURES or abs(comparison.deviation[index]) < NOTABLE:
            break
        thing = comparison.name(index).removesuffix("_mean").removesuffix("_std")
        family = comparison.family(index)
        if index not in levels and thing not in things and families[family] < PER_FAMILY:
            found.append(index)
            things.add(thing)
            families[family] += 1
    return found


def _without(
    comparison: Comparison, part: Indices | Region, whole: float, without: float
) -> Evidence:
    """A family, told by its member that deviates most, or a band."""
    change = whole - without
    then = f"the probability would be {without:.3f} instead of {whole:.3f}"
    if isinstance(part, Region):
        says = f"{_heard(part, 'average')}; with average loudness there, {then}"
        return _band(part, says, probability_change=change)
    index = int(part[np.abs(comparison.deviation[part]).argmax()])
    noun = wording.family(comparison.family(index))
    says = f"{comparison.says(index, 'average')}; with average {noun}, {then}"
    return _feature(comparison, index, says, probability_change=change)


def _heard(region: Region, usual: str) -> str:
    direction = "Louder" if region.level_db > 0 else "Quieter"
    where = wording.between(region.low_hz, region.high_hz)
    return f"{direction} than {usual} {where}, by {abs(region.level_db):.0f} dB"


def _said(evidence: list[Evidence]) -> list[str]:
    """The foremost of the evidence, the foremost band among it in any case."""
    band = next((each for each in evidence if isinstance(each, BandEvidence)), None)
    foremost = evidence[:MOST_SENTENCES]
    if band is not None and band not in foremost:
        foremost[-1] = band
    return [f"{each.says}." for each in foremost]


def _feature(
    comparison: Comparison,
    index: int,
    says: str,
    probability_change: float | None = None,
) -> FeatureEvidence:
    return FeatureEvidence(
        name=comparison.name(index),
        family=comparison.family(index),
        says=says,
        value=float(comparison.value[index]),
        usual=float(comparison.usual.mean[index]),
        deviation=float(comparison.deviation[index]),
        probability_change=probability_change,
    )


def _band(
    region: Region,
    says: str,
    probability_change: float | None = None,
) -> BandEvidence:
    return BandEvidence(
        low_hz=round(region.low_hz, 1),
        high_hz=round(region.high_hz, 1),
        says=says,
        level_db=region.level_db,
        deviation=region.deviation,
        probability_change=probability_change,
    )


def _explanation(said: list[str], evidence: list[Evidence], window: Window | None) -> Explanation:
    return Explanation(
        summary=" ".join(said),
        features=[each for each in evidence if isinstance(each, FeatureEvidence)][:MOST_FEATURES],
        bands=[each for each in evidence if isinstance(each, BandEvidence)][:MOST_BANDS],
        window=window,
    )


def _log_odds(probability: float) -> float:
    return math.log(max(probability, LEAST_ODDS) / max(1 - probability, LEAST_ODDS))
