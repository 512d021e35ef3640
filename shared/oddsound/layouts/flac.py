"""FLAC: whether a second stream follows the first."""

from typing import BinaryIO

from oddsound.containers import Container
from oddsound.errors import InvalidAudioError
from oddsound.layouts.layout import Layout

BLOCK_BYTES = 1 << 20
MARK = b"fLaC"
FIRST_BLOCKS = (b"\0\0\0\x22", b"\x80\0\0\x22")
"""What follows the mark: the header of the first block, which is the only one or not."""


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes. Raises InvalidAudioError if it has two streams."""
    at = kind.offset + len(MARK)
    while at < size:
        file.seek(at)
        block = file.read(BLOCK_BYTES + 7)
        found = block.find(MARK)
        while found >= 0:
            if block[found + 4 : found + 8] in FIRST_BLOCKS:
                raise InvalidAudioError(
                    "the file contains several recordings, one behind the other; the second begins"
                    f" at byte {at + found:,}: split it into files"
                )
            found = block.find(MARK, found + 1)
        at += BLOCK_BYTES
    return Layout([range(kind.offset, size)] if kind.offset else None)
