"""Finds the highest frequency that a recording can contain."""

import numpy as np

from oddsound.descriptors import Array
from oddsound.fourier import rfft

FRAME = 2048
"""Samples of a spectrum."""

WINDOW = (0.5 - 0.5 * np.cos(np.arange(FRAME) * (2 * np.pi / FRAME))).astype(np.float32)

FRAMES_PER_BLOCK = 4
SAMPLES_PER_FRAME = 16384
"""A block has one spectrum for so many samples, at least one and at most FRAMES_PER_BLOCK."""

BANDS = 64
MIN_BAND = 6
"""Lowest band in which an edge is searched: below it, a band is wide in comparison."""

PLATEAU_BANDS = 4
"""Bands below the edge that must all contain sound. A resonance is narrower."""

MIN_DROP_DB = 25.0
"""Across two bands. A machine that is quiet at high frequencies has no such edge."""

FLOOR_DB = 10.0
"""What is above the edge must be less than this above the quantisation noise of the samples."""

CLIFF_DB = 40.0
"""A drop across two bands that no machine has. What is above such an edge may exceed the
quantisation noise: a resampler that clips, dither, or the noise of a codec."""

QUANTISATION_STEP = 1 / 32768


class Bandwidth:
    """Finds the edge that a codec, a telephone line or a resampler leaves in the spectrum.

    Such an edge is steep, and above it is only quantisation noise, unless the edge is very high.
    Without one, the bandwidth is half the sample rate.

    step : smallest difference of two samples in the file, or 0 if it is not fixed
    """

    def __init__(self, sample_rate: int, step: float) -> None:
        self._nyquist_hz = sample_rate / 2
        noise = max(step, QUANTISATION_STEP) ** 2 / 12 * float(np.square(WINDOW).sum())
        self._floor = FLOOR_DB + 10 * np.log10(noise)
        self._power = np.zeros(FRAME // 2 + 1)
        self._frames = 0

    def add(self, samples: Array) -> None:
        """Add a block of the mix [shape=(samples,)]."""
        if len(samples) < FRAME:
            return
        count = min(max(len(samples) // SAMPLES_PER_FRAME, 1), FRAMES_PER_BLOCK)
        last = len(samples) - FRAME
        starts = [last * index // max(count - 1, 1) for index in range(count)]
        frames = np.stack([samples[start : start + FRAME] for start in starts])
        spectrum = rfft(frames * WINDOW)
        self._power += (np.square(spectrum.real) + np.square(spectrum.imag)).sum(axis=0)
        self._frames += count

    def hz(self) -> float:
        """The highest frequency of the blocks so far, in Hz."""
        if not self._frames or self._has_sound_at_the_top():
            return self._nyquist_hz
        level = 10 * np.log10(self._power[1:] / self._frames + 1e-30)
        # The median leaves out tones, which are narrower than a band.
        bands = np.sort(level.reshape(BANDS, -1), axis=1)[:, level.size // BANDS // 2]
        bands = np.maximum(bands, self._floor - FLOOR_DB)
        for top in range(BANDS - 3, MIN_BAND - 1, -1):
            above = float(bands[top + 2 :].max())
            drop = float(bands[top - PLATEAU_BANDS + 1 : top + 1].min()) - above
            if drop >= (MIN_DROP_DB if above < self._floor else CLIFF_DB):
                last = np.flatnonzero(level > max(above, self._floor) + FLOOR_DB / 2)
                last = last[last < (top + 2) * level.size // BANDS]
                return round(float((last[-1] + 1) / level.size * self._nyquist_hz))
        return self._nyquist_hz

    def _has_sound_at_the_top(self) -> bool:
        """A cheap test that most recordings pass: no edge is so high that it ends there."""
        top = sorted(self._power[-FRAME // 2 // BANDS :].tolist())
        middle = top[len(top) // 2]
        return bool(
            middle > self._frames * 10 ** (self._floor / 10)
            and middle > self._power.max() * 10 ** (-CLIFF_DB / 10)
        )
