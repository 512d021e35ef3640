"""A file that is read while its content still arrives."""

import io
import os
import threading

from oddsound.seekable import SeekableFile


class AbandonedError(Exception):
    """Nobody reads the file any more: its sender can stop."""


class ArrivingFile(io.RawIOBase):
    """A file of known size that one thread writes, while others read it with `open`.

    A read waits until the bytes that it asks for are there. If they never come, it ends early, as
    at the end of a file: decoders read in callbacks from C, which no exception can pass through.
    Then `failure` says why.

    failure : what ended the transfer early; None if nothing did, or not yet
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` : of an empty file that can be written and read at any position"""
        super().__init__()
        self.failure: Exception | None = None
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._at = 0
        self._size: int | None = None
        self._arrived = 0
        self._over = False
        self._abandoned = False

    def announce(self, size: int) -> None:
        """Set the size of the whole file, in bytes, before the first byte is written."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Append all bytes. Raises AbandonedError after `abandon`."""
        left = memoryview(data)
        while len(left):
            written = os.pwrite(self._descriptor, left, self._at)
            left = left[written:]
            with self._changed:
                if self._abandoned:
                    raise AbandonedError
                self._at += written
                self._arrived = max(self._arrived, self._at)
                self._changed.notify_all()
        return len(data)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go back, to write the same bytes once more. Those that are there stay readable."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence] + offset
        return self._at

    def truncate(self, size: int | None = None, /) -> int:
        """Do nothing: the same bytes are written once more."""
        return self._at if size is None else size

    def end(self, failure: Exception | None) -> None:
        """Say that nothing more is written. Reads that wait for missing bytes end.

        failure : why bytes are missing, or None
        """
        with self._changed:
            self._over, self.failure = True, failure
            self._changed.notify_all()

    @property
    def size(self) -> int:
        """Size of the whole file, in bytes. Waits for it; raises `failure` if it never comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._size is not None or self._over)
            if self._size is None:
                raise self.failure or EOFError("the transfer ended before it began")
            return self._size

    def open(self) -> "ArrivingReader":
        """A view of the whole file with a position of its own. Raises what `size` raises."""
        return ArrivingReader(self, self.size)

    def abandon(self) -> None:
        """Let the next `write` raise AbandonedError."""
        with self._changed:
            self._abandoned = True

    def read_at(self, position: int, buffer: bytearray | memoryview) -> int:
        """Fill the buffer, and return the number of bytes; fewer only at the end."""
        wanted = min(position + len(buffer), self.size)
        with self._changed:
            self._changed.wait_for(lambda: self._arrived >= wanted or self._over)
            count = min(self._arrived, wanted) - position
        return (
            os.preadv(self._descriptor, [memoryview(buffer)[:count]], position) if count > 0 else 0
        )


class ArrivingReader(SeekableFile):
    """Reads an ArrivingFile like any other file without a buffer."""

    def __init__(self, file: ArrivingFile, size: int) -> None:
        super().__init__(size)
        self._file = file

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        count = self._file.read_at(self.at, buffer)
        self.at += count
        return count
