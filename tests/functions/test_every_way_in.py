"""A recording gets the same answer as bytes, as a file, by HTTP, by S3 and on the command line."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import oddsound
from functions.api.app import app
from functions.s3_trigger.app import handler
from oddsound.errors import AudioAnomalyError
from oddsound.http.errors import CONVERTED_BY_BROWSER
from tests.cloud import Cloud, LambdaContext, notification
from tests.media import encoded, remuxed, written
from tests.workbench.command import run

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


def answer(prediction: dict[str, Any]) -> dict[str, Any]:
    """What must be the same."""
    return {name: value for name, value in prediction.items() if name != "latency_ms"}


def called(source: bytes | Path) -> dict[str, Any]:
    try:
        return answer(oddsound.predict(source).model_dump(mode="json"))
    except AudioAnomalyError as error:
        return {"error": type(error).__name__, "detail": str(error)}


def test_the_answer_is_the_same_by_every_way_in(
    cloud: Cloud, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in (SCORED | REFUSED).items():
        (folder / name).write_bytes(data)
    found = {name: called(data) for name, data in (SCORED | REFUSED).items()}
    assert [name for name in SCORED if "error" in found[name]] == []
    assert [name for name in REFUSED if "error" not in found[name]] == []
    expected = found["wav"]
    exact = ("two-chunks.wav", "unfinished.wav", "bw64.wav", "flac", "tagged.flac", "oga", "aiff")
    assert all(found[name]["anomaly_score"] == expected["anomaly_score"] for name in exact)

    by_file = {name: called(folder / name) for name in found}
    client = TestClient(app)
    by_http, by_s3 = {}, {}
    for name in found:
        data = (folder / name).read_bytes()
        posted = client.post(
            "/predict-anomaly", content=data, headers={"content-type": "audio/wav"}
        )
        by_http[name] = answer(posted.json())
        detail = by_http[name].get("detail", "")
        by_http[name] |= (
            {"detail": detail.removesuffix(f"; {CONVERTED_BY_BROWSER}")} if detail else {}
        )
        handler(notification(cloud.put(name, data)), LambdaContext())
        result = cloud.result(name)
        stored = result.prediction or result.error
        assert stored is not None
        by_s3[name] = answer(stored.model_dump(mode="json"))
    paths = [folder / name for name in found]
    output = run("predict", *paths, "--models", trained, "--json").stdout
    printed = json.loads(output[output.index("[\n") :])  # behind the lines of the triggers' log
    by_command = {
        name: answer({key: value for key, value in each.items() if key != "file"})
        for name, each in zip(found, printed, strict=True)
    }
    for other in (by_file, by_http, by_s3, by_command):
        for name, each in found.items():
            assert other[name] == each, name
