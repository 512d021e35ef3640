"""Finds clipping: flat tops at the largest or smallest value of a channel."""

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array

MIN_RUN = 3
"""Consecutive samples at the extreme value that form a flat top."""

MIN_RUNS = 3
LONG_RUN = 6
"""A channel is clipped if it has MIN_RUNS flat tops, or one of LONG_RUN samples."""

MIN_JUMP_STEPS = 4
"""Difference between a flat top and the sample beside it, in steps. A smooth peak of a slow sound
also has equal neighbours after quantisation, but the next sample is at most 2.8 steps away."""

MIN_RANGE_STEPS = 64
"""Below this range, the extreme values of any sound repeat."""

MIN_PILE, MIN_PAIRS, PILE_ZONES, PILE_RATIO = 8, 3, 512, 4
"""The second sign of clipping, for sounds that are too fast for flat tops: MIN_PILE samples at the
extreme value, MIN_PAIRS of them beside each other, and less than a PILE_RATIO of that in the
neighbouring 1 / PILE_ZONES of the range. The range must have as many steps."""


class Clipping:
    """Counts the clipped samples of one channel, block by block.

    It only finds hard clipping, at any level: the values at a flat top are equal. After a lossy
    codec or a filter they no longer are, and nothing is reported.

    step : smallest difference of two samples in the file, or 0 if it is not fixed
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._tops = (_FlatTops(1), _FlatTops(-1))

    def add(self, samples: Array, low: float, high: float) -> None:
        """Add a block.

        samples : [shape=(frames,)], of one channel; low, high : its smallest and largest value
        """
        zone = (high - low) / PILE_ZONES
        for tops, extreme in zip(self._tops, (high, low), strict=True):
            tops.add(samples, extreme, zone)

    def count(self) -> int:
        """Number of clipped samples so far; 0 without evidence of clipping."""
        high, low = self._tops
        total_range = high.value - low.value
        return sum(tops.count for tops in self._tops if tops.is_clipping(self._step, total_range))


class _FlatTops:
    """Samples at one extreme value of a channel. sign : 1 for the largest, -1 for the smallest."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.value = -sign * np.inf
        self._restart(-sign * np.inf)

    def _restart(self, next_value: float) -> None:
        self.count = 0
        self._next_value = next_value
        self._runs, self._longest, self._jumps = 0, 0, 0.0
        self._pairs, self._near = 0, 0

    def add(self, samples: Array, extreme: float, zone: float) -> None:
        beyond = self._sign * (extreme - self.value)
        if beyond < 0:
            self._note_next(extreme)
            return
        if beyond > 0:
            self._restart(self.value)
            self.value = extreme
        is_extreme = samples == extreme
        count = int(np.count_nonzero(is_extreme))
        self.count += count
        if count >= MIN_RUN:
            self._measure_runs(samples, is_extreme, zone)

    def _note_next(self, value: float) -> None:
        if self._sign * (value - self._next_value) > 0:
            self._next_value = value

    def _measure_runs(self, samples: Array, is_extreme: NDArray[np.bool_], zone: float) -> None:
        places = np.flatnonzero(is_extreme)
        if len(places) == len(samples):
            return
        # Few samples are near the extreme; all others are looked at only if none is.
        value = np.float32(self.value)
        distance = value - samples if self._sign > 0 else samples - value
        near = samples[distance <= zone]
        others = near[near != self.value]
        self._near += len(others)
        if not len(others):
            others = samples[~is_extreme]
        self._note_next(float(others.max() if self._sign > 0 else others.min()))
        breaks = np.flatnonzero(np.diff(places) > 1)
        starts = places[np.concatenate(([0], breaks + 1))]
        ends = places[np.concatenate((breaks, [-1]))] + 1
        self._pairs += int(np.count_nonzero(ends - starts >= 2))
        is_run = ends - starts >= MIN_RUN
        starts, ends = starts[is_run], ends[is_run]
        if not len(starts):
            return
        # Outside the block, the sample beside a run is taken to be equal.
        before = np.abs(samples[np.maximum(starts - 1, 0)] - self.value)
        after = np.abs(samples[np.minimum(ends, len(samples) - 1)] - self.value)
        self._runs += len(starts)
        self._longest = max(self._longest, int((ends - starts).max()))
        self._jumps += float(np.maximum(before, after).sum())

    def is_clipping(self, step: float, total_range: float) -> bool:
        """Whether quantisation cannot explain how often the extreme value occurs."""
        # The distance of the two outermost values shows the true step of companded or re-scaled
        # samples, and that a square wave has no values in between.
        step = max(step, abs(self.value - self._next_value))
        if (
            self.count >= MIN_PILE
            and self._pairs >= MIN_PAIRS
            and self._near * PILE_RATIO < self.count
            and total_range >= PILE_ZONES * step
        ):
            return True
        if self._runs < MIN_RUNS and self._longest < LONG_RUN:
            return False
        jump = self._jumps / self._runs
        return jump >= MIN_JUMP_STEPS * step and total_range >= MIN_RANGE_STEPS * step
