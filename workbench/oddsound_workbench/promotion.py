"""Whether a new model is not worse than the one in use: exact tests of paired verdicts, in words.

Both models judge the same recordings, so only those count on which they differ: if the models were
equally good, either would be the one that errs with a probability of one half (Q. McNemar,
Psychometrika 12, 1947; exact, one-sided). One recording more or less is chance; many are not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
"""A new model is refused if its false alarms are as improbable as this."""

FAULT_ALPHA = 0.2
"""The same for faults that it misses: a missed fault costs more than a false alarm."""

MIN_DETECTED_SHARE = 0.75
"""A new model is refused if it detects fewer of the faults that the old one detects."""


@dataclass(frozen=True)
class Pair:
    """Whether both models call a recording that neither was trained with anomalous.

    corrected : whether somebody reviewed it because the model in use called it an anomaly
    """

    old: bool
    new: bool
    corrected: bool = False


@dataclass(frozen=True)
class Decision:
    """reasons : in sentences"""

    promoted: bool
    reasons: list[str]


def decide(normal: Sequence[Pair], faults: Sequence[Pair], promised: float) -> Decision:
    """Whether the new model may be used.

    normal, faults : what both models say about them
    promised : share of normal recordings that the new model may call anomalous, by its threshold
    """
    alarms, alarms_worse = _false_alarms(normal)
    broken = _broken_promise(normal, promised)
    detected, faults_worse = _faults(faults)
    reasons = [*alarms, *broken, *detected]
    only_new, only_old = _differing(faults)
    if alarms_worse and not broken and _is_beyond_chance(only_new, only_old):
        # A model that calls nothing an anomaly has no false alarms.
        alarms_worse = False
        reasons.append(
            "It detects more faults, which is hardly chance, and raises no more false alarms than"
            " its threshold promises: both together are better."
        )
    if alarms_worse or broken or faults_worse:
        return Decision(False, [*reasons, "The new model is worse, so the old one stays in use."])
    return Decision(True, reasons)


def _false_alarms(normal: Sequence[Pair]) -> tuple[list[str], bool]:
    old, new = sum(pair.old for pair in normal), sum(pair.new for pair in normal)
    only_new, only_old = _differing(normal)
    text = (
        f"False alarms, of {len(normal)} normal recordings that neither model was trained with:"
        f" {new} instead of {old}."
    )
    if new <= old:
        return [text], False
    p_value = _tail(only_new, only_new + only_old, 0.5)
    only = f"The new model alone alarms for {only_new} of them, the old one alone for {only_old}."
    return [text, f"{only} {_judged(p_value, ALPHA)}"], p_value < ALPHA


def _broken_promise(normal: Sequence[Pair], promised: float) -> list[str]:
    """A sentence if the new model raises more false alarms than its threshold promises.

    Recordings that were reviewed because the old model called them anomalies are not a sample of
    normal ones; they are left out. Nothing is said if the new model is better beyond chance.
    """
    only_new, only_old = _differing(normal)
    if _is_beyond_chance(only_old, only_new):
        return []
    counted = [pair for pair in normal if not pair.corrected]
    alarms = sum(pair.new for pair in counted)
    p_value = _tail(alarms, len(counted), promised)
    if p_value >= ALPHA or alarms <= sum(pair.old for pair in counted):
        return []
    return [
        f"It alarms for {alarms} of the {len(counted)} that nobody had to correct; its threshold"
        f" promises {promised:.0%}, and chance gives so many with a probability of {p_value:.1%}."
    ]


def _faults(faults: Sequence[Pair]) -> tuple[list[str], bool]:
    old, new = sum(pair.old for pair in faults), sum(pair.new for pair in faults)
    text = f"Faults detected, of {len(faults)}: {new} instead of {old}."
    if new >= old:
        return [text], False
    only_new, only_old = _differing(faults)
    p_value = _tail(only_old, only_new + only_old, 0.5)
    if new < MIN_DETECTED_SHARE * old:
        return [
            text,
            f"That is less than {MIN_DETECTED_SHARE:.0%} of what the old one detects.",
        ], True
    only = f"The old model alone detects {only_old} of them, the new one alone {only_new}."
    return [text, f"{only} {_judged(p_value, FAULT_ALPHA)}"], p_value < FAULT_ALPHA


def _differing(pairs: Sequence[Pair]) -> tuple[int, int]:
    """How many only the new model calls anomalous, and how many only the old one."""
    only_new = sum(pair.new and not pair.old for pair in pairs)
    return only_new, sum(pair.old and not pair.new for pair in pairs)


def _is_beyond_chance(more: int, fewer: int) -> bool:
    """Whether equally good models hardly differ like this. fewer, more : of either model alone"""
    return _tail(more, more + fewer, 0.5) < ALPHA


def _judged(p_value: float, alpha: float) -> str:
    verdict = "may be chance" if p_value >= alpha else "is hardly chance"
    return (
        f"This {verdict}: two equally good models differ like this, or more, with a probability of"
        f" {p_value:.0%} (refused below {alpha:.0%})."
    )


def _tail(least: int, of: int, share: float) -> float:
    """Probability of at least so many, of a binomial distribution."""
    return sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(least, of + 1))
