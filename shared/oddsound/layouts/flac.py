"""FLAC: whether frames are missing, more than announced, or followed by a second stream.

libFLAC replaces missing frames by silence, and stops after the length in the header.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.errors import InvalidAudioError
from oddsound.layouts.layout import Layout, several_recordings
from oddsound.spliced import Piece

BLOCK_BYTES = 1 << 20
MARK = b"fLaC"
FIRST_BLOCKS = (b"\0\0\0\x22", b"\x80\0\0\x22")
"""What follows the mark: the header of the first block, which is the only one or not."""

STREAMINFO_AT, STREAMINFO_BYTES = 8, 34
MAX_HEADER_BYTES = 16
HEADER = re.compile(rb"\xff[\xf8\xf9][\x10-\xff][\x00-\xaf]")
"""The fixed bytes of a frame's header: synchronisation, block size, channels."""

BLOCK_SIZES = (0, 192, 576, 1152, 2304, 4608, 0, 0, *(256 << step for step in range(8)))
"""Samples of a block by the code in a header. 0: they follow the number of the frame."""

VARIABLE = 1
"""Bit of a header: the number counts samples instead of blocks, whose sizes vary."""


@dataclass(frozen=True)
class Frame:
    """What the header of a frame says.

    at : its byte in the file
    start : its first sample
    size : samples of each channel
    """

    at: int
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes."""
    pieces: list[Piece] | None = [range(kind.offset, size)] if kind.offset else None
    # The search reads the whole file, which may still be arriving: it waits until the end.
    return Layout(pieces, check=partial(check_frames, file, kind.offset, size))


def check_frames(file: BinaryIO, offset: int, size: int) -> None:
    """Raises InvalidAudioError if there are more or fewer frames than there should be.

    That is: another stream follows, frames in the middle are missing, or the header announces less
    than there is.
    """
    file.seek(offset + STREAMINFO_AT)
    info = file.read(STREAMINFO_BYTES)
    if len(info) < STREAMINFO_BYTES:
        return
    described = int.from_bytes(info[10:18])
    rate, announced = described >> 44, described & (1 << 36) - 1
    frames = list(_frames(file, _first_frame(file, offset + len(MARK), size), size))
    end = 0
    for frame, following in pairwise([*frames, None]):
        if frame is None:
            break
        if frame.start == end or end == 0:
            end = frame.end
        elif frame.start > end and (
            frame.end == announced or (following and following.start == frame.end)
        ):
            raise InvalidAudioError(
                f"the file is damaged: {frame.start - end:,} samples are missing after"
                f" {end / max(1, rate):.1f} s, before byte {frame.at:,}"
            )
    if announced and end > announced and frames[0].start == 0:
        raise InvalidAudioError(
            f"the file is damaged: its header announces {announced / max(1, rate):.1f} s, and it"
            f" contains {end / max(1, rate):.1f} s"
        )


def _first_frame(file: BinaryIO, at: int, size: int) -> int:
    """The byte behind the blocks of metadata, which may contain anything."""
    is_last = False
    while not is_last and at < size:
        file.seek(at)
        header = file.read(4)
        is_last = len(header) < 4 or header[0] >= 0x80
        at += 4 + int.from_bytes(header[1:])
    return at


def _frames(file: BinaryIO, at: int, size: int) -> Iterator[Frame]:
    """What looks like a frame, from byte `at` on. Raises InvalidAudioError if a stream begins."""
    block_samples = 0
    for start in range(at, size, BLOCK_BYTES):
        file.seek(start)
        block = file.read(BLOCK_BYTES + MAX_HEADER_BYTES)
        found = block.find(MARK)
        while found >= 0:
            if block[found + 4 : found + 8] in FIRST_BLOCKS:
                raise several_recordings(start + found)
            found = block.find(MARK, found + 1)
        for match in HEADER.finditer(block, 0, min(len(block), BLOCK_BYTES + 3)):
            header = block[match.start() : match.start() + MAX_HEADER_BYTES]
            parsed = _parse(header)
            if parsed is None:
                continue
            number, samples = parsed
            block_samples = block_samples or samples
            first = number if header[1] & VARIABLE else number * block_samples
            yield Frame(start + match.start(), first, samples)


def _parse(header: bytes) -> tuple[int, int] | None:
    """The number of a frame and its samples; None if this is no header: its checksum is wrong."""
    size_code, rate_code = header[2] >> 4, header[2] & 15
    if header[3] & 1 or rate_code == 15:
        return None
    # The number is written like a character in UTF-8, with up to 36 bits.
    ones = 8 - (~header[4] & 0xFF).bit_length() if len(header) > 4 else 1
    if ones in (1, 8):
        return None
    end = 4 + max(1, ones)
    number = header[4] & 0x7F >> ones
    for byte in header[5:end]:
        number = number << 6 | byte & 0x3F
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    samples = int.from_bytes(header[end : end + size_bytes]) + 1
    end += size_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(header) <= end or _crc8(header[:end]) != header[end]:
        return None
    return number, samples if size_bytes else BLOCK_SIZES[size_code]


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc8_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte << 1 ^ (0x07 if byte & 0x80 else 0)) & 0xFF
    return byte


_CRC8 = bytes(map(_crc8_of, range(256)))
