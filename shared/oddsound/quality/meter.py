"""Measures what the recorder did to a recording, while it is decoded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oddsound.descriptors import Array
from oddsound.quality.bandwidth import Bandwidth
from oddsound.quality.channels import ChannelMix
from oddsound.quality.clipping import Clipping
from oddsound.quality.dropouts import MAX_LISTED, DropOuts

WEAK_DB = 20.0
"""A channel is weak if it is this much below all others..."""

ALIKE_DB = 10.0
"""...and if the others differ by less than this from each other."""

ONES = np.ones(256, np.float32)


@dataclass(frozen=True)
class SignalQuality:
    """What the recorder did to a recording. Channels are numbered from 0.

    sample_rate : of the file, in Hz; duration_s : of the recording
    range : difference between the largest and the smallest sample of the mix; full scale is 1
    level_db : level of the loudest channel without its DC offset, in dB of full scale (a constant
        signal at full scale has 0); -inf for silence
    steps : largest range of a channel in steps of the file's samples; None if they are not fixed
    has_full_scale : whether samples beyond 1 are impossible; float files may have any scale
    clipped_share : of all samples of the channels in use, 0..1
    dc_offset : the mean with the largest magnitude of the channels in use; full scale is 1
    dropouts : start and end in seconds of the first 100, from all channels in use
    dropout_count : number of all drop-outs
    silence_s : digital silence in all channels in use: seconds at the start, end, and between
    channels_used : indices of the channels in the mix
    inverted_channels : those that are inverted before they are mixed
    silent_from_s : index of a channel that was left out -> seconds from which on
    weak_channels : index -> dB below the next channel
    bandwidth_hz : the highest frequency that the recording can contain
    notes : sentences about what is missing from the file
    """

    sample_rate: int
    duration_s: float
    range: float
    level_db: float
    steps: float | None
    has_full_scale: bool
    clipped_share: float
    dc_offset: float
    dropouts: list[tuple[float, float]]
    dropout_count: int
    silence_s: float
    channels_used: list[int]
    inverted_channels: list[int]
    silent_from_s: dict[int, float]
    weak_channels: dict[int, float]
    bandwidth_hz: float
    notes: Sequence[str] = ()


class SignalMeter:
    """Mixes blocks to mono and measures them: one pass, with memory for one block.

    step : smallest difference of two samples in the file, or 0 if it is not fixed
    has_full_scale : whether samples beyond 1 are impossible in the file
    """

    def __init__(
        self, sample_rate: int, channels: int, step: float, *, has_full_scale: bool = True
    ) -> None:
        self._sample_rate = sample_rate
        self._step = step
        self._has_full_scale = has_full_scale
        self._mix = ChannelMix(channels, sample_rate, step)
        self._clipping = [Clipping(step) for _ in range(channels)]
        self._dropouts = [DropOuts(sample_rate, step) for _ in range(channels)]
        self._bandwidth = Bandwidth(sample_rate, step)
        self._low = np.full(channels, np.inf)
        self._high = np.full(channels, -np.inf)
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._mix_low, self._mix_high = np.inf, -np.inf
        self._frames = 0

    def mix(self, planes: Array, low: Array, high: Array) -> Array:
        """Measure a block, and mix it [shape=(frames,)] as ChannelMix describes.

        planes : float32 [shape=(channels, frames)], finite, each channel contiguous
        low, high : smallest and largest sample of each channel [shape=(channels,)]
        """
        mixed = self._mix.mix(planes, high - low)
        self._low = np.minimum(self._low, low)
        self._high = np.maximum(self._high, high)
        for channel in self._mix.used:
            samples, lowest, highest = planes[channel], float(low[channel]), float(high[channel])
            self._sum[channel] += _sum(samples)
            self._squares[channel] += np.dot(samples, samples)
            self._clipping[channel].add(samples, lowest, highest)
            self._dropouts[channel].add(samples, lowest, highest)
        self._bandwidth.add(mixed)
        if len(planes) == 1:
            self._mix_low, self._mix_high = float(self._low[0]), float(self._high[0])
        else:
            self._mix_low = min(self._mix_low, float(mixed.min()))
            self._mix_high = max(self._mix_high, float(mixed.max()))
        self._frames += planes.shape[1]
        return mixed

    def quality(self) -> SignalQuality:
        """What was measured; at least one block must have been mixed."""
        used = self._mix.used
        means = {c: float(self._sum[c]) / self._frames for c in used}
        levels = {c: _level_db(self._squares[c] / self._frames - means[c] ** 2) for c in used}
        dropouts, count = self._all_dropouts()
        largest_range = max(float(self._high[c] - self._low[c]) for c in used)
        return SignalQuality(
            sample_rate=self._sample_rate,
            duration_s=self._frames / self._sample_rate,
            range=self._mix_high - self._mix_low,
            level_db=max(levels.values()),
            steps=largest_range / self._step if self._step else None,
            has_full_scale=self._has_full_scale,
            clipped_share=sum(self._clipping[c].count() for c in used) / (self._frames * len(used)),
            dc_offset=max(means.values(), key=abs),
            dropouts=dropouts,
            dropout_count=count,
            silence_s=self._silence_s(),
            channels_used=used,
            inverted_channels=self._mix.inverted,
            silent_from_s={
                channel: frame / self._sample_rate
                for channel, frame in sorted(self._mix.silent_from.items())
            },
            weak_channels=_weak(levels),
            bandwidth_hz=self._bandwidth.hz(),
        )

    def _all_dropouts(self) -> tuple[list[tuple[float, float]], int]:
        """Drop-outs of the channels in use, overlapping ones joined, and their number."""
        parts = [self._dropouts[channel] for channel in self._mix.used]
        joined: list[tuple[int, int]] = []
        for start, end in sorted(found for part in parts for found in part.found):
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
            else:
                joined.append((start, end))
        count = max(len(joined), *(part.count for part in parts))
        rate = self._sample_rate
        return [(start / rate, end / rate) for start, end in joined[:MAX_LISTED]], count

    def _silence_s(self) -> float:
        parts = [self._dropouts[channel] for channel in self._mix.used]
        return min(part.silent_frames + part.trailing_frames for part in parts) / self._sample_rate


def _sum(samples: Array) -> float:
    """The sum of samples [shape=(frames,)], three times as fast as by NumPy's `sum`."""
    whole = len(samples) // len(ONES) * len(ONES)
    rows = samples[:whole].reshape(-1, len(ONES)) @ ONES
    return float(rows.sum()) + float(samples[whole:].sum())


def _level_db(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf


def _weak(levels: dict[int, float]) -> dict[int, float]:
    """The channel that is far below all others, if the others are alike: at most one."""
    if len(levels) < 2:
        return {}
    weakest, *others = sorted(levels, key=lambda channel: levels[channel])
    below = levels[others[0]] - levels[weakest]
    is_alike = levels[others[-1]] - levels[others[0]] < ALIKE_DB
    return {weakest: below} if below >= WEAK_DB and is_alike else {}
