"""Walks through the chunks of a file, whatever their headers look like."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

MAX_CHUNKS = 1000

type ByteOrder = Literal["big", "little"]


@dataclass(frozen=True)
class Shape:
    """How the chunks of a format look.

    start : bytes before the first chunk
    name, length : bytes of these fields of a header
    counts_header : whether the length includes the header
    multiple : chunks begin at multiples of this
    sound : name of the chunk with the sound
    """

    start: int
    length: int
    order: ByteOrder
    sound: bytes
    name: int = 4
    counts_header: bool = False
    multiple: int = 2

    @property
    def header(self) -> int:
        """Bytes of a header."""
        return self.name + self.length


@dataclass(frozen=True)
class Chunk:
    """A chunk. body : where its content begins; length : of its content, as its header says."""

    name: bytes
    body: int
    length: int


class Chunks:
    """The chunks of a file of `size` bytes that begins at `offset`."""

    def __init__(self, file: BinaryIO, offset: int, size: int, shape: Shape) -> None:
        self._file = file
        self._offset = offset
        self._shape = shape
        self.size = size

    def __iter__(self) -> Iterator[Chunk]:
        at = self._offset + self._shape.start
        for _ in range(MAX_CHUNKS):
            chunk = self.at(at)
            if chunk is None:
                return
            yield chunk
            # A chunk of sound without a length extends to the end of the file.
            if chunk.name == self._shape.sound and self.is_unfinished(chunk):
                return
            end = chunk.body + chunk.length - self._offset
            at = self._offset + end + -end % self._shape.multiple

    def at(self, position: int) -> Chunk | None:
        """The chunk at a position of the file; None if there is no header with a sensible name."""
        shape = self._shape
        if position >= self.size:  # however far a damaged length points
            return None
        header = self.read(position, shape.header)
        name = header[:4]
        if len(header) < shape.header or not all(0x20 <= byte < 0x7F for byte in name):
            return None
        length = int.from_bytes(header[shape.name :], shape.order)
        if shape.counts_header:
            length = max(0, length - shape.header)
        return Chunk(header[: shape.name], position + shape.header, length)

    def is_unfinished(self, chunk: Chunk) -> bool:
        """Whether a recorder did not know the length, or stopped before it wrote it."""
        rest = self.size - chunk.body
        if chunk.length > rest and chunk.length >= 0x7FFF0000:
            return True
        if chunk.length or rest <= 0:
            return False
        following = self.at(chunk.body)
        return following is None or following.body + following.length > self.size + 1

    def read(self, position: int, size: int) -> bytes:
        """Bytes of the file."""
        self._file.seek(position)
        return self._file.read(size)
