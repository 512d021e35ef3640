"""Recognises the container of a recording, and the codec in it, from its content."""

import re
from dataclasses import dataclass, replace
from typing import BinaryIO

from oddsound import codecs, mpeg

OGG_DECODED = {"Vorbis", "Opus", "FLAC", ""}
"""Codecs in OGG that are decoded without FFmpeg."""

HEAD_BYTES = 1 << 16
"""Bytes from the start of a container that are looked at."""

MAX_TAGS = 16
"""ID3v2 tags in front of a container that are skipped."""


@dataclass(frozen=True)
class Container:
    """What a file contains.

    name : of the container
    codec : name of the codec, if it decides whether the file is read
    demuxer : FFmpeg's name of the container; empty if libsndfile reads it
    offset : where the container begins, in bytes; ID3v2 tags are before it
    """

    name: str
    codec: str = ""
    demuxer: str = ""
    offset: int = 0

    def __str__(self) -> str:
        """With an article: "an MP4/M4A (AAC) file"."""
        article = "an" if self.name.startswith(("A", "M4A", "MP", "O", "I")) else "a"
        return f"{article} {self.name}{self.codec and f' ({self.codec})'} file"


W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
EBML = bytes.fromhex("1a45dfa3")

BEGINNINGS = (
    (rb"RF64.{4}WAVE", Container("RF64")),
    (rb"BW64.{4}WAVE", Container("BW64")),
    (re.escape(W64), Container("W64")),
    (rb"fLaC", Container("FLAC")),
    (rb"\.snd|dns\.", Container("AU")),
    (rb".{4}ftyp3g", Container("3GP", demuxer="mov")),
    (rb".{4}(ftypqt|moov|mdat|wide.{4}mdat)", Container("QuickTime", demuxer="mov")),
    (rb".{4}ftyp(?!hei|hev|mif1|msf1|avi|jp|crx)", Container("MP4/M4A", demuxer="mov")),
    (re.escape(EBML) + rb".{0,60}?\x42\x82.webm", Container("WebM", demuxer="matroska")),
    (re.escape(EBML), Container("Matroska", demuxer="matroska")),
    (rb"#!AMR", Container("AMR", demuxer="amr")),
    (re.escape(ASF), Container("WMA", demuxer="asf")),
    (rb"wvpk", Container("WavPack", demuxer="wv")),
    (rb"MAC ", Container("Monkey's Audio", demuxer="ape")),
    (rb"TTA1", Container("True Audio", demuxer="tta")),
    (rb"Creative Voice File\x1a", Container("VOC", demuxer="voc")),
    (rb"NIST_1A\n", Container("NIST SPHERE", demuxer="nistsphere")),
    (rb"FORM.{4}(8SVX|16SV)", Container("IFF/SVX", demuxer="iff")),
    (rb"2BIT", Container("AVR", demuxer="avr")),
    (rb"PVF1\n", Container("PVF", demuxer="pvf")),
    (rb"\x64\xa3[\1-\4]\0|\0[\1-\4]\xa3\x64", Container("IRCAM", demuxer="ircam")),
)
"""Containers that are recognised by their first bytes, whatever is in them. Pictures of phones
(HEIC, AVIF) begin like MP4 with other brands."""

_BEGINNINGS = tuple((re.compile(begin, re.DOTALL), kind) for begin, kind in BEGINNINGS)


def identify(file: BinaryIO) -> Container | None:
    """The container that a file begins with, after ID3v2 tags; None if it is not a recording's.

    file : seekable; its position changes
    """
    offset = _after_tags(file)
    file.seek(offset)
    head = file.read(HEAD_BYTES)
    found = _of_head(head)
    if found is None:
        # What follows a tag is searched for the first frame of an MP3 stream.
        return Container("MP3") if offset or head[:3] == b"ID3" else None
    if found.demuxer == "mov":
        found = replace(found, codec=codecs.of_mp4(file, offset))
    return replace(found, offset=offset)


def _after_tags(file: BinaryIO) -> int:
    """The position after the ID3v2 tags that a file begins with."""
    offset = 0
    for _ in range(MAX_TAGS):
        file.seek(offset)
        size = mpeg.tag_size(file.read(10))
        if size == 0:
            break
        offset += size
    return offset


def _of_head(head: bytes) -> Container | None:
    # First, because most recordings are WAV files.
    if head[:4] in (b"RIFF", b"RIFX") and b"WAVE".startswith(head[8:12]):
        return _other_codec(Container("WAV"), codecs.of_wav(head), "wav")
    for beginning, found in _BEGINNINGS:
        if beginning.match(head):
            codec = codecs.of_matroska(head) if found.demuxer == "matroska" else ""
            return replace(found, codec=codec)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _other_codec(Container("AIFF"), codecs.of_aiff(head), "aiff")
    if head[:4] == b"caff":
        return _other_codec(Container("CAF"), codecs.of_caf(head), "caf")
    if head[:4] == b"OggS":
        codec = codecs.of_ogg(head)
        return Container("OGG", codec, "" if codec in OGG_DECODED else "ogg")
    if mpeg.begins_with_frames(head):
        return Container("MP3")
    if codecs.begins_with_adts(head):
        return Container("AAC", demuxer="aac")
    return None


def _other_codec(container: Container, codec: str, demuxer: str) -> Container:
    """The container, which FFmpeg reads if there is a codec that libsndfile does not decode."""
    return replace(container, codec=codec, demuxer=demuxer) if codec else container
