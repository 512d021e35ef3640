"""A file that is put together from parts of another file and from other bytes."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

from oddsound.seekable import SeekableFile


class File(Protocol):
    """A file that is read at any position: a BytesIO, or a file without a buffer."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...


type Piece = bytes | range
"""Bytes, or a range of positions in the file."""


BUFFER_BYTES = 1 << 18
"""Decoders read a few bytes at a time, each time by a call from C."""


class SplicedFile(io.BufferedReader):
    """The pieces, one behind the other. The file itself is not changed."""

    def __init__(self, file: File, pieces: Sequence[Piece]) -> None:
        super().__init__(_Pieces(file, pieces), BUFFER_BYTES)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; a negative position leaves the position as it is.

        A damaged header can make libsndfile seek to one, in a callback from C, which no exception
        can pass through.
        """
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            return self.tell()


class _Pieces(SeekableFile):
    def __init__(self, file: File, pieces: Sequence[Piece]) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(accumulate(map(len, self._pieces)))
        super().__init__(self._ends[-1] if self._ends else 0)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer as far as there are bytes."""
        left = memoryview(buffer)
        while len(left):
            count = self._read_piece(left)
            if not count:
                break
            left = left[count:]
            self.at += count
        return len(buffer) - len(left)

    def _read_piece(self, buffer: memoryview) -> int:
        """Read from the piece at the current position; returns the number of bytes."""
        index = bisect_right(self._ends, self.at)
        if index == len(self._pieces):
            return 0
        piece = self._pieces[index]
        start = self.at - (self._ends[index] - len(piece))
        part = piece[start : start + len(buffer)]
        if isinstance(part, bytes):
            buffer[: len(part)] = part
            return len(part)
        self._file.seek(part.start)
        return self._file.readinto(buffer[: len(part)]) or 0
