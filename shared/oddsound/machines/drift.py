"""Whether the recent recordings of a machine differ from the training recordings, and how.

A fault changes a part of the sound, or how it varies over time. A recorder, a room or a load
changes everything at once: a gain the loudness, a microphone the levels of most frequencies.

Each group of features is compared by a two-sample t test with unequal variances (B. L. Welch,
Biometrika 34, 1947), from the mean and deviation of the training recordings and the recent values.
Recordings that follow each other are alike: the number of recent values is reduced as for an
autoregressive process of order one. Holm's procedure keeps the probability of any false finding
below ALPHA, however the groups depend on each other (S. Holm, Scandinavian Journal of Statistics 6,
1979).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from oddsound.machines.profile import Profile
from oddsound.machines.records import Drift, DriftGroup, DriftKind, DriftNote, HistoryRow, Machine
from oddsound.student import upper_tail

RECENT, MIN_RECENT = 30, 10
"""Recordings that are compared: at most, and at least. The newest MIN_RECENT are also compared on
their own: a sudden shift makes a mixture of old and new ones look like few independent values."""

ALPHA, MARGIN = 0.01, 1.0
"""Probability of a false finding, if no group has shifted by more than MARGIN deviations: smaller
shifts are not worth a person's time, however certain they are."""

KEEPING_ALPHA, KEEPING_MARGIN = 0.05, 0.5
"""The same for a shift that is known: it would otherwise come and go with each recording."""

PATTERN_ALPHA, PATTERN_SHIFT = 0.05, 0.5
"""A group belongs to the pattern of a shift if its shift is as certain and as large as this."""

BROAD = 0.5
"""Everything has shifted if at least this share of the groups of frequencies has."""

MIN_DEVIATION = 0.1
"""Smallest deviation of recent values: copies of one recording do not make a shift certain."""

MAX_DF = 30.0
MAX_CORRELATION = 0.95
MORE_ANOMALIES = 2.0
"""As many times the promised share of anomalies count as usual: a model of few recordings may
exceed its promise."""

LEVEL, BAND, TIME, SCORES = "loudness", "frequencies", "changes over time", "anomalies"


@dataclass(frozen=True)
class _Test:
    """p_value : that the shift is at most the margin; zero_p_value : that there is none"""

    kind: str
    name: str
    shift: float
    p_value: float
    zero_p_value: float

    def in_pattern(self, tests: int = 1) -> bool:
        return self.zero_p_value < PATTERN_ALPHA / tests and abs(self.shift) > PATTERN_SHIFT


def recent(rows: Sequence[HistoryRow], machine: Machine) -> list[HistoryRow]:
    """The rows that are compared, oldest first: of the version that scored the newest of them.

    Not those that were reviewed as faults, which are known, or as unusable.

    rows : the newest first
    """
    usable = [
        row
        for row in rows
        if row.profile is not None
        and row.model_name == machine.model_name
        and (row.review is None or row.review.label == "normal")
    ]
    alike = [row for row in usable if row.model_version == usable[0].model_version]
    return alike[:RECENT][::-1]


def examine(rows: Sequence[HistoryRow], machine: Machine) -> Drift:
    """What has shifted in the `recent` rows.

    rows : the newest first
    """
    return _found(recent(rows, machine), machine.id, ALPHA, MARGIN)


def followed(
    before: DriftNote | None, rows: Sequence[HistoryRow], machine: Machine
) -> DriftNote | None:
    """The note of a machine's drift after a new recording; None if there is none.

    rows : the newest first
    """
    compared = recent(rows, machine)
    found = _found(compared, machine.id, ALPHA, MARGIN)
    if before is not None and found.kind == "none":
        still = _found(compared, machine.id, KEEPING_ALPHA, KEEPING_MARGIN)
        return None if still.kind == "none" else before
    if found.kind in ("none", "unknown"):
        return None
    if before is not None and before.kind == found.kind:
        return before
    return DriftNote(kind=found.kind, since=compared[-1].recorded_at, says=found.says)


def _found(rows: Sequence[HistoryRow], machine: str, alpha: float, margin: float) -> Drift:
    """The shift of all rows, or, if there is none, of the newest ones; each with half of alpha."""
    found = _examined(rows, machine, alpha / 2, margin)
    if found.kind != "none" or len(rows) == MIN_RECENT:
        return found
    newest = _examined(rows[-MIN_RECENT:], machine, alpha / 2, margin)
    return found if newest.kind == "none" else newest


def _examined(rows: Sequence[HistoryRow], machine: str, alpha: float, margin: float) -> Drift:
    profiles = [row.profile for row in rows if row.profile is not None]
    if len(profiles) < MIN_RECENT:
        says = (
            f"{len(profiles)} recordings can be compared with the training recordings;"
            f" {MIN_RECENT} are needed, scored by the present version of a detector of"
            " `oddsound train`, and not of a fault that is known."
        )
        return Drift(machine=machine, kind="unknown", says=says, recordings=len(profiles))
    tests = [*_groups(profiles, margin), _scores(rows)]
    shifted = _holm([test.p_value for test in tests], alpha)
    kind, says = _judged(tests, shifted, rows)
    groups = [
        DriftGroup(
            name=test.name, shift=round(test.shift, 2), p_value=test.p_value, shifted=is_shifted
        )
        for test, is_shifted in zip(tests, shifted, strict=True)
    ]
    return Drift(
        machine=machine,
        kind=kind,
        says=says,
        recordings=len(rows),
        first_at=rows[0].recorded_at,
        last_at=rows[-1].recorded_at,
        model_name=rows[-1].model_name,
        model_version=rows[-1].model_version,
        groups=groups,
    )


def _groups(profiles: Sequence[Profile], margin: float) -> list[_Test]:
    """A test for each group that all recordings have."""
    newest = profiles[-1]
    columns = [(LEVEL, LEVEL, [profile.level for profile in profiles])]
    for kind, of in ((BAND, newest.bands), (TIME, newest.time)):
        for place in range(len(of)):
            values = [
                (profile.bands if kind == BAND else profile.time)[place] for profile in profiles
            ]
            columns.append((kind, f"{kind}, {place + 1} of {len(of)}", values))
    known = [
        (kind, name, [value for value in values if value is not None])
        for kind, name, values in columns
        if None not in values
    ]
    # One estimate of few recordings is uncertain; recordings are alike in most groups or in none.
    common = median(_correlation(values) for _, _, values in known)
    return [_welch(kind, name, values, newest, margin, common) for kind, name, values in known]


def _welch(
    kind: str, name: str, values: list[float], newest: Profile, margin: float, correlation: float
) -> _Test:
    """The training values have mean 0 and a deviation of at most 1 (of means of features).

    correlation : at least that of recordings which follow each other
    """
    mean = fmean(values)
    count = _independent(len(values), max(correlation, _correlation(values)))
    squares = sum((value - mean) ** 2 for value in values)
    # Values that are alike vary less than their process: by the mean, which they follow.
    variance = max(squares / len(values) * count / (count - 1), MIN_DEVIATION**2)
    own, training = variance / count, 1 / max(newest.trained_with, 2)
    freedom = (own + training) ** 2 / (
        own**2 / (count - 1) + training**2 / max(newest.trained_with - 1, 1)
    )
    error, df = math.sqrt(own + training), min(max(freedom, 1.0), MAX_DF)
    p_value, zero = 2 * upper_tail(np.array([abs(mean) - margin, abs(mean)]) / error, df)
    return _Test(kind, name, mean, min(float(p_value), 1.0), min(float(zero), 1.0))


def _correlation(values: Sequence[float]) -> float:
    """Of each value with the one before, from 0 to MAX_CORRELATION."""
    mean, count = fmean(values), len(values)
    centred = [value - mean for value in values]
    squares = sum(value * value for value in centred)
    if squares == 0:
        return 0.0
    found = sum(a * b for a, b in pairwise(centred)) / squares
    # The estimate of few values is too small on average (M. H. Quenouille, 1949).
    return min(max((count * found + 1) / (count - 4), 0.0), MAX_CORRELATION)


def _independent(count: int, correlation: float) -> float:
    """To how many independent values these are equivalent."""
    return max(count * (1 - correlation) / (1 + correlation), 2.0)


def _scores(rows: Sequence[HistoryRow]) -> _Test:
    """Whether more recordings are anomalous than the threshold promises: a binomial test."""
    anomalous = [float(bool(row.is_anomaly)) for row in rows]
    share = fmean(anomalous)
    promised = 1 - (rows[-1].threshold if rows[-1].threshold is not None else 0.5)
    count = math.floor(_independent(len(anomalous), _correlation(anomalous)))
    p_value = _binomial_tail(math.floor(share * count), count, min(MORE_ANOMALIES * promised, 0.5))
    return _Test(SCORES, SCORES, share - promised, p_value, p_value)


def _binomial_tail(least: int, of: int, share: float) -> float:
    """Probability of at least so many."""
    return min(
        1.0,
        sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(least, of + 1)),
    )


def _holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected, with a probability below alpha that one of them is true."""
    rejected = [False] * len(p_values)
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] > alpha / (len(p_values) - done):
            break
        rejected[place] = True
    return rejected


def _judged(
    tests: Sequence[_Test], shifted: Sequence[bool], rows: Sequence[HistoryRow]
) -> tuple[DriftKind, str]:
    """The kind of shift, and what it means.

    A recorder, a room or a load is only named where nothing points to a fault: an unnoticed fault
    is worse than a recorder that is not named.
    """
    kinds = {test.kind for test, found in zip(tests, shifted, strict=True) if found}
    if not kinds:
        return "none", f"The last {len(rows)} recordings are like the training recordings."
    if kinds == {SCORES}:
        anomalous = sum(bool(row.is_anomaly) for row in rows)
        return "part", (
            f"{anomalous} of the last {len(rows)} recordings are anomalous, more than the threshold"
            " promises. No large part of the sound has shifted, as it would with another recorder,"
            " room or load: this points to a fault."
        )
    of = {kind: [test for test in tests if test.kind == kind] for kind in (LEVEL, BAND, TIME)}
    time = any(test.in_pattern(len(of[TIME])) for test in of[TIME])
    bands = sum(test.in_pattern() for test in of[BAND])
    frequencies = f"{bands} of {len(of[BAND])} groups of frequencies"
    if not time and BAND in kinds and bands >= BROAD * len(of[BAND]):
        return "everything", _everything(f"the levels of {frequencies} have changed")
    certain = any(test.in_pattern(len(of[BAND])) for test in of[BAND])
    if not time and LEVEL in kinds and not certain:
        louder = "louder" if of[LEVEL][0].shift > 0 else "quieter"
        return "everything", _everything(f"the recordings are {louder}")
    parts = [frequencies] * bool(bands) + ["the loudness"] * (LEVEL in kinds)
    parts += ["how the sound varies over time"] * time
    return "part", (
        f"A part of the sound has shifted, as a fault shifts it: {', '.join(parts) or 'one group'}."
    )


def _everything(what: str) -> str:
    return (
        f"Everything shifted: {what}, and how the sound varies over time has not. The recorder, the"
        " room or the load has changed. If this is normal from now on, review recordings as normal"
        " and retrain."
    )
