"""A file of known size that is read at any position, without a buffer."""

import io
import sys


class SeekableFile(io.RawIOBase):
    """Keeps the position; subclasses read at `self.at`, and move it."""

    def __init__(self, size: int) -> None:
        """`size` : in bytes"""
        super().__init__()
        self.size = size
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move, also behind the end. Raises ValueError for a position before the start."""
        target = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence] + offset
        if target < 0:
            raise ValueError(f"negative position {target}")
        # As far as a position can be passed on to C: a damaged header may claim more.
        self.at = min(target, sys.maxsize)
        return self.at
