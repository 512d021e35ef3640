"""Formats that FFmpeg decodes, compared with libsndfile's decoding of the same packets."""

import io
import random
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from oddsound import audio, formats
from oddsound.decoding import open_decoder
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError, InvalidAudioError, UnsupportedAudioError
from oddsound.formats import AudioLimits
from tests.media import FAN, RATE, encoded, remuxed, written

LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)


def decoded(data: bytes, block: int = 10_000) -> Array:
    """All channels [shape=(frames, channels)]."""
    with open_decoder(data) as decoder:
        blocks = []
        while len(samples := decoder.read(block)):
            assert len(samples) <= block
            blocks.append(samples)
        assert {each.dtype for each in blocks} == {np.dtype(np.float32)}
        return np.concatenate(blocks)


def reference(data: bytes) -> Array:
    found: Array = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    return found


@pytest.mark.parametrize("container", ["webm", "matroska", "mp4"])
@pytest.mark.parametrize(
    ("subtype", "rate"), [("VORBIS", 16000), ("VORBIS", 44100), ("OPUS", 48000)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_vorbis_and_opus_are_decoded_as_libsndfile_does(
    container: str, subtype: str, rate: int, channels: int
) -> None:
    ogg = written("OGG", subtype, rate, np.column_stack([FAN, FAN[::-1] / 2])[:, :channels])
    expected, found = reference(ogg), decoded(remuxed(ogg, "ogg", container))
    # MP4 does not say how much of the last packet is sound.
    assert 0 <= len(found) - len(expected) < 1000
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("container", ["wav", "matroska", "mov"])
def test_mp3_in_another_container_is_decoded_as_libsndfile_does(container: str) -> None:
    mp3 = written("MP3", "MPEG_LAYER_III")
    expected, found = reference(mp3)[:, 0], decoded(remuxed(mp3, "mp3", container))[:, 0]
    # libsndfile leaves out the delay of encoder and decoder, of which only MP3's own header knows.
    delay = 1105
    size = len(expected) - 2000
    np.testing.assert_allclose(found[delay:][:size], expected[:size], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("container", "codec", "tolerance"),
    [
        ("mov", "pcm_s16le", 1 / 2**15),
        ("mov", "pcm_f32le", 0),
        ("matroska", "pcm_s24le", 1 / 2**22),
        ("matroska", "flac", 1 / 2**15),
        ("ipod", "alac", 1 / 2**15),
        ("mp4", "flac", 1 / 2**15),
        ("wv", "wavpack", 1 / 2**7),
        ("tta", "tta", 1 / 2**7),
        ("matroska", "pcm_u8", 1 / 2**6),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_codecs_give_every_sample(
    container: str, codec: str, tolerance: float, channels: int
) -> None:
    original = np.column_stack([FAN, FAN[::-1] / 2])[:, :channels]
    found = decoded(encoded(container, codec, original))
    assert found.shape == original.shape
    np.testing.assert_allclose(found, original, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("VOC", "PCM_16"), ("NIST", "PCM_16"), ("NIST", "ULAW"), ("SVX", "PCM_16")],
)
def test_what_libsndfile_also_decodes_is_the_same(kind: str, subtype: str) -> None:
    data = written(kind, subtype)
    np.testing.assert_array_equal(decoded(data), reference(data))


@pytest.mark.parametrize(("container", "tolerance_samples"), [("ipod", 0), ("adts", 2048)])
def test_aac_keeps_the_tone_its_level_and_the_duration(
    container: str, tolerance_samples: int
) -> None:
    rate = 44100
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype(np.float32)
    found = decoded(encoded(container, "aac", tone, rate))[:, 0]
    assert 0 <= len(found) - len(tone) <= tolerance_samples
    inner = found[rate // 2 : rate + rate // 2]
    spectrum = np.abs(np.fft.rfft(inner)) / len(inner) * 2
    assert spectrum.argmax() == 1000
    assert spectrum.max() == pytest.approx(0.5, abs=0.01)


def amr(frames: int) -> bytes:
    """Frames of 20 ms at 12.2 kbit/s with a header each, and arbitrary bits."""
    chance = random.Random(3)
    return b"#!AMR\n" + b"".join(b"\x3c" + chance.randbytes(31) for _ in range(frames))


def test_amr_has_the_same_samples_in_3gp() -> None:
    raw = decoded(amr(100))
    assert raw.shape == (100 * 160, 1)
    np.testing.assert_array_equal(decoded(remuxed(amr(100), "amr", "3gp")), raw)


@pytest.mark.parametrize(
    ("data", "rate", "frames", "step"),
    [
        (encoded("mov", "pcm_s16le"), 16000, 32000, 1 / 2**15),
        (encoded("ipod", "aac"), 16000, 32000, 0),
        (remuxed(written("OGG", "OPUS", 16000), "ogg", "webm"), 48000, None, 0),
        (amr(10), 8000, None, 0),
        (encoded("adts", "aac"), 16000, None, 0),
    ],
    ids=["mov", "m4a", "webm", "amr", "aac"],
)
def test_the_header_is_read(data: bytes, rate: int, frames: int | None, step: float) -> None:
    with open_decoder(data) as decoder:
        assert (decoder.sample_rate, decoder.channels) == (rate, 1)
        assert (decoder.frames, decoder.step) == (frames, step)


def test_bytes_a_file_and_blocks_of_any_size_are_the_same(tmp_path: Path) -> None:
    data = encoded("ipod", "aac")
    path = tmp_path / "phone.wav"  # the name does not matter
    path.write_bytes(data)
    whole = decoded(data)
    np.testing.assert_array_equal(decoded(data, 333), whole)
    for source in (data, path):
        np.testing.assert_array_equal(audio.load(source, RATE, LIMITS).waveform, whole[:, 0])


def test_an_mp4_file_in_fragments_is_read_to_its_end() -> None:
    flags = "frag_keyframe+empty_moov+frag_every_frame"
    data = remuxed(encoded("ipod", "aac"), "mov", "mp4", movflags=flags)
    # Fragments do not say how many samples the encoder added at the start and at the end.
    assert 32000 <= len(decoded(data)) <= 32000 + 2 * 1024


def test_the_limit_of_the_duration_applies() -> None:
    limits = AudioLimits(max_bytes=10_000_000, max_duration_s=1)
    for data, words in ((encoded("ipod", "aac"), "2.0 s"), (amr(100), "more than 1 s")):
        with pytest.raises(AudioAnomalyError, match=f"lasts {words}; the limit is 1 s"):
            audio.load(data, RATE, limits)


MOV = encoded("mov", "pcm_s16le")
M4A = remuxed(encoded("ipod", "aac"), "mov", "ipod", movflags="faststart")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (M4A[: len(M4A) // 2], r"the file is (truncated: it contains \d\.\d s of 2\.0 s|damaged)"),
        (MOV[: len(MOV) // 2], "begins like QuickTime but cannot be decoded: Invalid data"),
        (M4A[:40], "this is an MP4/M4A file without a sound track"),
        (b"#!AMR\n", "0 frames"),
        (bytes.fromhex("1a45dfa3") + bytes(50), "begins like Matroska but cannot be decoded"),
    ],
)
def test_damaged_files_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InvalidAudioError, match=words):
        audio.load(data, RATE, LIMITS)


def test_a_video_without_sound_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream: Any = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(InvalidAudioError, match="an MP4/M4A file without a sound track"):
        audio.load(file.getvalue(), RATE, LIMITS)


def test_a_codec_that_ffmpeg_does_not_know_is_refused() -> None:
    data = written("NIST").replace(b"sample_coding -s3 pcm", b"sample_coding -s3 xyz")
    with pytest.raises(
        InvalidAudioError, match="NIST SPHERE file with a codec that FFmpeg does not"
    ):
        audio.load(data, RATE, LIMITS)


def test_a_recording_that_changes_its_sample_rate_is_refused() -> None:
    slow, fast = (encoded("adts", "aac", rate=rate) for rate in (16000, 44100))
    words = "after 2.1 s, the recording changes from 16,000 Hz and 1 channel(s) to 44,100 Hz and 1"
    with pytest.raises(InvalidAudioError, match=re.escape(words)):
        audio.load(slow + fast, RATE, LIMITS)


def test_a_recording_cannot_name_another_file(tmp_path: Path) -> None:
    """FFmpeg opens what a playlist or a QuickTime reference names; here it must not."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(written("WAV", "PCM_16"))
    playlist = f"#EXTM3U\n#EXTINF:2,\n{secret}\n"
    with pytest.raises(UnsupportedAudioError, match="this is not a recording"):
        audio.load(playlist.encode(), RATE, LIMITS)
    for begin in (b"\0\0\0\x14ftypM4A \0\0\2\0M4A ", b"#!AMR\n", bytes.fromhex("1a45dfa3")):
        with pytest.raises(AudioAnomalyError):
            audio.load(begin + playlist.encode(), RATE, LIMITS)


@pytest.mark.parametrize(
    "data",
    [M4A, remuxed(written("OGG", "OPUS"), "ogg", "webm"), amr(30), encoded("adts", "aac")],
    ids=["m4a", "webm", "amr", "aac"],
)
def test_damaged_files_never_crash(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(5)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            near = 400 if chance.random() < 0.5 else len(data)
            damaged[chance.randrange(min(near, len(data)))] = chance.randrange(256)
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            waveform = audio.load(bytes(damaged), RATE, LIMITS).waveform
        except AudioAnomalyError:
            continue
        assert np.isfinite(waveform).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (M4A, "an MP4/M4A (AAC) file"),
        (remuxed(written("OGG", "OPUS"), "ogg", "webm"), "a WebM (Opus) file"),
        (remuxed(amr(5), "amr", "3gp"), "a 3GP (AMR) file"),
        (remuxed(written("MP3", "MPEG_LAYER_III"), "mp3", "wav"), "a WAV (MP3) file"),
        (encoded("adts", "aac"), "an AAC file"),
    ],
)
def test_without_the_extra_the_container_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, data: bytes, container: str
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    words = (
        f"this is {container}, which needs the extra `formats`: `pip install 'oddsound[formats]'`"
        " on the computer that reads it; or convert it to WAV or FLAC first, for example with"
        " `ffmpeg -i FILE recording.wav`"
    )
    with pytest.raises(UnsupportedAudioError, match=re.escape(words)):
        audio.load(data, RATE, LIMITS)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("CAF", "PCM_16"),
        ("CAF", "ALAC_16"),
        ("W64", "PCM_24"),
        ("RF64", "PCM_16"),
        ("AIFF", "ULAW"),
        ("OGG", "OPUS"),
    ],
)
def test_what_libsndfile_reads_needs_no_extra(
    monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    data = written(kind, subtype)
    np.testing.assert_array_equal(decoded(data), reference(data))


@pytest.mark.parametrize(
    "data",
    [written("VOC"), written("SVX"), written("AVR"), encoded("wav", "libmp3lame")],
    ids=["VOC", "SVX", "AVR", "MP3 in WAV"],
)
def test_what_is_left_of_a_cut_file_is_read_with_a_note(data: bytes) -> None:
    whole_s = audio.load(data, RATE, LIMITS).duration_s
    recording = audio.load(data[: len(data) // 2], RATE, LIMITS)
    assert recording.duration_s == pytest.approx(whole_s / 2, abs=0.1)
    (note,) = recording.quality.notes
    assert re.fullmatch(r"the file is cut off: it contains 1\.[01] s of 2\.[012] s", note)


@pytest.mark.parametrize(
    "data",
    [
        *(encoded("ipod", "aac"), encoded("mov", "pcm_s16le"), encoded("tta", "tta")),
        *(encoded("wav", "libmp3lame"), written("SVX")),
    ],
    ids=["M4A", "QuickTime", "True Audio", "MP3 in WAV", "SVX"],
)
def test_two_recordings_in_one_file_are_refused(data: bytes) -> None:
    """FFmpeg reads the first one only."""
    words = f"several recordings, one behind the other; the second begins at byte {len(data):,}"
    with pytest.raises(InvalidAudioError, match=words):
        audio.load(data + data, RATE, LIMITS)


@pytest.mark.parametrize(("container", "codec"), [("wv", "wavpack"), ("tta", "tta")])
def test_the_checksums_of_lossless_codecs_are_compared(container: str, codec: str) -> None:
    data = bytearray(encoded(container, codec))
    data[len(data) // 2] ^= 1
    with pytest.raises(InvalidAudioError, match="the file is damaged after"):
        audio.load(bytes(data), RATE, LIMITS)
