"""Reads WAV files of uncompressed 16-bit samples, the usual ones, without libsndfile.

NumPy does it in a fifth of the time. What is unusual in any way is left to libsndfile.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.layouts.layout import Pcm

PIECE_BYTES = 1 << 16
"""Bytes that are read and converted together: the processor's cache keeps them in between."""


type Samples = NDArray[np.int16]


class File(Protocol):
    """A BytesIO, or a file without a buffer."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class PcmDecoder:
    """A Decoder for the samples that a Pcm describes."""

    step = 1 / 32768
    has_full_scale = True

    def __init__(self, file: File, pcm: Pcm) -> None:
        self._file = file
        self._position = pcm.sound.start
        self._left = len(pcm.sound) // (2 * pcm.channels)
        self.sample_rate = pcm.sample_rate
        self.channels = pcm.channels
        self.frames: int | None = self._left
        self.notes: list[str] = []

    def read(self, frames: int) -> Array:
        """The next frames, float32 [shape=(frames, channels)], see Decoder."""
        count = min(frames, self._left)
        block = np.empty(count * self.channels, np.float32)
        piece = np.empty(PIECE_BYTES // 2, "<i2")
        self._file.seek(self._position)
        done = 0
        while done < len(block):
            part = block[done : done + len(piece)]
            samples = self._filled(piece[: len(part)])
            converted = part[: len(samples)]
            np.copyto(converted, samples)
            converted *= np.float32(self.step)
            done += len(samples)
            if len(samples) < len(part):
                # The sender stopped: the rest never comes.
                count = done // self.channels
                break
        self._left -= count
        self._position += 2 * self.channels * count
        return block[: count * self.channels].reshape(count, self.channels)

    def _filled(self, samples: Samples) -> Samples:
        """Read into an array; returns the part of it that could be read."""
        buffer, at = memoryview(samples).cast("B"), 0
        while at < len(buffer) and (count := self._file.readinto(buffer[at:])):
            at += count
        return samples[: at // 2]
