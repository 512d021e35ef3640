"""OGG: whole pages, their checksums, and the end of the stream."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.errors import InvalidAudioError
from oddsound.layouts.layout import Layout
from oddsound.spliced import Piece

FIRST, LAST = 2, 4
"""Flags of the pages of a stream."""

HEADER = 27
FLAC_HEADER = 9
"""Bytes before the first FLAC block in the first packet of a stream."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """A page. start, end : in the file; body : where its content begins; header : with lengths."""

    start: int
    body: int
    end: int
    header: bytes

    @property
    def flags(self) -> int:
        return self.header[5]

    @property
    def serial(self) -> bytes:
        """The stream that it belongs to."""
        return self.header[14:18]

    @property
    def has_sound(self) -> bool:
        """Whether a packet with sound ends in it: its position is neither 0 nor unknown."""
        return self.header[6:14] not in (bytes(8), b"\xff" * 8)

    @property
    def number(self) -> int:
        return int.from_bytes(self.header[18:22], "little")


def layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a file of `size` bytes.

    Raises InvalidAudioError if a page is damaged or missing, or if another stream follows.
    """
    pages = list(_pages(file, kind.offset, size))
    serial = pages[0].serial
    stream = [page for page in pages if page.serial == serial]
    started = False
    for page in pages:
        if started and page.flags & FIRST:
            raise InvalidAudioError(
                "the file contains several recordings, one behind the other (chained OGG streams):"
                " split it into files"
            )
        started |= not page.flags & FIRST
    _check_order(stream)
    if not any(page.has_sound for page in stream):
        raise InvalidAudioError("the file is cut off before its first sound")
    is_cut = not stream[-1].flags & LAST
    if kind.codec == "FLAC":
        content: list[Piece] = [range(page.body, page.end) for page in stream]
        return Layout([content[0][FLAC_HEADER:], *content[1:]], is_cut=is_cut)
    if not is_cut:
        return Layout([range(kind.offset, pages[-1].end)] if kind.offset else None)
    # Without a last page, libsndfile does not open some files.
    last = stream[-1]
    return Layout(
        [range(kind.offset, last.start), _as_last(file, last)], is_cut=True, has_length=False
    )


def _pages(file: BinaryIO, at: int, size: int) -> Iterator[Page]:
    """The complete pages. Raises InvalidAudioError if one is damaged, or if there is none."""
    first = at
    while at < size:
        file.seek(at)
        header = file.read(HEADER)
        if header[:4] != b"OggS"[: len(header)]:
            if not _has_page(file, at):
                return  # what follows the last page is not sound
            raise InvalidAudioError(f"the file is damaged: there is no OGG page at byte {at:,}")
        lengths = file.read(header[-1]) if len(header) == HEADER else b""
        body = at + HEADER + len(lengths)
        page = Page(at, body, body + sum(lengths), header + lengths)
        if len(lengths) < header[-1] or len(header) < HEADER or page.end > size:
            break
        if int.from_bytes(header[22:26], "little") != checksum(
            page.header, file.read(sum(lengths))
        ):
            raise InvalidAudioError(
                f"the file is damaged: the checksum of the OGG page at byte {at:,} is wrong"
            )
        yield page
        at = page.end
    if at == first:
        raise InvalidAudioError(
            "the file begins like OGG but cannot be decoded: its end is missing"
        )


def _has_page(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return b"OggS" in file.read()


def checksum(header: bytes, content: bytes) -> int:
    """The CRC of a page, without the CRC in its header.

    It is zlib's with the bits of each byte in reverse order, and without its inversions.
    """
    data = header[:22] + bytes(4) + header[26:] + content
    reversed_crc = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reversed_crc:032b}"[::-1], 2)


def _check_order(stream: list[Page]) -> None:
    """Raises InvalidAudioError if a page between two others is missing."""
    for before, page in pairwise(stream):
        missing = page.number - before.number - 1
        if missing:
            raise InvalidAudioError(
                f"the file is damaged: OGG pages are missing before byte {page.start:,}"
            )


def _as_last(file: BinaryIO, page: Page) -> bytes:
    """The page with the flag of the last one, and the checksum that it then has."""
    file.seek(page.body)
    content = file.read(page.end - page.body)
    header = bytearray(page.header)
    header[5] |= LAST
    header[22:26] = checksum(bytes(header), content).to_bytes(4, "little")
    return bytes(header) + content
