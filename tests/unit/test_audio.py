"""The supported formats, and the errors for invalid recordings."""

import io
import os
import random
import re
import struct
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from oddsound import audio, decoding, runtime
from oddsound.descriptors import Array
from oddsound.errors import (
    AudioAnomalyError,
    AudioTooLargeError,
    InvalidAudioError,
    UnsupportedAudioError,
)
from oddsound.formats import AudioLimits
from oddsound_workbench.synthesis import fan
from tests.conftest import noise, sine

RATE = 16000
LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)


def encoded(
    waveform: Array, kind: str = "WAV", subtype: str | None = None, rate: int = RATE
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, subtype, format=kind)
    return file.getvalue()


def load(data: bytes, rate: int = RATE, limits: AudioLimits = LIMITS) -> Array:
    return audio.load(data, rate, limits).waveform


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 100),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("WAV", "ULAW", 0.02),
        ("WAV", "ALAW", 0.02),
        ("WAVEX", "PCM_16", 1e-4),
        ("RF64", "PCM_16", 1e-4),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
        ("AIFF", "PCM_16", 1e-4),
        ("AU", "PCM_16", 1e-4),
    ],
)
def test_every_sample_is_decoded(kind: str, subtype: str, tolerance: float) -> None:
    original = fan(1, faulty=True)
    decoded = load(encoded(original, kind, subtype))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, original, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_formats_keep_the_tone_and_the_duration(kind: str, subtype: str) -> None:
    recording = audio.load(encoded(sine(1000, 2.0) * np.float32(0.5), kind, subtype), RATE, LIMITS)
    spectrum = np.abs(np.fft.rfft(recording.waveform))
    loudest_hz = spectrum.argmax() * RATE / len(recording.waveform)
    assert loudest_hz == pytest.approx(1000, abs=2)
    assert recording.duration_s == pytest.approx(2, abs=0.15)


def test_16_bits_are_read_as_libsndfile_reads_them() -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, "PCM_16", format="WAV")
    file.seek(0)
    expected = soundfile.read(file, dtype="float32")[0]
    np.testing.assert_array_equal(load(file.getvalue()), expected)


def test_channels_are_averaged() -> None:
    left, right = noise(1), noise(2)
    decoded = load(encoded(np.column_stack([left, right]), subtype="FLOAT"))
    np.testing.assert_allclose(decoded, (left + right) / 2, rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_recording_is_resampled_to_the_rate_of_the_model(rate: int) -> None:
    original = sine(440, 3.0, rate)
    recording = audio.load(encoded(original, subtype="FLOAT", rate=rate), RATE, LIMITS)
    assert recording.sample_rate == rate
    assert recording.duration_s == pytest.approx(3, abs=1e-9)
    expected = soxr.resample(original, rate, RATE)
    assert len(recording.waveform) == pytest.approx(len(expected), abs=1)
    inner = slice(500, 40_000)
    np.testing.assert_allclose(recording.waveform[inner], expected[inner], rtol=0, atol=1e-4)


def test_a_file_and_its_bytes_are_the_same_recording(tmp_path: Path) -> None:
    for kind in ("WAV", "FLAC", "OGG", "MP3"):
        data = encoded(fan(2, faulty=False), kind, rate=48000)
        # The format is detected from the content, not from the suffix.
        path = tmp_path / f"{kind}.raw"
        path.write_bytes(data)
        np.testing.assert_array_equal(audio.load(path, RATE, LIMITS).waveform, load(data))


def test_long_recordings_are_the_same_in_one_block_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(noise(3, 10, 44100), rate=44100)
    whole = load(data)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 5000)
    np.testing.assert_allclose(load(data), whole, rtol=0, atol=1e-6)


class TestStream:
    """A recording that is read block by block."""

    @pytest.mark.parametrize("block", [7, 777, 4099, 1 << 18])
    @pytest.mark.parametrize("rate", [8000, 44100, 48000])
    def test_resampled_blocks_are_the_whole_recording_resampled(
        self, block: int, rate: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound = noise(5, 0.5 if block == 7 else 3.0, rate)
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", block)
        with audio.open_stream(encoded(sound, subtype="FLOAT", rate=rate), LIMITS) as stream:
            found = np.concatenate(list(stream.blocks(RATE)))
        expected = soxr.resample(sound, rate, RATE)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("kind", "rate"),
        [
            *product(("WAV", "FLAC", "OGG"), (2000, 11025, 16000, 22050, 44100, 48000, 96000)),
            *product(("MP3",), (11025, 16000, 22050, 44100, 48000)),
        ],
    )
    def test_the_length_is_known_before_the_first_block(self, kind: str, rate: int) -> None:
        sound = noise(2, 1.234, rate)
        with audio.open_stream(encoded(sound, kind, rate=rate), LIMITS) as stream:
            expected = stream.expected_samples(RATE)
            assert sum(map(len, stream.blocks(RATE))) == expected
            assert stream.info.duration_s == len(sound) / rate

    def test_the_length_is_unknown_if_the_header_has_none(self) -> None:
        with audio.open_stream(without_length(encoded(noise(1), "FLAC")), LIMITS) as stream:
            assert stream.expected_samples(RATE) is None
            assert sum(map(len, stream.blocks(RATE))) == RATE

    def test_what_is_only_known_at_the_end_is_refused_before(self) -> None:
        with audio.open_stream(WAV, LIMITS) as stream:
            next(stream.blocks(RATE))
            with pytest.raises(RuntimeError, match="not been read to its end"):
                _ = stream.info

    def test_only_one_block_is_in_memory(self) -> None:
        """Five minutes of noise from a decoder that keeps nothing."""
        limits = AudioLimits(10**9, 3600)
        stream = audio.RecordingStream(LongNoise(), limits)
        tracemalloc.start()
        try:
            assert sum(map(len, stream.blocks(RATE))) == 300 * RATE
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 12 * 4 * audio.BLOCK_SAMPLES
        assert stream.info.duration_s == 300


class LongNoise:
    """Five minutes of stereo noise, as a Decoder."""

    sample_rate, channels, step, has_full_scale = 48000, 2, 0.0, True

    def __init__(self) -> None:
        self.frames: int | None = None
        self.notes: list[str] = []
        self.left = 300 * self.sample_rate
        self.noise = np.random.default_rng(1).uniform(-1, 1, (1 << 18, 2)).astype(np.float32)

    def read(self, frames: int) -> Array:
        count = min(frames, self.left)
        self.left -= count
        return self.noise[:count]


WAV = encoded(fan(1, faulty=False))


def without_length(flac: bytes) -> bytes:
    """A FLAC file with an unknown number of samples, as encoders write it to a pipe."""
    data = bytearray(flac)
    # The low 36 bits of the eight bytes from 18 on are the number of samples; 0 means unknown.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def wav_header(channels: int = 1, rate: int = RATE, data_bytes: int = 0) -> bytes:
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16, 1, channels),
        *(rate, rate * channels * 2 % 2**32, channels * 2 % 65536, 16, b"data", data_bytes),
    )


def with_sample(value: float) -> bytes:
    waveform = noise(1)
    waveform[5000] = value
    return encoded(waveform, subtype="FLOAT")


INVALID = {
    "empty": (b"", InvalidAudioError, "the file is empty (0 bytes)"),
    "text": (
        b"hello, fan " * 50,
        UnsupportedAudioError,
        "begins with b'hello, f'; supported: WAV, FLAC",
    ),
    "png": (b"\x89PNG\r\n\x1a\n" * 40, UnsupportedAudioError, "this is not a recording"),
    "avi": (b"RIFF\x00\x10\x00\x00AVI LIST" * 40, UnsupportedAudioError, "not a recording"),
    "zeros": (bytes(5000), UnsupportedAudioError, "this is not a recording"),
    "first bytes of a wav": (WAV[:10], InvalidAudioError, "begins like WAV but cannot be decoded"),
    "header cut": (WAV[:30], InvalidAudioError, "begins like WAV but cannot be decoded"),
    "no frames": (wav_header(), InvalidAudioError, "contains no audio (0 frames)"),
    "no data": (WAV[:44], InvalidAudioError, "contains no audio (0 frames)"),
    "flac cut": (encoded(noise(1, 20), "FLAC")[:9000], InvalidAudioError, "damaged|truncated"),
    "flac header": (encoded(noise(1), "FLAC")[:20], InvalidAudioError, "begins like FLAC"),
    "ogg header": (encoded(noise(1), "OGG")[:40], InvalidAudioError, "begins like OGG"),
    "not a number": (with_sample(float("nan")), InvalidAudioError, "not finite numbers"),
    "infinite": (with_sample(float("inf")), InvalidAudioError, "not finite numbers"),
    "far over full scale": (with_sample(1e30), InvalidAudioError, "a sample of 1e+30; full scale"),
    "rate 1 Hz": (wav_header(rate=1, data_bytes=2) + b"ab", InvalidAudioError, "rate is 1 Hz"),
    "rate 10 MHz": (
        wav_header(rate=10_000_000, data_bytes=2) + b"ab",
        InvalidAudioError,
        "rate is 10,000,000 Hz; 2,000 to 384,000 Hz are supported",
    ),
    "200 channels": (
        wav_header(channels=200, data_bytes=400) + bytes(400),
        InvalidAudioError,
        "200 channels; 1 to 64 are supported",
    ),
    "too many bytes": (
        WAV + bytes(10_000_000),
        AudioTooLargeError,
        "has 10,160,044 bytes; the limit is 10,000,000 bytes, set by MAX_UPLOAD_BYTES",
    ),
    "too long": (
        encoded(np.zeros(RATE * 61, np.float32)),
        AudioTooLargeError,
        "lasts 61.0 s; the limit is 60 s, set by MAX_DURATION_S",
    ),
}


@pytest.mark.parametrize("case", INVALID)
@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
def test_invalid_recordings_are_rejected(case: str, as_file: bool, tmp_path: Path) -> None:
    data, kind, words = INVALID[case]
    path = tmp_path / "recording.wav"
    path.write_bytes(data)
    with pytest.raises(kind, match=words if "|" in words else re.escape(words)):
        audio.load(path if as_file else data, RATE, LIMITS)


def test_a_small_file_with_a_long_duration_is_rejected_before_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = encoded(np.zeros(RATE * 3600 * 2, np.float32), "FLAC")
    assert len(hours) < 1_000_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    with pytest.raises(AudioTooLargeError, match=r"lasts 7,200.0 s"):
        load(hours)


def test_what_decoding_costs_is_limited_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes and few seconds, but many samples: a high rate and many channels."""
    wide = encoded(np.zeros((192_000, 8), np.float32), "FLAC", rate=192_000)
    assert len(wide) < 20_000
    limits = AudioLimits(max_bytes=10**6, max_duration_s=60, max_samples=1_500_000)
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    with pytest.raises(AudioTooLargeError) as refused:
        load(wide, limits=limits)
    assert str(refused.value) == (
        "the recording has 1,536,000 samples (192,000 Hz x 8 channels x 1.0 s);"
        " the limit is 1,500,000 samples, set by MAX_DECODED_SAMPLES"
    )


def test_decoding_stops_at_the_limit_if_the_header_has_no_length() -> None:
    flac = without_length(encoded(np.zeros(RATE * 600, np.float32), "FLAC"))
    with pytest.raises(AudioTooLargeError, match=r"lasts more than 60 s; .* set by MAX_DURATION_S"):
        load(flac)
    limits = AudioLimits(max_bytes=10**6, max_duration_s=3600, max_samples=30 * RATE)
    read: list[int] = []
    with (
        audio.open_stream(flac, limits) as stream,
        pytest.raises(
            AudioTooLargeError, match=r"more than 480,000 samples .* MAX_DECODED_SAMPLES"
        ),
    ):
        read += [len(block) for block in stream.blocks(RATE)]
    assert sum(read) <= 30 * RATE


def test_limits_that_no_setting_changes_name_none() -> None:
    with pytest.raises(AudioTooLargeError, match=r"the limit is 10 bytes$"):
        load(WAV, limits=AudioLimits(10, 60, names=None))


def test_an_hour_is_accepted_by_default(tmp_path: Path) -> None:
    """Of 16 kHz WAV, and of 48 kHz stereo in a format that is compressed."""
    path = tmp_path / "hour.wav"
    with path.open("wb") as file:
        file.write(wav_header(data_bytes=3600 * RATE * 2))
        file.truncate(44 + 3600 * RATE * 2)  # zeros that take no space on the disk
    for of in (runtime.limits(), runtime.object_limits()):
        with audio.open_stream(path, of) as stream:
            assert stream.expected_samples(RATE) == 3600 * RATE
        of.check_frames(3600 * 48_000, 48_000, channels=2)


def test_a_wav_with_an_unfinished_header_is_read_to_its_end() -> None:
    streamed = bytearray(WAV)
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    assert len(load(bytes(streamed))) == 5 * RATE


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU"])
def test_damaged_files_are_rejected_or_read_but_never_crash(kind: str) -> None:
    original = encoded(noise(1, 0.5), kind)
    chance = random.Random(7)
    for _ in range(150):
        data = bytearray(original)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data) if chance.random() < 0.5 else 64)] = chance.randrange(
                256
            )
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            waveform = load(bytes(data))
        except AudioAnomalyError:
            continue
        assert waveform.ndim == 1
        assert np.isfinite(waveform).all()


def test_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recording.wav")
    with pytest.raises(InvalidAudioError, match="a device or a pipe; write the recording to a"):
        audio.load(tmp_path / "recording.wav", 16000, LIMITS)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "CAF", "AIFF"])
def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(encoded(noise(1, 60), kind))

    def read() -> None:
        with audio.open_stream(path, LIMITS) as stream:
            blocks = stream.blocks(RATE)
            next(blocks)
            os.truncate(path, path.stat().st_size // 3)
            list(blocks)

    words = "could not be read to its end: it became shorter while it was read"
    with pytest.raises(InvalidAudioError, match=words):
        read()


def test_a_disk_that_fails_is_no_end_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(encoded(noise(1, 60), "AIFF"))

    class Failing(decoding._LocalFile):
        def _read(self, buffer: memoryview) -> int:
            if self.tell() > 600_000:
                raise OSError(5, "Input/output error")
            return super()._read(buffer)

    monkeypatch.setattr(decoding, "_LocalFile", Failing)
    with pytest.raises(InvalidAudioError, match="to its end: Input/output error"):
        audio.load(path, RATE, LIMITS)
    assert capfd.readouterr().err == ""
