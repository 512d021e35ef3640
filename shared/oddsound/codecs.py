"""Finds which codec is in a container, as far as it decides who can decode it.

The functions for WAV, AIFF and CAF return an empty string if libsndfile decodes it.
"""

import re
from io import SEEK_END
from typing import BinaryIO, Literal

type ByteOrder = Literal["big", "little"]

MAX_MOOV_BYTES = 1 << 20
"""Bytes of the header of an MP4 file that are searched."""

MAX_BOXES = 1000

WAV_CODECS = {
    0x0050: "MPEG",
    0x0055: "MP3",
    0x00FF: "AAC",
    0x0160: "WMA",
    0x0161: "WMA",
    0x0162: "WMA",
    0x0163: "WMA",
    0x0270: "ATRAC3",
    0x1610: "AAC",
    0x2000: "AC-3",
    0x2001: "DTS",
    0xF1AC: "FLAC",
}
"""Format tags of WAV that libsndfile does not decode."""

AIFF_CODECS = {b"MAC3": "MACE 3:1", b"MAC6": "MACE 6:1", b"QDMC": "QDesign", b"QDM2": "QDesign"}
CAF_CODECS = {
    b"aac ": "AAC",
    b"ima4": "IMA ADPCM",
    b"opus": "Opus",
    b"flac": "FLAC",
    b".mp3": "MP3",
    b"samr": "AMR",
    b"ac-3": "AC-3",
    b"ilbc": "iLBC",
}
"""Codecs of AIFF-C and CAF that libsndfile does not decode."""

OGG_CODECS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora video",
    b"fishead\0": "several streams",
}
"""Codecs of OGG -> how their first packet begins."""

MP4_CODECS = {
    b"mp4a": "AAC",
    b"alac": "ALAC",
    b"samr": "AMR",
    b"sawb": "AMR",
    b"Opus": "Opus",
    b"fLaC": "FLAC",
    b"ac-3": "AC-3",
    b"ec-3": "AC-3",
    b".mp3": "MP3",
    b"sowt": "PCM",
    b"twos": "PCM",
    b"lpcm": "PCM",
    b"ipcm": "PCM",
    b"in24": "PCM",
}
"""Types of sample descriptions."""

MATROSKA_CODECS = {
    b"OPUS": "Opus",
    b"VORBIS": "Vorbis",
    b"AAC": "AAC",
    b"FLAC": "FLAC",
    b"PCM": "PCM",
    b"MPEG": "MP3",
    b"AC3": "AC-3",
    b"DTS": "DTS",
}
"""What follows A_ in the name of a codec."""


def of_wav(head: bytes) -> str:
    """The codec of a WAV file, by its format tag."""
    order: ByteOrder = "big" if head[:4] == b"RIFX" else "little"
    chunk = _chunk(head, b"fmt ", order)
    tag = int.from_bytes(chunk[:2], order)
    if tag == 0xFFFE:  # the tag is the beginning of the GUID in the extension
        tag = int.from_bytes(chunk[24:26], order)
    return WAV_CODECS.get(tag, "")


def of_aiff(head: bytes) -> str:
    """The codec of an AIFF-C file."""
    return AIFF_CODECS.get(_chunk(head, b"COMM", "big")[18:22], "")


def _chunk(head: bytes, name: bytes, order: ByteOrder) -> bytes:
    """The content of the first chunk of that name in a RIFF or IFF file, as far as it is there."""
    at = 12
    while at + 8 <= len(head):
        size = int.from_bytes(head[at + 4 : at + 8], order)
        if head[at : at + 4] == name:
            return head[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return b""


def of_caf(head: bytes) -> str:
    """The codec of a CAF file: its description is the first chunk."""
    return CAF_CODECS.get(head[28:32], "") if head[8:12] == b"desc" else ""


def of_ogg(head: bytes) -> str:
    """The codec of the first stream of an OGG file; empty if the file ends before it."""
    packet = head[27 + head[26] :][:8] if len(head) > 27 else b""
    found = (name for begin, name in OGG_CODECS.items() if packet.startswith(begin))
    return next(found, "an unknown codec" if packet else "")


def of_matroska(head: bytes) -> str:
    """The codec of the first sound track of a Matroska or WebM file."""
    found = re.search(rb"\x86([\x82-\xff])A_", head)
    if found is None:
        return ""
    # The byte before the name is its length, with the highest bit set.
    name = head[found.end() :][: found[1][0] - 0x82].partition(b"/")[0]
    return MATROSKA_CODECS.get(name, name.decode("ascii", "replace"))


def of_mp4(file: BinaryIO, offset: int) -> str:
    """The codec of the first sound track of an MP4, 3GP or QuickTime file.

    The box `moov`, which describes the tracks, may be at the end of the file.
    """
    header = _moov(file, offset)
    for found in re.finditer(rb"stsd.{12}(....)", header, re.DOTALL):
        if codec := MP4_CODECS.get(found[1]):
            return codec
    return ""


def _moov(file: BinaryIO, offset: int) -> bytes:
    """The beginning of the box `moov`, empty if the file has none."""
    end = file.seek(0, SEEK_END)
    for _ in range(MAX_BOXES):
        if offset >= end:  # however far a damaged size points
            break
        file.seek(offset)
        head = file.read(16)
        size = int.from_bytes(head[:4])
        if size == 1:
            size = int.from_bytes(head[8:16])
        if head[4:8] == b"moov":
            file.seek(offset + 8)
            return file.read(min(size, MAX_MOOV_BYTES))
        if size < 8:
            break
        offset += size
    return b""


def begins_with_adts(data: bytes) -> bool:
    """Whether data are AAC frames with ADTS headers: one, and the next or the end."""
    size = _adts_size(data)
    if size == 0:
        return False
    return len(data) == size or _adts_size(data[size : size + 7]) > 0


def _adts_size(data: bytes) -> int:
    """Bytes of the ADTS frame that data begin with; 0 if they do not."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return 0
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return size if size >= 7 else 0
