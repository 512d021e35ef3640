"""A recording on S3 is decoded while it is downloaded."""

import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from moto import mock_aws

from oddsound import audio, storage
from oddsound.arriving import ArrivingFile
from oddsound.aws.downloads import arriving
from oddsound.errors import AudioTooLargeError, InvalidAudioError, StorageError
from oddsound.formats import AudioLimits
from tests.cloud import INPUT, REGION
from tests.conftest import noise
from tests.media import written

pytestmark = pytest.mark.slow

RATE = 16_000
LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=100)
CHUNK = 20_000
SECONDS = 20.0
KINDS = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "AU"]


class Body:
    """How the bodies of S3's answers arrive."""

    def __init__(self) -> None:
        self.read = 0
        self.may_continue = threading.Event()
        self.hold_after = 10**9
        self.break_after = 10**9
        self.breaks = 0

    def chunks(self, body: StreamingBody, _: int) -> Iterator[bytes]:
        done = 0
        while data := body.read(CHUNK):
            self.read += len(data)
            done += len(data)
            yield data
            if self.breaks and done >= self.break_after:
                self.breaks -= 1
                raise StorageError("the connection broke")
            if done >= self.hold_after:
                assert self.may_continue.wait(10), "nothing was decoded before all bytes were there"


@pytest.fixture
def body(monkeypatch: pytest.MonkeyPatch) -> Body:
    made = Body()
    monkeypatch.setattr(StreamingBody, "iter_chunks", lambda body, size=0: made.chunks(body, size))
    return made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=INPUT, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


def load(s3: Any, data: bytes, limits: AudioLimits = LIMITS) -> audio.Recording:
    s3.put_object(Bucket=INPUT, Key="key", Body=data)
    with arriving(s3, INPUT, "key", {}, lambda size: limits.check_bytes(size)) as file:
        return audio.load(file, RATE, limits)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_decoded_as_if_it_were_all_there(s3: Any, body: Body, kind: str) -> None:
    data = written(kind, None, RATE, noise(1, 3))
    expected = audio.load(data, RATE, LIMITS)
    found = load(s3, data)
    assert (found.waveform == expected.waveform).all()
    assert found.duration_s == expected.duration_s
    assert body.read == len(data)


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_decoding_begins_before_the_last_byte_is_there(
    s3: Any, body: Body, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", RATE)
    data = written(kind, None, RATE, noise(2, SECONDS))
    body.hold_after = len(data) * 2 // 3
    s3.put_object(Bucket=INPUT, Key="key", Body=data)
    with (
        arriving(s3, INPUT, "key", {}, lambda _: None) as file,
        audio.open_stream(file, LIMITS) as stream,
    ):
        decoded = 0
        for block in stream.blocks(RATE):
            decoded += len(block)
            body.may_continue.set()
    assert decoded == SECONDS * RATE


def test_the_download_of_a_recording_that_is_too_long_stops(
    s3: Any, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandon = ArrivingFile.abandon

    def abandoned(file: ArrivingFile) -> None:
        abandon(file)
        body.may_continue.set()

    monkeypatch.setattr(ArrivingFile, "abandon", abandoned)
    data = written("WAV", None, RATE, noise(3, SECONDS))
    body.hold_after = 20 * CHUNK  # decoders read 256 kB at a time
    with pytest.raises(AudioTooLargeError, match=r"20\.0 s"):
        load(s3, data, AudioLimits(max_bytes=10_000_000, max_duration_s=10))
    assert body.read <= 21 * CHUNK


def test_an_object_over_the_limit_is_not_read(s3: Any, body: Body) -> None:
    data = written("WAV", None, RATE, noise(3, SECONDS))
    with pytest.raises(AudioTooLargeError, match="640,044 bytes"):
        load(s3, data, AudioLimits(max_bytes=500_000, max_duration_s=100))
    assert body.read == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_connection_is_repaired_without_a_trace(s3: Any, body: Body, kind: str) -> None:
    data = written(kind, None, RATE, noise(4, 3))
    body.break_after, body.breaks = len(data) // 2, 2
    assert (load(s3, data).waveform == audio.load(data, RATE, LIMITS).waveform).all()
    assert body.breaks == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_that_fails_is_no_fault_of_the_recording(s3: Any, body: Body, kind: str) -> None:
    data = written(kind, None, RATE, noise(4, 3))
    body.break_after, body.breaks = len(data) // 2, 100
    with pytest.raises(StorageError, match="the connection broke"):
        load(s3, data)


def test_a_damaged_recording_is_downloaded_to_its_end(s3: Any, body: Body) -> None:
    """Its checksum decides whether the object or its download is damaged."""
    data = written("FLAC", None, RATE, noise(5, SECONDS))
    damaged = data[:9000] + bytes(3000) + data[12_000:]
    with pytest.raises(InvalidAudioError):
        load(s3, damaged)
    assert body.read == len(data)
    body.break_after, body.breaks = len(data) - 1000, 100
    with pytest.raises(StorageError, match="the connection broke"):
        load(s3, damaged)


def test_no_thread_remains(s3: Any, body: Body) -> None:
    load(s3, written("WAV", None, RATE, noise(6, 1)))
    with pytest.raises(InvalidAudioError):
        load(s3, written("WAV", None, RATE, noise(6, 1))[:44])
    with pytest.raises(storage.MissingError), arriving(s3, INPUT, "none", {}, lambda _: None) as f:
        f.open()
    assert not [thread for thread in threading.enumerate() if thread.name == "download"]
