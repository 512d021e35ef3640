"""Bytes that arrive over the network: in memory while they are few, then in a temporary file."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self

MEMORY_BYTES = 512 * 1024
"""Most bytes of one upload that are kept in memory: ten seconds of 16 bits at 25 kHz."""


class Spool:
    """Takes bytes, and gives them as the source of a prediction. It deletes its file in the end.

    max_memory : bytes beyond which they go to a temporary file, in the folder that TMPDIR names
    """

    def __init__(self, max_memory: float = MEMORY_BYTES) -> None:
        self._max_memory = max_memory
        self._parts: list[bytes] = []
        self._size = 0
        self._file: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.clear()
        if self._file is not None:
            self._file.close()

    def write(self, data: bytes) -> None:
        """Add bytes. Raises OSError if there is no space for them."""
        self._size += len(data)
        if self._size <= self._max_memory:
            self._parts.append(data)
            return
        if self._file is None:
            self._file = NamedTemporaryFile(prefix="oddsound-upload-")  # noqa: SIM115  __exit__
            self._file.writelines(self._parts)
            self._parts.clear()
        self._file.write(data)

    def source(self) -> bytes | Path:
        """What was written: the bytes themselves, or the path of the file."""
        if self._file is None:
            return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._file.flush()
        return Path(self._file.name)
