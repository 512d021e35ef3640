"""Files whose headers, chunks or frames do not agree with the sound that they contain."""

import struct

import pytest

from oddsound.errors import InvalidAudioError
from tests.media import FAN, RATE, written
from tests.unit.test_layouts import (
    FORMAT,
    PLAIN_MP3,
    SOUND,
    TAG,
    WAV,
    chunk,
    load,
    riff,
    same,
    with_length,
)

RF64 = written("RF64")
FLAC = written("FLAC")
FLAC_STARTS = [at for at in range(len(FLAC)) if FLAC[at : at + 4] == b"\xff\xf8\xc5\x08"]


def with_flac_length(samples: int) -> bytes:
    described = int.from_bytes(FLAC[18:26]) >> 36 << 36 | samples
    return FLAC[:18] + described.to_bytes(8) + FLAC[26:]


@pytest.mark.parametrize(
    ("data", "behind"),
    [
        (with_length("WAV", 32_000), 32_000),
        (with_length("WAV", 32_000) + chunk(b"LIST", b"INFO"), 32_012),
        (RF64[:28] + struct.pack("<Q", 32_000) + RF64[36:], 32_000),
        (with_length("AIFF", 32_008), 32_000),
        (with_length("AU", 32_000), 32_000),
        (with_length("CAF", 32_004), 32_000),
        (with_length("W64", 32_024), 32_000),
    ],
    ids=["WAV", "WAV with a chunk at its end", "RF64", "AIFF", "AU", "CAF", "W64"],
)
def test_a_header_that_announces_too_little_is_noted(data: bytes, behind: int) -> None:
    """A recorder that crashed after it had written a length."""
    recording = load(data)
    same(recording.waveform, FAN[:16_000])
    assert recording.quality.notes == [
        "the file does not end after the 1.0 s that its header announces:"
        f" {behind:,} more bytes were not read"
    ]


@pytest.mark.parametrize(
    "tail", [bytes(3_000_000), TAG, b"TAG" + bytes(125), b"APETAGEX" + b"x" * 900, b"x" * 200]
)
def test_what_is_not_sound_behind_the_sound_of_a_wav_file_does_not_matter(tail: bytes) -> None:
    recording = load(WAV + tail)
    same(recording.waveform)
    assert recording.quality.notes == []


def test_chunks_behind_the_sound_of_a_w64_file_are_no_sound() -> None:
    """libsndfile reads them as sound."""
    name = b"list" + bytes.fromhex("2f91cf11a5d628db04c10000")
    data = written("W64")
    same(load(data + name + struct.pack("<Q", 24 + 800) + b"x" * 800).waveform)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "AU", "CAF", "W64"])
def test_two_uncompressed_files_in_one_are_refused(kind: str) -> None:
    data = written(kind)
    with pytest.raises(InvalidAudioError, match=rf"the second begins at byte {len(data):,}: split"):
        load(data + data)
    with pytest.raises(InvalidAudioError, match="several recordings"):
        load(data + WAV)


@pytest.mark.parametrize("frame", [2, 5, len(FLAC_STARTS) - 2])
@pytest.mark.parametrize("length", [0, 32_000])
def test_a_missing_flac_frame_is_found(frame: int, length: int) -> None:
    """libFLAC puts silence in its place."""
    data = with_flac_length(length)
    start, end = FLAC_STARTS[frame], FLAC_STARTS[frame + 1]
    words = rf"4,096 samples are missing after {frame * 4096 / RATE:.1f} s, before byte {start:,}"
    with pytest.raises(InvalidAudioError, match=words):
        load(data[:start] + data[end:])


def test_a_flac_header_that_announces_too_little_is_refused() -> None:
    words = "its header announces 1.0 s, and it contains 2.0 s"
    with pytest.raises(InvalidAudioError, match=words):
        load(with_flac_length(16_000))
    metadata = b"\2" + (4 + len(FLAC)).to_bytes(3) + b"test" + FLAC  # it may contain frames
    same(load(FLAC[:42] + metadata + FLAC[42:]).waveform)


def test_mp3_frames_far_behind_others_are_not_left_out() -> None:
    half = len(PLAIN_MP3) // 2 // 288 * 288
    with pytest.raises(InvalidAudioError, match="the file is damaged: there is no MP3 frame"):
        load(PLAIN_MP3[:half] + bytes(1_500_000) + PLAIN_MP3[half:])


def test_a_chunk_behind_one_that_is_not_padded_is_read() -> None:
    lists = b"LIST" + struct.pack("<I", 5) + b"INFOx"
    same(load(riff(chunk(b"fmt ", FORMAT), lists, chunk(b"data", SOUND))).waveform)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([chunk(b"data", SOUND)], "no chunk `fmt `, which describes the sound, was found"),
        ([chunk(b"fmt ", FORMAT)], "no chunk `data`, which contains the sound, was found"),
        (
            [
                chunk(b"fmt ", FORMAT),
                chunk(b"fmt ", FORMAT[:-2] + b"\x18\0"),
                chunk(b"data", SOUND),
            ],
            "2 chunks `fmt ` describe the sound, and contradict each other",
        ),
    ],
)
def test_what_a_wav_file_lacks_is_named(chunks: list[bytes], words: str) -> None:
    with pytest.raises(InvalidAudioError, match=words):
        load(riff(*chunks))


def test_sound_behind_more_chunks_than_are_looked_at_is_read() -> None:
    others = chunk(b"JUNK", b"ab") * 1500
    same(load(riff(chunk(b"fmt ", FORMAT), others, chunk(b"data", SOUND))).waveform)
