"""A recording gets the same answer as bytes, as a file, by HTTP, by S3 and on the command line."""

import struct
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from oddsound import runtime
from tests.cloud import Cloud
from tests.corpus import ways
from tests.corpus.kinds import KINDS
from tests.media import encoded, remuxed, written

pytestmark = pytest.mark.slow

TAG = b"ID3\4\0\0\0\0\1\1" + bytes(129)
WAV, FLAC, OGG, MP3 = (written(kind) for kind in ("WAV", "FLAC", "OGG", "MP3"))

SCORED = {
    "wav": WAV,
    "float.wav": written("WAV", "FLOAT"),
    "adpcm.wav": written("WAV", "IMA_ADPCM"),
    "unfinished.wav": WAV[:40] + bytes(4) + WAV[44:],
    "cut.wav": WAV[: len(WAV) * 3 // 4],
    "two-chunks.wav": WAV[:4]
    + struct.pack("<I", len(WAV))
    + WAV[8:40]
    + struct.pack("<I", 40000)
    + WAV[44:40044]
    + b"data"
    + struct.pack("<I", 24000)
    + WAV[40044:],
    "bw64.wav": b"BW64" + written("RF64")[4:],
    "aiff": written("AIFF"),
    "au": written("AU", "ULAW"),
    "caf": written("CAF", "ALAC_16"),
    "w64": written("W64", "PCM_24"),
    "flac": FLAC,
    "tagged.flac": TAG + FLAC,
    "pipe.flac": FLAC[:21] + bytes([FLAC[21] & 0xF0]) + bytes(4) + FLAC[26:],
    "oga": remuxed(FLAC, "flac", "ogg"),
    "ogg": OGG,
    "tagged.ogg": TAG + OGG,
    "opus": written("OGG", "OPUS", 48000),
    "mp3": MP3,
    "tagged.mp3": TAG + TAG + MP3,
    "plain.mp3": remuxed(MP3, "mp3", "mp3", write_xing="0", id3v2_version="0"),
    "m4a": encoded("ipod", "aac"),
    "webm": remuxed(written("OGG", "OPUS", 48000), "ogg", "webm"),
}
REFUSED = {
    "empty.wav": b"",
    "text.wav": b"hello hello " * 20,
    "header.wav": WAV[:44],
    "cut.flac": FLAC[: len(FLAC) // 2],
    "joined.ogg": OGG + OGG,
    "joined.mp3": MP3 + MP3,
    "flipped.ogg": OGG[:5000] + bytes([OGG[5000] ^ 1]) + OGG[5001:],
    "rate.wav": WAV[:24] + struct.pack("<I", 3_000_000) + WAV[28:],
}


def test_the_answer_is_the_same_by_every_way_in(
    cloud: Cloud, trained: Path, tmp_path: Path
) -> None:
    found = same_by_every_way_in(SCORED | REFUSED, cloud, trained, tmp_path)
    assert [name for name in SCORED if "error" in found[name]] == []
    assert [name for name in REFUSED if "error" not in found[name]] == []
    expected = found["wav"]
    exact = ("two-chunks.wav", "unfinished.wav", "bw64.wav", "flac", "tagged.flac", "oga", "aiff")
    assert all(found[name]["anomaly_score"] == expected["anomaly_score"] for name in exact)


@pytest.mark.parametrize("kind", KINDS)
def test_the_corpus_has_the_same_answer_by_every_way_in(
    cloud: Cloud, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """As bytes and as a file many of them, by the slower ways a few; `make corpus` tries all."""
    inputs = list(KINDS[kind]())
    inputs = inputs[:: 3 if len(inputs) > 150 else 1]
    runtime.registry().get()
    capfd.readouterr()  # of encoders, and the log of the model
    for name, data in inputs:
        path = tmp_path / "recording"
        path.write_bytes(data)
        assert ways.by_call(path) == ways.by_call(data), name
        assert capfd.readouterr() == ("", ""), name
    few = {f"{number:03}-{name}": data for number, (name, data) in enumerate(inputs[::12])}
    same_by_every_way_in(few, cloud, trained, tmp_path)


def same_by_every_way_in(
    inputs: dict[str, bytes], cloud: Cloud, models: Path, folder: Path
) -> dict[str, ways.Answer]:
    """The answers; fails if one way in has another answer."""
    found = {name: ways.by_call(data) for name, data in inputs.items()}
    client = TestClient(app, raise_server_exceptions=False)
    paths = [folder / "files" / name for name in inputs]
    paths[0].parent.mkdir()
    for path, data in zip(paths, inputs.values(), strict=True):
        path.write_bytes(data)
    by_command = dict(zip(inputs, ways.by_command(paths, models), strict=True))
    for path, (name, data) in zip(paths, inputs.items(), strict=True):
        assert ways.by_call(path) == found[name], name
        assert ways.by_http(client, data) == found[name], name
        assert ways.by_s3(cloud, name, data) == found[name], name
        assert by_command[name] == found[name], name
    return found
