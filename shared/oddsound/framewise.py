"""Features that are statistics over frames of equal length, computed from a stream of samples."""

from abc import ABC, abstractmethod
from itertools import accumulate

import numpy as np

from oddsound.descriptors import Array

PART_FRAMES = 128
"""Frames that are computed together: larger temporary arrays do not fit in the processor's cache.
"""


class FramewiseExtractor(ABC):
    """Base of extractors that need only some numbers of each frame, not the samples.

    Therefore windows that overlap share their frames, and the memory for a window is that of the
    numbers of its frames.

    frame_rate : frames per second
    n_fft : samples in a frame
    hop_length : samples from one frame to the next, half a frame
    columns : names of the numbers of a frame -> their columns in `frames`; set by the subclass
    """

    columns: dict[str, slice]

    def __init__(self, sample_rate: int, frame_s: float) -> None:
        self.n_fft = int(2 ** round(np.log2(frame_s * sample_rate)))
        self.hop_length = self.n_fft // 2
        self.min_samples = self.n_fft
        self.frame_rate = sample_rate / self.hop_length
        turn = np.arange(self.n_fft) * (2 * np.pi / self.n_fft)
        self.window = 0.5 - 0.5 * np.cos(turn)
        """Hann window, float64. The import of scipy.signal would slow down the cold start."""

    def __call__(self, waveform: Array) -> Array:
        """The feature vector of one waveform.

        waveform : float32 [shape=(samples,)], samples >= min_samples, finite
        Returns float32 [shape=(len(names),)], finite, in the order of `names`.
        """
        rest = waveform[self.count(len(waveform)) * self.hop_length :]
        return self.summarise(self.frames(waveform), waveform[: self.n_fft], rest)

    def count(self, samples: int) -> int:
        """Number of whole frames in so many samples."""
        return max(0, (samples - self.n_fft) // self.hop_length + 1)

    def frames(self, samples: Array) -> Array:
        """The numbers of each whole frame, float32 [shape=(frames, numbers)].

        samples : float32 [shape=(samples,)], from the first sample of the first frame on
        """
        count = self.count(len(samples))
        width = max(columns.stop for columns in self.columns.values())
        rows = np.empty((count, width), np.float32)
        # Parts of about the same size: each costs some time, however few its frames are.
        parts = -(-count // PART_FRAMES)
        size = -(-count // parts) if parts else 1
        for first in range(0, count, size):
            last = min(first + size, count)
            part = samples[first * self.hop_length : (last - 1) * self.hop_length + self.n_fft]
            self._measure(part, self.named(rows[first:last]))
        return rows

    def split_into_frames(self, samples: Array) -> Array:
        """A view of the frames [shape=(frames, n_fft)]; samples >= min_samples."""
        # What sliding_window_view does, which takes as long as the window function of 100 frames.
        samples = np.ascontiguousarray(samples)
        shape = self.count(len(samples)), self.n_fft
        step = samples.itemsize
        return np.ndarray(shape, samples.dtype, samples, strides=(self.hop_length * step, step))

    def named(self, rows: Array) -> dict[str, Array]:
        """The columns of `frames` by name."""
        return {name: rows[:, columns] for name, columns in self.columns.items()}

    @abstractmethod
    def _measure(self, samples: Array, found: dict[str, Array]) -> None:
        """Measure the frames of some samples.

        found : arrays by name that get the numbers [shape=(frames, how many)]
        """

    @abstractmethod
    def summarise(self, frames: Array, first: Array, rest: Array) -> Array:
        """The feature vector of a waveform, as `__call__` gives it.

        frames : of `self.frames`, all of the waveform
        first : the samples of its first frame [shape=(n_fft,)]
        rest : its samples from where the next frame would begin, hop_length or more, but no frame
        """


def side_by_side(**widths: int) -> dict[str, slice]:
    """The columns of numbers with these names, from how many columns each has."""
    ends = list(accumulate(widths.values()))
    return {
        name: slice(end - width, end)
        for (name, width), end in zip(widths.items(), ends, strict=True)
    }
