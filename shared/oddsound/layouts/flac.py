"""FLAC: whether a second stream follows the first."""

from functools import partial
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.errors import InvalidAudioError
from oddsound.layouts.layout import Layout
from oddsound.spliced import Piece

BLOCK_BYTES = 1 << 20
MARK = b"fLaC"
FIRST_BLOCKS = (b"\0\0\0\x22", b"\x80\0\0\x22")
"""What follows the mark: the header of the first block, which is the only one or not."""


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes."""
    pieces: list[Piece] | None = [range(kind.offset, size)] if kind.offset else None
    # The search reads the whole file, which may still be arriving: it waits until the end.
    return Layout(pieces, check=partial(check_single, file, kind.offset + len(MARK), size))


def check_single(file: BinaryIO, at: int, size: int) -> None:
    """Raises InvalidAudioError if another stream begins at byte `at` or later."""
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
