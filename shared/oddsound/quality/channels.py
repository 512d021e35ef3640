"""Mixes channels to mono, without the channels that a broken cable or a stuck input left silent."""

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array

SILENT_SHARE = 1e-4
"""A channel whose range is this share of the largest range (80 dB below it) is silent."""

MAX_INVERTED_CORRELATION = -0.9
"""Two channels with a lower correlation cancel each other in the mean: one of them is inverted."""

MIN_BLOCK_S = 0.25
"""A shorter block says too little about a channel, unless it is the whole recording."""


class ChannelMix:
    """Decides block by block which channels are mixed, and with which sign.

    The decision is made with the first block in which a channel has sound, and stays, so that the
    mix has no steps between blocks. Silent channels (zeros, a constant, or one-bit noise) are left
    out, unless all are silent. A channel that has a correlation below -0.9 with the others is
    inverted; the majority keeps its sign, and of two channels the first does. Only one thing
    changes later: a channel that is silent in a whole block, while others are not, is left out from
    then on.

    Channels that differ are normal in a microphone array: they are all used.

    channels : number of channels
    step : smallest difference of two samples in the file, or 0 if it is not fixed
    """

    def __init__(self, channels: int, sample_rate: int, step: float) -> None:
        self._step = step
        self._min_frames = round(MIN_BLOCK_S * sample_rate)
        self._signs: NDArray[np.float32] = np.ones(channels, np.float32)
        self._is_decided = channels == 1
        self._frames = 0
        self.used = list(range(channels))
        """Indices of the channels that are mixed now."""

        self.silent_from: dict[int, int] = {}
        """Channels that are left out -> the frame from which on."""

    @property
    def inverted(self) -> list[int]:
        """Indices of the channels that are inverted before they are mixed."""
        return [channel for channel in self.used if self._signs[channel] < 0]

    def mix(self, planes: Array, ranges: Array) -> Array:
        """The mix of a block [shape=(frames,)]: the mean of the channels in use.

        planes : [shape=(channels, frames)], each channel contiguous
        ranges : difference of the largest and the smallest sample of each channel
        """
        if len(planes) == 1:
            only: Array = planes[0]
            return only
        has_sound = ranges > max(self._step, SILENT_SHARE * float(ranges.max()))
        if not self._is_decided:
            if has_sound.any():
                self._is_decided = True
                self._leave_out(~has_sound, 0)
                self._invert(planes)
        elif planes.shape[1] >= self._min_frames and (has_sound & (self._signs != 0)).any():
            self._leave_out(~has_sound & (self._signs != 0), self._frames)
        self._frames += planes.shape[1]
        if (self._signs == 1).all():
            mean: Array = planes.mean(axis=0)
            return mean
        weights = self._signs[self.used] / np.float32(len(self.used))
        mixed: Array = weights.astype(np.float32) @ planes[self.used]
        return mixed

    def _leave_out(self, channels: NDArray[np.bool_], frame: int) -> None:
        self._signs[channels] = 0
        self.used = [channel for channel, sign in enumerate(self._signs) if sign]
        self.silent_from |= {int(channel): frame for channel in np.flatnonzero(channels)}

    def _invert(self, planes: Array) -> None:
        used = np.array(self.used)
        # With 64 bits, the squares of the smallest samples of a float file are not 0.
        samples = planes[used].astype(np.float64)
        centred = samples - samples.mean(axis=1, keepdims=True)
        covariance = centred @ centred.T
        deviation = np.sqrt(np.diag(covariance))
        correlation = covariance / np.outer(deviation, deviation)
        reference = int(np.abs(correlation).sum(axis=1).argmax())
        to_reference = correlation[reference]
        is_opposite = to_reference < MAX_INVERTED_CORRELATION
        is_aligned = to_reference > -MAX_INVERTED_CORRELATION
        balance = np.count_nonzero(is_aligned) - np.count_nonzero(is_opposite)
        first = int(np.flatnonzero(is_aligned | is_opposite)[0])
        if balance < 0 or (balance == 0 and is_opposite[first]):
            is_opposite = is_aligned
        self._signs[used[is_opposite]] = -1
