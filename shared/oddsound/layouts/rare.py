"""VOC, AVR, True Audio and MP4: what FFmpeg does not notice, missing ends and second recordings."""

import struct
from typing import BinaryIO

from oddsound.containers import Container
from oddsound.layouts.layout import Layout, several_recordings

VOC_SOUND = (1, 2, 9)
"""Types of VOC blocks that contain sound."""

MAX_BLOCKS = 100_000

AVR_BYTES = 128
AVR_HEADER = struct.Struct(">4s8sHHHHHII")
"""Mark, name, 0 for mono, bits of a sample, sign, loop, MIDI, sample rate, frames."""

TTA_HEADER = struct.Struct("<4sHHHIII")
"""Mark, format, channels, bits, sample rate, frames, checksum."""

MAX_TAG_BYTES = 1 << 16
"""Bytes between two files that are searched for the beginning of the second."""


def voc_layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a VOC file of `size` bytes, which consists of blocks."""
    file.seek(kind.offset + 20)
    at = kind.offset + int.from_bytes(file.read(2), "little")
    present = announced = 0
    for _ in range(MAX_BLOCKS):
        file.seek(at)
        header = file.read(4)
        if len(header) < 4 or header[0] == 0:
            break
        length = int.from_bytes(header[1:], "little")
        if header[0] in VOC_SOUND:
            announced += length
            present += max(0, min(length, size - at - 4))
        at += 4 + length
    return Layout(present=present, announced=announced)


def mp4_layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of an MP4 file of `size` bytes.

    Raises InvalidAudioError if a second one follows.
    """
    at, is_first = kind.offset, True
    for _ in range(MAX_BLOCKS):
        file.seek(at)
        header = file.read(16)
        if not is_first and header[4:8] == b"ftyp":
            raise several_recordings(at)
        length = int.from_bytes(header[:4])
        if length == 1:
            length = int.from_bytes(header[8:16])
        if length < 8 or at + length >= size:
            break
        at, is_first = at + length, False
    return Layout()


def avr_layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of an AVR file of `size` bytes."""
    file.seek(kind.offset)
    header = file.read(AVR_HEADER.size)
    if len(header) < AVR_HEADER.size:
        return Layout()
    _, _, stereo, bits, *_, frames = AVR_HEADER.unpack(header)
    announced = frames * (2 if stereo else 1) * (bits // 8)
    present = max(0, size - kind.offset - AVR_BYTES)
    return Layout(present=min(present, announced), announced=announced)


def tta_layout(file: BinaryIO, kind: Container, size: int) -> Layout:
    """The layout of a True Audio file of `size` bytes.

    Raises InvalidAudioError if a second one follows.
    """
    file.seek(kind.offset)
    header = file.read(TTA_HEADER.size)
    if len(header) < TTA_HEADER.size:
        return Layout()
    *_, rate, frames, _ = TTA_HEADER.unpack(header)
    blocks = -(-frames // max(1, rate * 256 // 245))  # each has about a second
    table = file.read(min(4 * blocks, size))
    content = sum(struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4]))
    end = kind.offset + TTA_HEADER.size + len(table) + 4 + content
    file.seek(end)
    second = file.read(MAX_TAG_BYTES).find(b"TTA1")
    if end < size and second >= 0:
        raise several_recordings(end + second)
    return Layout()
