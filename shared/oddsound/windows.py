"""Divides a recording into windows, and computes their features while its samples arrive."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from oddsound.descriptors import Array
from oddsound.features import FeatureExtractor
from oddsound.framewise import FramewiseExtractor

MAX_SINGLE_WINDOW = 1.5
"""A recording longer than this many windows is divided into windows."""


def split(
    samples: int,
    window_s: float | None,
    sample_rate: int,
    extractor: FeatureExtractor | None = None,
) -> tuple[list[int], int]:
    """The first sample of each window of a recording, and the number of samples in a window.

    A recording of up to 1.5 windows is one window. A longer one is covered by the smallest
    possible number of windows at equal distances; the last window ends with the recording.

    If windows overlap by a frame of the extractor or more, they begin at multiples of its hop, so
    that they share frames. They are then up to a hop longer, so that the last one still ends with
    the recording.

    samples : in the recording
    window_s : length of a window; None for one window
    """
    size = samples if window_s is None else round(window_s * sample_rate)
    if samples <= MAX_SINGLE_WINDOW * size:
        return [0], samples
    count = -(-samples // size)
    overlap = size - (samples - size) / (count - 1)
    hop = 1
    if isinstance(extractor, FramewiseExtractor) and overlap >= extractor.n_fft:
        hop = extractor.hop_length
        size += (samples - size) % hop
    starts = np.linspace(0, (samples - size) // hop, count).round().astype(int) * hop
    return starts.tolist(), size


class WindowCutter:
    """Computes the features of each window of a recording that arrives in blocks of any size.

    Only samples that are still needed are kept. A frame that windows share is computed once.

    starts, size : of the windows, see `split`
    """

    def __init__(self, extractor: FeatureExtractor, starts: Sequence[int], size: int) -> None:
        self._frames = (
            extractor if isinstance(extractor, FramewiseExtractor) else _WithoutFrames(extractor)
        )
        self._starts = deque(starts)
        self._size = size
        self._open: deque[_Window] = deque()
        self._samples = np.empty(0, np.float32)
        self._position = 0  # of the first of these samples in the recording

    def feed(self, samples: Array) -> list[Array]:
        """Take the next samples, float32 [shape=(samples,)].

        Returns the feature vectors of the windows that are complete now, in their order.
        """
        self._samples = np.concatenate([self._samples, samples]) if len(self._samples) else samples
        end = self._position + len(self._samples)
        while self._starts and self._starts[0] + self._frames.n_fft <= end:
            start = self._starts.popleft()
            first = self._part(start, start + self._frames.n_fft).copy()
            self._open.append(_Window(start, start + self._size, first, start))
        for window in self._open:
            self._compute_frames(window, min(end, window.stop))
        found = []
        while self._open and self._open[0].stop <= end:
            found.append(self._features(self._open.popleft()))
        self._forget(end)
        return found

    def _compute_frames(self, window: "_Window", end: int) -> None:
        """Compute the frames of a window before `end` that are missing, for all that share them."""
        count = self._frames.count(end - window.next)
        if not count:
            return
        first, hop = window.next, self._frames.hop_length
        rows = self._frames.frames(
            self._part(first, first + (count - 1) * hop + self._frames.n_fft)
        )
        for other in self._open:
            other.take(first, rows, self._frames)

    def _features(self, window: "_Window") -> Array:
        rows = window.rows[0] if len(window.rows) == 1 else np.concatenate(window.rows)
        rest = self._part(window.next, window.stop)
        return self._frames.summarise(rows, window.first, rest)

    def _part(self, start: int, stop: int) -> Array:
        return self._samples[start - self._position : stop - self._position]

    def _forget(self, end: int) -> None:
        """Drop the samples that no window needs any more."""
        needed = [window.next for window in self._open] + list(self._starts)[:1]
        keep = min([end, *needed])
        # A copy, because a view would keep the whole block in memory.
        self._samples = self._samples[keep - self._position :].copy()
        self._position = keep


@dataclass
class _Window:
    """A window whose samples have begun to arrive. Positions are in samples of the recording.

    first : the samples of its first frame
    next : where the first frame begins that is not in `rows`
    rows : numbers of its frames, in the parts in which they were computed
    """

    start: int
    stop: int
    first: Array
    next: int
    rows: list[Array] = field(default_factory=list)

    def take(self, position: int, rows: Array, frames: "_Frames") -> None:
        """Add what this window needs of `rows`; the first of these frames begins at `position`."""
        skipped, off_grid = divmod(self.next - position, frames.hop_length)
        if off_grid or not 0 <= skipped < len(rows):
            return
        missing = frames.count(self.stop - self.next)
        taken = rows[skipped : skipped + missing]
        self.rows.append(taken)
        self.next += len(taken) * frames.hop_length


class _Frames(Protocol):
    """What is used of a FramewiseExtractor."""

    n_fft: int
    hop_length: int

    def count(self, samples: int) -> int: ...
    def frames(self, samples: Array) -> Array: ...
    def summarise(self, frames: Array, first: Array, rest: Array) -> Array: ...


class _WithoutFrames:
    """An extractor that needs the samples of a window: each sample is a frame."""

    n_fft = hop_length = 1

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor

    def count(self, samples: int) -> int:
        return samples

    def frames(self, samples: Array) -> Array:
        return samples.copy()

    def summarise(self, frames: Array, _first: Array, _rest: Array) -> Array:
        return self._extractor(frames)
