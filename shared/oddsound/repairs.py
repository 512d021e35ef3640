"""Files that libsndfile reads only in another form: the pieces of which that form consists."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.spliced import Piece

OGG_FLAC_HEADER = 9
"""Bytes before the first FLAC block in the first packet of an OGG stream."""


def pieces(file: BinaryIO, kind: Container) -> list[Piece] | None:
    """What libsndfile has to read instead of the file; None if it can read the file as it is."""
    size = file.seek(0, io.SEEK_END)
    if kind.name == "BW64":
        # The same as RF64 apart from its name, and chunks that describe the sound.
        return [b"RF64", range(kind.offset + 4, size)]
    if kind.name == "OGG" and kind.codec == "FLAC":
        return _without_bytes(list(_ogg_pages(file, kind.offset, size)), OGG_FLAC_HEADER)
    if kind.offset and kind.name != "MP3":
        return [range(kind.offset, size)]
    return None


def _ogg_pages(file: BinaryIO, offset: int, size: int) -> Iterator[range]:
    """The content of each page of the first stream of an OGG file.

    The packets of a stream follow each other without a gap in the content of its pages.
    """
    serial = None
    while offset < size:
        file.seek(offset)
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            return
        lengths = file.read(header[26])
        start = offset + 27 + len(lengths)
        offset = start + sum(lengths)
        serial = header[14:18] if serial is None else serial
        if header[14:18] == serial:
            yield range(start, min(offset, size))


def _without_bytes(parts: list[range], count: int) -> list[Piece]:
    """The parts without the first bytes, all of which are in the first part."""
    return [parts[0][count:], *parts[1:]] if parts else []
