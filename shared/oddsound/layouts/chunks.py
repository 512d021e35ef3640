"""Walks through the chunks of a file, whatever their headers look like."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from oddsound.layouts.layout import several_recordings

MAX_CHUNKS = 1000
BLOCK_BYTES = 1 << 20

RECORDINGS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b".snd", b"dns.")
"""What a second file begins with that was appended to the first."""

TAGS = (b"ID3", b"TAG", b"APETAGEX")
UNPADDED = (b"data", b"fmt ", b"fact", b"LIST")
"""Names of chunks that are recognised also where a program has forgotten to pad the one before."""

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
    """The chunks of a file of `size` bytes that begins at `offset`.

    Iterating raises InvalidAudioError if a second recording follows.
    end : after iterating, the position behind the last chunk
    is_padded : after iterating, whether all chunks begin where they should
    """

    def __init__(self, file: BinaryIO, offset: int, size: int, shape: Shape) -> None:
        self._file = file
        self._offset = offset
        self._shape = shape
        self.size = self.end = size
        self.is_padded = True

    def __iter__(self) -> Iterator[Chunk]:
        at = self._offset + self._shape.start
        for _ in range(MAX_CHUNKS):
            self.end = at
            chunk = self.at(at)
            if chunk is None:
                return
            if chunk.name[:4] in RECORDINGS:
                raise several_recordings(at)
            is_sound = chunk.name == self._shape.sound
            if not is_sound and self._is_random(chunk):
                return
            yield chunk
            # A chunk of sound without a length extends to the end of the file.
            if is_sound and self.is_unfinished(chunk):
                self.end = self.size
                return
            at = self._after(chunk)

    def behind(self) -> int:
        """After iterating: bytes behind the last chunk that are no tag, and not only zeros.

        Raises InvalidAudioError if they are a second recording.
        """
        chunk = self.at(self.end)
        if chunk is not None and chunk.name[:4] in RECORDINGS:
            raise several_recordings(self.end)
        is_chunk = chunk is not None and not self._is_random(chunk)
        if self.end >= self.size or is_chunk or self.read(self.end, 8).startswith(TAGS):
            return 0
        blocks = range(self.end, self.size, BLOCK_BYTES)
        has_content = any(self.read(at, BLOCK_BYTES).strip(b"\0") for at in blocks)
        return self.size - self.end if has_content else 0

    def _after(self, chunk: Chunk) -> int:
        """Where the next chunk begins."""
        end = chunk.body + chunk.length
        padded = end + -(end - self._offset) % self._shape.multiple
        if padded != end:
            following = self.at(end)
            if following is not None and following.name in UNPADDED:
                self.is_padded = False
                return end
        return padded

    def _is_random(self, chunk: Chunk) -> bool:
        """Whether samples only look like a chunk: it has a strange name and does not fit."""
        is_named = chunk.name[:4].replace(b" ", b"").isalnum()
        return not is_named and chunk.body + chunk.length > self.size

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
