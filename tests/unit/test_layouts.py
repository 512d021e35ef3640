"""Unfinished, cut, damaged and joined files."""

import struct
from pathlib import Path

import numpy as np
import pytest

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError, UnsupportedAudioError
from oddsound.formats import AudioLimits
from oddsound.layouts import ogg
from oddsound.quality import warnings
from tests.media import FAN, RATE, remuxed, written

LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)
WAV = written("WAV")
SOUND = WAV[44:]
OGG_FLAC = remuxed(written("FLAC"), "flac", "ogg")
TAG = b"ID3\4\0\0\0\0\1\1" + bytes(129)
FORMAT = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
HUGE = 2**31 - 1


def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return name + struct.pack("<I", size) + content + bytes(len(content) % 2)


def riff(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF") -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(content) if size is None else size) + content


def with_length(kind: str, length: int, subtype: str = "PCM_16") -> bytes:
    """A file with another length of its sound in the header."""
    data = bytearray(written(kind, subtype))
    mark, offset, field = {
        "WAV": (b"data", 4, "<I"),
        "RF64": (b"data", 4, "<I"),
        "AIFF": (b"SSND", 4, ">I"),
        "AU": (b".snd", 8, ">I"),
        "CAF": (b"data", 4, ">q"),
        "W64": (b"data", 16, "<q"),
    }[kind]
    value = length % 2**32 if field.endswith("I") else length
    struct.pack_into(field, data, data.index(mark) + offset, value)
    return bytes(data)


def load(source: bytes | Path) -> audio.Recording:
    return audio.load(source, RATE, LIMITS)


def same(found: Array, expected: Array = FAN) -> None:
    np.testing.assert_array_equal(found, expected)


READ = {
    "BW64": b"BW64" + written("RF64")[4:],
    "OGG with FLAC": OGG_FLAC,
    **{f"{kind} after a tag": TAG + written(kind) for kind in ("WAV", "FLAC", "AIFF", "CAF", "AU")},
    "RF64 after two tags": TAG + TAG + written("RF64"),
    "OGG with FLAC after a tag": TAG + OGG_FLAC,
    **{
        f"{kind} with length {length}": with_length(kind, length)
        for kind in ("WAV", "RF64", "AIFF", "AU", "CAF", "W64")
        for length in (0, -1, HUGE)
    },
    "RIFF with size 0": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SOUND), size=0),
    "RIFF and data with size 0": riff(chunk(b"fmt ", FORMAT), chunk(b"data", SOUND, 0), size=0),
    "an unfinished header behind others": riff(
        chunk(b"JUNK", bytes(28)),
        chunk(b"bext", b"x" * 858),
        chunk(b"fmt ", FORMAT),
        chunk(b"LIST", b"INFOISFT" + bytes(7)),
        chunk(b"FLLR", bytes(4008)),
        chunk(b"data", SOUND, 0),
        size=0,
    ),
    "RF64 that was not finished": riff(
        chunk(b"ds64", bytes(28)),
        chunk(b"fmt ", FORMAT),
        chunk(b"data", SOUND, 2**32 - 1),
        size=2**32 - 1,
        name=b"RF64",
    ),
    "BW64 that was not finished": riff(
        chunk(b"ds64", b"\xff" * 24 + bytes(4)),
        chunk(b"fmt ", FORMAT),
        chunk(b"data", SOUND, 2**32 - 1),
        size=2**32 - 1,
        name=b"BW64",
    ),
    "sound in three chunks": riff(
        chunk(b"fmt ", FORMAT),
        chunk(b"data", SOUND[:10_000]),
        chunk(b"LIST", b"INFOx"),
        chunk(b"data", SOUND[10_000:50_000]),
        chunk(b"data", SOUND[50_000:]),
    ),
    "the format behind the sound": riff(chunk(b"data", SOUND), chunk(b"fmt ", FORMAT)),
    "other chunks behind the sound": riff(
        chunk(b"fmt ", FORMAT), chunk(b"data", SOUND), chunk(b"id3 ", TAG), chunk(b"cue ", bytes(4))
    ),
    "a FLAC file with a tag at its end": written("FLAC") + b"TAG" + bytes(125),
    "AU of the other byte order": b"dns." + struct.pack("<5I", 24, 0, 3, RATE, 1) + SOUND,
    "RIFX": b"RIFX"
    + struct.pack(">I", 36 + len(SOUND))
    + b"WAVEfmt "
    + struct.pack(">IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    + b"data\0\0\0\0"
    + np.frombuffer(SOUND, "<i2").astype(">i2").tobytes(),
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
def test_every_sample_is_read(case: str, as_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(READ[case])
    recording = load(path if as_file else READ[case])
    same(recording.waveform)
    assert recording.quality.notes == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610"])
def test_an_unfinished_header_of_another_codec(subtype: str) -> None:
    expected = load(written("WAV", subtype)).waveform
    same(load(with_length("WAV", 0, subtype)).waveform[: len(expected)], expected)


@pytest.mark.parametrize(
    "data",
    [
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", b"")),
        riff(chunk(b"fmt ", FORMAT), chunk(b"data", b""), chunk(b"LIST", b"INFOISFT" + bytes(8))),
        with_length("AU", 0)[:24],
    ],
)
def test_a_file_without_sound_stays_empty(data: bytes) -> None:
    with pytest.raises(InvalidAudioError, match="0 frames"):
        load(data)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AIFF", "AU", "W64", "CAF"])
def test_what_is_left_of_a_cut_file_is_read_with_a_note(kind: str) -> None:
    data = written(kind)
    recording = load(data[: len(data) // 4])
    seconds = len(recording.waveform) / RATE
    same(recording.waveform, FAN[: len(recording.waveform)])
    assert recording.quality.notes == [f"the file is cut off: it contains {seconds:.1f} s of 2.0 s"]
    (fault,) = [f for f in warnings.faults(recording.quality, 7000) if "file" in f.kind]
    assert (fault.kind, fault.may_cause_anomaly) == ("an incomplete file", False)
    # Half of a sample or a few of them are not worth a word.
    assert load(data[:-15]).quality.notes == []


@pytest.mark.parametrize(
    ("kind", "subtype", "rate"),
    [("OGG", "VORBIS", 16000), ("OGG", "OPUS", 48000), ("MP3", None, 44100), ("MP3", None, 16000)],
)
def test_what_is_left_of_a_cut_lossy_file_is_read_with_a_note(
    kind: str, subtype: str | None, rate: int
) -> None:
    sound = np.tile(FAN, 4)
    data = written(kind, subtype, rate, sound)
    whole = audio.load(data, rate, LIMITS).waveform
    recording = audio.load(data[: len(data) * 2 // 3], rate, LIMITS)
    size = len(recording.waveform)
    assert 0.3 < size / len(whole) < 0.8
    # The last packet of a cut stream is not yet mixed with the one after it.
    np.testing.assert_allclose(
        recording.waveform[: size - 2000], whole[: size - 2000], rtol=0, atol=1e-5
    )
    (note,) = recording.quality.notes
    assert note.startswith("the file is cut off")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            written("FLAC") * 2,
            "several recordings, one behind the other; the second begins at byte",
        ),
        (TAG + written("FLAC") * 2, "several recordings, one behind the other"),
        (
            written("OGG") * 2,
            r"several recordings, .* \(chained OGG streams\): split it into files",
        ),
        (OGG_FLAC * 2, "several recordings"),
        (written("OGG", "OPUS") + written("OGG"), "several recordings"),
        (written("MP3") * 2, r"several recordings, .*the second begins at byte 16,776 \(2\.1 s\)"),
        (written("MP3") + TAG + written("MP3"), "several recordings"),
        (written("MP3") + b"TAG" + bytes(125) + written("MP3"), "several recordings"),
        (
            written("MP3") + written("MP3", rate=48000),
            "after 2.1 s, the recording changes from layer 3, 16,000 Hz, 1 channel",
        ),
        (
            written("MP3") + written("MP3", waveform=np.column_stack([FAN, FAN / 2])),
            r"to layer 3, 16,000 Hz, 2 channel\(s\)",
        ),
    ],
)
def test_several_recordings_in_one_file_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidAudioError, match=words):
        load(data)


@pytest.mark.parametrize("data", [written("OGG"), written("OGG", "OPUS"), OGG_FLAC])
def test_every_flipped_bit_of_an_ogg_file_is_found(data: bytes) -> None:
    for at in range(0, len(data), 97):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises((InvalidAudioError, UnsupportedAudioError)):
            load(bytes(flipped))


def test_a_missing_ogg_page_is_found() -> None:
    data = written("OGG")
    starts = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    with pytest.raises(InvalidAudioError, match="OGG pages are missing before byte"):
        load(data[: starts[3]] + data[starts[4] :])
    with pytest.raises(InvalidAudioError, match="there is no OGG page at byte"):
        load(data[: starts[3]] + b"xyz" + data[starts[3] :])
    with pytest.raises(InvalidAudioError, match="cut off before its first sound"):
        load(data[: starts[2]])
    assert load(data + b"xyz").quality.notes == []


def test_the_checksum_is_that_of_libogg() -> None:
    data = written("OGG")
    body = 27 + data[26]
    header, content = data[:body], data[body : body + sum(data[27:body])]
    assert ogg.checksum(header, content) == int.from_bytes(data[22:26], "little")


PLAIN_MP3 = remuxed(written("MP3"), "mp3", "mp3", write_xing="0", id3v2_version="0")


def test_the_frames_of_an_mp3_file_without_a_header_are_counted() -> None:
    """libsndfile alone estimates their number from the size of the file, and stops after it."""
    frames = 58
    whole = load(PLAIN_MP3)
    assert len(whole.waveform) == 576 * frames - 529  # without the delay of the decoder
    with audio.open_stream(PLAIN_MP3, LIMITS) as stream:
        assert stream.expected_samples(RATE) == len(whole.waveform)
    quiet = written("MP3", waveform=np.concatenate([FAN, np.zeros(20 * RATE, np.float32)]))
    variable = remuxed(quiet, "mp3", "mp3", write_xing="0", id3v2_version="0")
    assert load(variable).duration_s == pytest.approx(22, abs=0.15)
    expected = load(written("MP3")).waveform
    np.testing.assert_allclose(whole.waveform[576:][:20_000], expected[:20_000], rtol=0, atol=1e-5)


def test_a_wrong_number_of_frames_in_an_mp3_file_is_corrected() -> None:
    data = bytearray(written("MP3"))
    at = data.index(b"Xing") + 8
    expected = load(bytes(data)).waveform
    data[at : at + 4] = (20).to_bytes(4)
    recording = load(bytes(data))
    np.testing.assert_allclose(recording.waveform, expected, rtol=0, atol=1e-6)
    assert recording.quality.notes == []
    data[at : at + 4] = (116).to_bytes(4)
    assert load(bytes(data)).quality.notes == ["the file is cut off: it contains 2.0 s of 4.0 s"]


@pytest.mark.parametrize("lead", [b"", bytes(500), TAG, TAG + bytes(500)])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(90), bytes(300)])
def test_what_is_around_the_frames_of_an_mp3_file_does_not_matter(
    lead: bytes, tail: bytes, tmp_path: Path
) -> None:
    if lead[:1] == b"\0":
        lead = TAG + lead  # without a tag it would not be recognised
    expected = load(written("MP3")).waveform
    path = tmp_path / "recording"
    path.write_bytes(lead + written("MP3") + tail)
    for source in (path, path.read_bytes()):
        recording = load(source)
        np.testing.assert_allclose(recording.waveform, expected, rtol=0, atol=1e-6)
        assert recording.quality.notes == []


def test_an_mp3_file_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile looks for files with these names beside a file of which it only has a number."""
    for name in ("._", ".AppleDouble"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    (tmp_path / "recording").write_bytes(PLAIN_MP3)
    monkeypatch.chdir(tmp_path)
    assert len(load(tmp_path / "recording").waveform) == 576 * 58 - 529


def test_damaged_frames_of_an_mp3_file_are_noted_and_nothing_is_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = bytearray(PLAIN_MP3)
    data[5000:5010] = b"abcdefghij"
    recording = load(bytes(data))
    assert recording.quality.notes == [
        "the file is damaged: frames after 0.0 s could not be decoded"
    ]
    with pytest.raises(InvalidAudioError, match=r"there is no MP3 frame at byte 5,220 \(0\.7 s\)"):
        load(PLAIN_MP3[:5000] + bytes(300) + PLAIN_MP3[5000:])
    assert capfd.readouterr() == ("", "")
