"""AIFF, IFF/SVX, W64, CAF and AU: unfinished headers, and how much sound they announce."""

from typing import BinaryIO

from oddsound.containers import Container
from oddsound.layouts.chunks import RECORDINGS, ByteOrder, Chunks, Shape
from oddsound.layouts.layout import Layout, several_recordings
from oddsound.spliced import Piece

SHAPES = {
    "AIFF": Shape(12, 4, "big", b"SSND"),
    "IFF/SVX": Shape(12, 4, "big", b"BODY"),
    "CAF": Shape(8, 8, "big", b"data", multiple=1),
    "W64": Shape(
        *(40, 8, "little", b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")),
        name=16,
        counts_header=True,
        multiple=8,
    ),
}
AU_HEADER = 24


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes that consists of chunks."""
    shape = SHAPES[kind.name]
    chunks = Chunks(file, kind.offset, size, shape)
    whole: list[Piece] | None = [range(kind.offset, size)] if kind.offset else None
    sound = next((chunk for chunk in list(chunks) if chunk.name == shape.sound), None)
    if sound is None:
        return Layout(whole)
    present = size - sound.body
    unfinished = chunks.is_unfinished(sound)
    announced = present if unfinished else sound.length
    if kind.name == "CAF" and (unfinished or announced > present):
        # libsndfile refuses what the others may be: a length beyond the end of the file.
        whole = _with(kind.offset, sound.body - 8, present.to_bytes(8, "big"), size)
    if kind.name == "W64" and announced < present:
        # libsndfile reads to the end of the file, whatever the length is.
        whole = [range(kind.offset, sound.body + announced)]
    return Layout(
        whole, present=min(present, announced), announced=announced, behind=chunks.behind()
    )


def au_layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of an AU file of `size` bytes.

    Raises InvalidAudioError if a second one follows.
    """
    file.seek(kind.offset)
    header = file.read(AU_HEADER)
    order: ByteOrder = "big" if header[:4] == b".snd" else "little"
    start, length = (int.from_bytes(header[at : at + 4], order) for at in (4, 8))
    present = max(0, size - kind.offset - start)
    if length in (0, 0xFFFFFFFF) or (length >= 0x7FFF0000 and length > present):
        length = present
    end = kind.offset + start + length
    file.seek(end)
    if end < size and file.read(4) in RECORDINGS:
        raise several_recordings(end)
    pieces: list[Piece] | None = [range(kind.offset, size)] if kind.offset else None
    if len(header) == AU_HEADER and present < 1 << 32:
        pieces = _with(kind.offset, kind.offset + 8, min(present, length).to_bytes(4, order), size)
    behind = max(0, present - length)
    return Layout(pieces, present=min(present, length), announced=length, behind=behind)


def _with(start: int, at: int, data: bytes, size: int) -> list[Piece]:
    """The file from `start` on, with other bytes at one position."""
    return [range(start, at), data, range(at + len(data), size)]
