"""The container of a file is recognised by its content."""

import io
import random
import struct

import numpy as np
import pytest
import soundfile

from oddsound import mpeg
from oddsound.containers import Container, identify
from oddsound.formats import named_as_recording
from tests.conftest import noise


def found(data: bytes) -> Container | None:
    return identify(io.BytesIO(data))


def name_of(data: bytes) -> str | None:
    container = found(data)
    return container.name if container else None


def written(kind: str, subtype: str | None = None, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(1, 0.5, rate), rate, subtype, format=kind)
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def mp4(codec: bytes, brand: bytes = b"M4A ") -> bytes:
    """The boxes of an MP4 file, with `moov` at the end as a phone writes it."""
    description = box(b"stsd", bytes(8) + box(codec, bytes(28)))
    return box(b"ftyp", brand + bytes(4)) + box(b"mdat", bytes(90_000)) + box(b"moov", description)


def wav(tag: int, extension: bytes = b"") -> bytes:
    form = struct.pack("<HHIIHH", tag, 1, 16000, 16000, 1, 16) + extension
    chunks = b"JUNK\3\0\0\0abc\0" + b"fmt " + struct.pack("<I", len(form)) + form
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def ogg(packet: bytes) -> bytes:
    return b"OggS\0\2" + bytes(20) + b"\1" + bytes([len(packet)]) + packet


def matroska(doctype: bytes, codec: bytes) -> bytes:
    head = b"\x42\x86\x81\1\x42\x82" + bytes([0x80 | len(doctype)]) + doctype
    track = b"\x86" + bytes([0x80 | len(codec)]) + codec
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(head)]) + head + track


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "IMA_ADPCM"),
        ("WAVEX", "FLOAT"),
        ("RF64", "PCM_16"),
        ("W64", "PCM_24"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AIFF", "FLOAT"),
        ("AU", "ULAW"),
        ("CAF", "PCM_16"),
        ("CAF", "ALAC_16"),
    ],
)
def test_what_libsndfile_writes_is_read_without_ffmpeg(kind: str, subtype: str) -> None:
    container = found(written(kind, subtype))
    assert container is not None
    assert (container.name, container.demuxer) == (kind.removesuffix("EX"), "")


@pytest.mark.parametrize("kind", ["VOC", "NIST", "SVX"])
def test_what_only_libsndfile_and_ffmpeg_know_is_refused_by_name(kind: str) -> None:
    container = found(written(kind, "PCM_16" if kind != "VOC" else "PCM_U8"))
    assert container is not None
    assert container.demuxer
    assert kind in container.name


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (mp4(b"mp4a"), "an MP4/M4A (AAC) file"),
        (mp4(b"alac"), "an MP4/M4A (ALAC) file"),
        (mp4(b"avc1", b"isom"), "an MP4/M4A file"),
        (mp4(b"samr", b"3gp4"), "a 3GP (AMR) file"),
        (mp4(b"sowt", b"qt  "), "a QuickTime (PCM) file"),
        (box(b"moov", bytes(40)), "a QuickTime file"),
        (matroska(b"webm", b"A_OPUS"), "a WebM (Opus) file"),
        (matroska(b"matroska", b"A_PCM/INT/LIT"), "a Matroska (PCM) file"),
        (matroska(b"matroska", b"A_TRUEHD"), "a Matroska (TRUEHD) file"),
        (b"#!AMR\n\x3c" + bytes(31), "an AMR file"),
        (2 * (bytes.fromhex("fff15080020000") + bytes(9)), "an AAC file"),
        (wav(0x55), "a WAV (MP3) file"),
        (wav(0xFFFE, struct.pack("<HHIH", 22, 16, 4, 0x2001) + bytes(14)), "a WAV (DTS) file"),
        (b"caff\0\1\0\0desc" + bytes(7) + b"\x20" + bytes(8) + b"aac ", "a CAF (AAC) file"),
        (b"FORM\0\0\0\0AIFCCOMM\0\0\0\x18" + bytes(18) + b"QDM2ab", "an AIFF (QDesign) file"),
        (ogg(b"Speex   1.2"), "an OGG (Speex) file"),
        (ogg(b"\x80theora"), "an OGG (Theora video) file"),
        (ogg(b"whatever"), "an OGG (an unknown codec) file"),
        (b"wvpk" + bytes(40), "a WavPack file"),
        (b"MAC \x96\x0f", "a Monkey's Audio file"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "a WMA file"),
    ],
)
def test_other_containers_are_named_with_their_codec(data: bytes, words: str) -> None:
    container = found(data)
    assert str(container) == words
    assert container is not None
    assert container.demuxer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just a text",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x10\x00\x00AVI LIST",
        b"RIFF\x00\x10\x00\x00WEBPVP8 ",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        box(b"ftyp", b"heic" + bytes(4)),
        box(b"ftyp", b"avif" + bytes(4)),
        "Wärme, Öl, Druck".encode("utf-16"),
        "\ufeffpump 7".encode("utf-16-le") * 2000,
        b"PK\3\4" + bytes(100),
        b"%PDF-1.7",
        b"FORM\0\0\0\0ILBM",
        bytes(5000),
        b"\xff" * 5000,
    ],
)
def test_other_files_are_no_recordings(data: bytes) -> None:
    assert found(data) is None


def test_the_size_of_a_wav_file_may_look_like_the_name_of_a_box() -> None:
    container = found(b"RIFFmoovWAVEfmt " + struct.pack("<IHH", 16, 1, 1))
    assert container is not None
    assert container.name == "WAV"


def test_random_bytes_are_no_recordings() -> None:
    chance = random.Random(1)
    names = [name_of(b"\xff" + chance.randbytes(4000)) for _ in range(3000)]
    assert [name for name in names if name] == []


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3", "OGG"])
def test_tags_before_a_container_are_skipped(kind: str) -> None:
    tag = b"ID3\4\0\0\0\0\1\1" + bytes(129)
    container = found(tag + tag + written(kind))
    assert container is not None
    assert (container.name, container.offset) == (kind, 2 * len(tag))
    assert found(tag) == Container("MP3")


def test_every_header_of_an_mpeg_stream_is_parsed() -> None:
    for rate in (8000, 16000, 22050, 44100, 48000):
        data = written("MP3", "MPEG_LAYER_III", rate)
        at, frames = mpeg.tag_size(data), []
        while header := mpeg.FrameHeader.parse(data[at : at + 4]):
            frames.append(header)
            at += header.size
        assert at == len(data)
        assert {frame.sample_rate for frame in frames} == {rate}
        assert all(frame.channels == 1 and frame.layer == 3 for frame in frames)
        decoded = soundfile.info(io.BytesIO(data)).frames
        # The first frame is Xing's, without sound; libsndfile leaves out the encoder's delay.
        assert 0 <= sum(frame.samples for frame in frames[1:]) - decoded <= 2 * 1152
        assert np.isfinite(decoded)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fan.wav", True),
        ("FAN.M4A", True),
        ("a/.wav", True),
        ("x.aifc", True),
        ("x.bwf", True),
        ("notes.txt", False),
        ("wav", False),
        ("a.wav.json", False),
        ("a.wav/", False),
    ],
)
def test_names_of_recordings(name: str, expected: bool) -> None:
    assert named_as_recording(name) is expected
