"""Joins the parts of one event, and removes what another event explains."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from oddsound.events.candidates import Candidate
from oddsound.events.frames import (
    DIGITAL_SILENCE_DB,
    DROPOUT,
    IMPACT,
    LEVEL,
    MODULATION,
    TIMBRE,
    TONE,
)

JOINED_S = 0.1
"""Events of one kind that are closer are one event, except knocks and drop-outs."""

SAME_TONE = 0.03
"""Two tones are one if their frequencies differ by less than this share."""

EXPLAINED = {
    MODULATION: {DROPOUT, LEVEL, IMPACT, TIMBRE},
    TONE: {LEVEL, IMPACT, TIMBRE, MODULATION},
    DROPOUT: {LEVEL, TIMBRE, IMPACT},
    LEVEL: {IMPACT, TIMBRE, DROPOUT},
    TIMBRE: {IMPACT},
}
"""Kinds that a kind explains, if it happens at the same time: a tone, for example, raises the level
and begins suddenly."""

MIN_OVERLAP = 0.5
"""Share of an event that has to be inside another one that explains it."""

BEGINS_S = 0.1
"""A knock this close to the start of a change is the start of the change."""

MODULATION_MARGIN_S = 0.25
"""The time of a modulation is known to this accuracy."""

SHORT_S = 0.7
"""A change of level or timbre that is shorter, and contains a knock or drop-out, is that."""

SINGLE_S = 1.3
"""A modulation that is shorter, and contains only one drop-out, is the drop-out."""

MIN_REGULAR, MAX_INTERVAL_S, IRREGULAR, MAX_RATIO = 3, 0.6, 0.25, 2.5
"""So many drop-outs are a modulation if the intervals between them are at most so long and differ
by at most this share, and the longest is at most so many times as long as the shortest."""

LONG_DROPOUT_S, DEEP_DB = 1.0, 20.0
"""A drop-out that is longer and less deep is a fall of the level."""


def resolved(found: Sequence[Candidate], per_s: float) -> list[Candidate]:
    """The candidates that are events, by start.

    found : with their scores; per_s : ticks per second
    """
    joined = _joined(found, round(JOINED_S * per_s))
    joined = _joined([*joined, *_regular_dropouts(joined, per_s)], round(JOINED_S * per_s))
    rules = _Rules(per_s)
    shown = [each for each in joined if not rules.is_knock_or_dropout(each, joined)]
    return [each for each in shown if not any(rules.explains(other, each) for other in shown)]


def _regular_dropouts(found: Sequence[Candidate], per_s: float) -> list[Candidate]:
    """A modulation for each row of drop-outs at regular intervals, which are its minima."""
    dropouts = [
        each for each in found if each.kind == DROPOUT and each.amount_db < DIGITAL_SILENCE_DB
    ]
    rows: list[list[Candidate]] = []
    for each in dropouts:
        if rows and _regular([*rows[-1], each], per_s):
            rows[-1].append(each)
        else:
            rows.append([each])
    return [_modulation(row, per_s) for row in rows if len(row) >= MIN_REGULAR]


def _regular(row: Sequence[Candidate], per_s: float) -> bool:
    """Whether drop-outs have similar lengths, and similar intervals between their middles."""
    lengths = [each.last - each.first for each in row]
    middles = [(each.first + each.last) / 2 for each in row]
    gaps = [later - earlier for earlier, later in pairwise(middles)]
    # One minimum may be missing, so that an interval is twice as long.
    usual = min(gaps)
    times = [max(1, min(2, round(gap / usual))) for gap in gaps]
    even = all(
        abs(gap - n * usual) <= IRREGULAR * n * usual for gap, n in zip(gaps, times, strict=True)
    )
    return even and usual <= MAX_INTERVAL_S * per_s and max(lengths) <= MAX_RATIO * min(lengths)


def _modulation(row: Sequence[Candidate], per_s: float) -> Candidate:
    middles = [(each.first + each.last) / 2 for each in row]
    gaps = sorted(later - earlier for earlier, later in pairwise(middles))
    interval = gaps[(len(gaps) - 1) // 2]
    deepest = max(row, key=lambda each: each.score)
    return replace(
        deepest,
        kind=MODULATION,
        first=max(0, round(row[0].first - interval / 4)),
        last=round(row[-1].last + interval / 4),
        rate_hz=per_s / interval,
    )


def _joined(found: Sequence[Candidate], max_gap: int) -> list[Candidate]:
    """Join candidates of one kind that touch, or nearly do. The strongest describes them."""
    joined: list[Candidate] = []
    latest: dict[tuple[str, bool], int] = {}
    for each in sorted(found, key=lambda candidate: candidate.first):
        # A rise of the level does not continue as a fall.
        key = (each.kind, each.kind == LEVEL and each.amount_db < 0)
        gap = 0 if each.kind in (IMPACT, DROPOUT) else max_gap
        index = latest.get(key)
        if index is not None and _continues(joined[index], each, gap):
            before = joined[index]
            stronger = max(before, each, key=lambda candidate: candidate.score)
            joined[index] = replace(stronger, first=before.first, last=max(before.last, each.last))
        else:
            latest[key] = len(joined)
            joined.append(each)
    return joined


def _continues(one: Candidate, other: Candidate, gap: int) -> bool:
    alike = one.kind != TONE or abs(one.low_hz - other.low_hz) < SAME_TONE * one.low_hz
    return alike and other.first <= one.last + gap


class _Rules:
    """Which of two events at the same time explains the other.

    per_s : ticks per second
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s

    def is_knock_or_dropout(self, one: Candidate, found: Sequence[Candidate]) -> bool:
        """Whether a slow measure only shows a knock or drop-out that was found as well."""
        seconds = (one.last - one.first) / self._per_s
        if one.kind == MODULATION and seconds < SINGLE_S:
            return sum(other.kind == DROPOUT and _inside(other, one) for other in found) == 1
        if one.kind in (LEVEL, TIMBRE) and seconds < SHORT_S:
            return any(
                other.kind in (IMPACT, DROPOUT) and one.first <= other.first < one.last
                for other in found
            )
        return False

    def explains(self, one: Candidate, other: Candidate) -> bool:
        """Whether `other` is part of `one`."""
        if other.kind not in EXPLAINED.get(one.kind, ()):
            return False
        if other.kind == IMPACT:
            return self._includes_knock(one, other)
        if other.kind == DROPOUT:
            return self._includes_dropout(one, other)
        if one.kind == MODULATION:
            # A larger change of the timbre is more than the modulation.
            weaker = other.kind == TIMBRE and one.score < other.score
            return not weaker and _inside(other, one, round(MODULATION_MARGIN_S * self._per_s))
        if (one.kind, other.kind) == (TONE, TIMBRE):
            return other.low_hz <= one.low_hz <= other.high_hz and _inside(other, one)
        if (one.kind, other.kind) == (DROPOUT, LEVEL) and self._is_fall_of_level(one):
            return False
        return _inside(other, one)

    def _includes_knock(self, one: Candidate, knock: Candidate) -> bool:
        begins = round(BEGINS_S * self._per_s)
        if one.kind in (LEVEL, TIMBRE):
            return abs(knock.first - one.first) <= begins
        return one.first - begins <= knock.first < one.last + begins

    def _includes_dropout(self, one: Candidate, dropout: Candidate) -> bool:
        if one.kind == LEVEL:
            return one.amount_db < 0 and self._is_fall_of_level(dropout) and _inside(dropout, one)
        return _inside(dropout, one, round(MODULATION_MARGIN_S * self._per_s))

    def _is_fall_of_level(self, dropout: Candidate) -> bool:
        seconds = (dropout.last - dropout.first) / self._per_s
        return seconds > LONG_DROPOUT_S and dropout.amount_db < DEEP_DB


def _inside(one: Candidate, other: Candidate, margin: int = 0) -> bool:
    """Whether at least half of `one` is inside `other`, which is longer by the margin."""
    overlap = min(one.last, other.last + margin) - max(one.first, other.first - margin)
    return overlap >= MIN_OVERLAP * (one.last - one.first)
