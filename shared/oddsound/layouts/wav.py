"""WAV, RF64 and BW64: unfinished headers, and sound in several chunks."""

import struct
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.layouts.chunks import ByteOrder, Chunks, Shape
from oddsound.layouts.layout import Layout, Pcm
from oddsound.spliced import Piece

MAX_FORMAT_BYTES = 1 << 16
MAX_WAV_BYTES = (1 << 32) - MAX_FORMAT_BYTES
"""More sound does not fit into WAV, and stays RF64."""

PCM_FORMAT = struct.Struct("<HHIIHH")
"""The chunk fmt: tag, channels, sample rate, bytes of a second and of a frame, bits of a sample."""

PCM_TAG = 1

UNKNOWN = 0xFFFFFFFF
"""The length is in the chunk ds64, or is not known."""


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes."""
    file.seek(kind.offset)
    order: ByteOrder = "big" if file.read(4) == b"RIFX" else "little"
    found = _Found(Chunks(file, kind.offset, size, Shape(12, 4, order, b"data")), order)
    present = sum(map(len, found.sound))
    if found.is_usual and kind.name != "BW64" and not kind.offset:
        return Layout(
            present=present,
            announced=found.announced,
            behind=found.behind,
            problem=found.problem,
            pcm=found.pcm,
        )
    if present > MAX_WAV_BYTES or not found.sound:
        first = b"RF64" if kind.name == "BW64" else b""
        pieces: list[Piece] = [first, range(kind.offset + len(first), size)]
        return Layout(pieces, present=present, announced=found.announced, problem=found.problem)
    head = b"WAVE" + b"".join(found.copied) + b"data" + present.to_bytes(4, order)
    riff = b"RIFX" if order == "big" else b"RIFF"
    whole = riff + (len(head) + present).to_bytes(4, order) + head
    return Layout(
        [whole, *found.sound],
        present=present,
        announced=found.announced,
        behind=found.behind,
        problem=found.problem,
    )


class _Found:
    """What the chunks of a file say.

    copied : the chunks that describe the sound
    sound : ranges of the file
    announced : bytes of sound according to the headers
    behind : bytes behind the last chunk, see Chunks.behind
    is_usual : whether libsndfile finds all of it by itself
    """

    def __init__(self, chunks: Chunks, order: ByteOrder) -> None:
        self._order = order
        self._formats: list[bytes] = []
        self.copied: list[bytes] = []
        self.sound: list[range] = []
        self.announced = 0
        self.is_usual = True
        long_length, long_end = 0, chunks.size
        for chunk in chunks:
            if chunk.name == b"ds64":
                long_length = int.from_bytes(chunks.read(chunk.body + 8, 8), order)
            elif chunk.name in (b"fmt ", b"fact") and chunk.length <= MAX_FORMAT_BYTES:
                self.is_usual &= not self.sound
                content = chunks.read(chunk.body, chunk.length)
                header = chunk.name + len(content).to_bytes(4, order)
                self.copied.append(header + content + bytes(len(content) % 2))
                if chunk.name == b"fmt ":
                    self._formats.append(content)
            elif chunk.name == b"data":
                self.is_usual &= not self.sound
                rest = max(0, chunks.size - chunk.body)
                length = chunk.length
                if length == UNKNOWN and 0 < long_length < 1 << 62:
                    length = long_length
                    long_end = chunk.body + length + length % 2
                elif chunks.is_unfinished(chunk):
                    length, self.is_usual = rest, False
                self.sound.append(range(chunk.body, chunk.body + min(length, rest)))
                self.announced += length
        chunks.end = min(chunks.end, long_end)
        self.behind = chunks.behind()
        self.is_usual &= chunks.is_padded

    @property
    def problem(self) -> str:
        """Why the file cannot be decoded, if it cannot; empty if nothing is known."""
        descriptions = len(set(self._formats))
        if not self._formats:
            return "no chunk `fmt `, which describes the sound, was found"
        if not self.sound:
            return "no chunk `data`, which contains the sound, was found"
        if descriptions > 1:
            return f"{descriptions} chunks `fmt ` describe the sound, and contradict each other"
        return ""

    @property
    def pcm(self) -> Pcm | None:
        """The sound, if it is one chunk of 16-bit samples, complete and without contradictions."""
        if self._order != "little" or len(self._formats) != 1 or len(self.sound) != 1:
            return None
        (description,), (sound,) = self._formats, self.sound
        if len(description) < PCM_FORMAT.size or len(sound) != self.announced or self.behind:
            return None
        tag, channels, rate, rate_bytes, frame_bytes, bits = PCM_FORMAT.unpack_from(description)
        is_plain = tag == PCM_TAG and bits == 16 and channels and rate and len(sound) >= frame_bytes
        if not is_plain or frame_bytes != 2 * channels or rate_bytes != rate * frame_bytes:
            return None
        return Pcm(rate, channels, sound)
