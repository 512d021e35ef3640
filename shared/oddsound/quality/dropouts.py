"""Finds drop-outs and digital silence: stretches in which a channel is exactly constant."""

from dataclasses import dataclass

import numpy as np

from oddsound.descriptors import Array

MIN_DURATION_S = 0.010
CONTEXT_S = 0.002
"""The sound directly before and after a drop-out: a sound that fades out is not one."""

MIN_CONTEXT_STEPS = 8
MIN_CONTEXT_SHARE = 0.003
"""Of the range of the recording so far."""

DEFAULT_STEP = 1 / 32768
"""Assumed where the step of the samples is not fixed."""

MAX_LISTED = 100
GRID_POINTS = 6
"""Points of a coarse grid in the shortest drop-out. Only if neighbouring points are equal, every
sample is compared."""


@dataclass(frozen=True)
class _Stretch:
    """A constant stretch that begins. before : largest difference from it in the context."""

    start: int
    value: float
    before: float


class DropOuts:
    """Finds the drop-outs of one channel, block by block.

    A drop-out is a constant stretch of at least 10 ms, zero or the last value held, with sound
    directly before and after it. Constant stretches at the start or the end, or after a sound that
    faded out, are digital silence. Stretches at the largest or smallest value are neither: that is
    what clipping does to a slow sound.

    step : smallest difference of two samples in the file, or 0 if it is not fixed
    """

    def __init__(self, sample_rate: int, step: float) -> None:
        self._min_frames = max(2, round(MIN_DURATION_S * sample_rate))
        self._context = max(1, round(CONTEXT_S * sample_rate))
        self._grid = max(1, self._min_frames // GRID_POINTS)
        self._min_difference = MIN_CONTEXT_STEPS * (step or DEFAULT_STEP)
        self._tail = np.zeros(0, np.float32)
        self._open: _Stretch | None = None
        self._done = 0
        self._low, self._high = np.inf, -np.inf
        self.found: list[tuple[int, int]] = []
        """First frame, and the frame after the last, of the first MAX_LISTED drop-outs."""
        self.count = 0
        self.silent_frames = 0
        """Frames of digital silence at the start, and of zeros; not those at the end."""

    @property
    def trailing_frames(self) -> int:
        """Frames of digital silence at the end so far."""
        length = self._done - self._open.start if self._open else 0
        return length if length >= self._min_frames else 0

    def add(self, samples: Array, low: float, high: float) -> None:
        """Add a block.

        samples : [shape=(frames,)], of one channel; low, high : its smallest and largest value
        """
        self._low, self._high = min(self._low, low), max(self._high, high)
        first = self._close_open(samples)
        if first < len(samples):
            last = self._start_of_last_stretch(samples)
            self._add_inner(samples, first, last)
            self._open = self._stretch(samples, last)
        self._tail = samples[-self._context :].copy()
        self._done += len(samples)

    def _close_open(self, samples: Array) -> int:
        """End the stretch that the last block ended with. Returns where it ends in this block."""
        if self._open is None:
            return 0
        if samples[0] != self._open.value:
            self._close(self._open, self._done, samples[: self._context])
            return 0
        differs = samples != self._open.value
        if not differs.any():
            return len(samples)
        first = int(differs.argmax())
        self._close(self._open, self._done + first, samples[first : first + self._context])
        return first

    def _start_of_last_stretch(self, samples: Array) -> int:
        for part in (samples[-self._min_frames :], samples):
            differs = np.flatnonzero(part != samples[-1])
            if len(differs):
                return len(samples) - len(part) + int(differs[-1]) + 1
        return 0

    def _add_inner(self, samples: Array, first: int, last: int) -> None:
        inner = samples[first:last]
        if not self._may_contain_stretch(inner):
            return
        changes = np.flatnonzero(inner[1:] != inner[:-1]) + 1
        bounds = first + np.concatenate(([0], changes, [len(inner)]))
        for index in np.flatnonzero(np.diff(bounds) >= self._min_frames).tolist():
            start, end = int(bounds[index]), int(bounds[index + 1])
            after = samples[end : end + self._context]
            self._close(self._stretch(samples, start), self._done + end, after)

    def _may_contain_stretch(self, inner: Array) -> bool:
        points = inner[:: self._grid]
        equal = points[1:] == points[:-1]
        needed = GRID_POINTS - 2
        if self._grid == 1 or len(equal) < needed:
            return len(inner) >= self._min_frames
        together = equal[: len(equal) - needed + 1].copy()
        for shift in range(1, needed):
            together &= equal[shift : len(equal) - needed + 1 + shift]
        return bool(together.any())

    def _stretch(self, samples: Array, start: int) -> _Stretch:
        before = samples[max(0, start - self._context) : start] if start else self._tail
        value = float(samples[start])
        return _Stretch(self._done + start, value, _largest_difference(before, value))

    def _close(self, stretch: _Stretch, end: int, after: Array) -> None:
        frames = end - stretch.start
        if frames < self._min_frames or stretch.value in (self._low, self._high):
            return
        sound = max(self._min_difference, MIN_CONTEXT_SHARE * (self._high - self._low))
        if min(stretch.before, _largest_difference(after, stretch.value)) < sound:
            if stretch.start == 0 or stretch.value == 0:
                self.silent_frames += frames
            return
        self.count += 1
        if len(self.found) < MAX_LISTED:
            self.found.append((stretch.start, end))


def _largest_difference(samples: Array, value: float) -> float:
    return float(np.abs(samples - value).max()) if len(samples) else 0.0
