"""Whatever bytes arrive, they are decoded or refused: no other error, and nothing on stderr."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.errors import AudioAnomalyError
from oddsound.formats import AudioLimits
from tests.fuzz.damage import damaged
from tests.media import FAN, encoded, remuxed, written

pytestmark = pytest.mark.slow

LIMITS = AudioLimits(max_bytes=1_000_000, max_duration_s=5)
SOUND = FAN[:2400]


def short(kind: str, subtype: str | None = None, rate: int = 16000) -> bytes:
    return written(kind, subtype, rate, SOUND)


OGG = short("OGG", "OPUS", 48000)
SEEDS = {
    "riff": [
        *(short("WAV", subtype) for subtype in ("PCM_16", "PCM_U8", "FLOAT", "MS_ADPCM", "GSM610")),
        short("RF64"),
        short("WAVEX"),
        b"BW64" + short("RF64")[4:],
    ],
    "chunks": [
        short("AIFF"),
        short("AIFF", "FLOAT"),
        short("CAF"),
        short("CAF", "ALAC_16"),
        short("W64"),
    ],
    "au": [short("AU"), short("AU", "ULAW")],
    "flac": [short("FLAC"), short("FLAC", "PCM_24")],
    "ogg": [short("OGG"), OGG, remuxed(short("FLAC"), "flac", "ogg")],
    "mp3": [short("MP3"), short("MP3", rate=44100), encoded("mp2", "mp2", SOUND)],
    "mp4": [encoded("ipod", "aac", SOUND), encoded("mov", "pcm_s16le", SOUND)],
    "matroska": [remuxed(OGG, "ogg", "webm"), encoded("matroska", "flac", SOUND)],
    "other": [
        encoded("adts", "aac", SOUND),
        encoded("wv", "wavpack", SOUND),
        b"#!AMR\n" + b"\x3c" + bytes(31),
        short("VOC", "PCM_U8"),
        short("NIST"),
        b"ID3\4\0\0\0\0\1\1" + bytes(129) + short("WAV"),
    ],
}


def outcome(source: bytes | Path) -> Array | str:
    try:
        return audio.load(source, 16000, LIMITS).waveform
    except AudioAnomalyError as error:
        return f"{type(error).__name__}: {error}"


def same_by_bytes_and_by_file(content: bytes, path: Path) -> None:
    """path : of a file with that content"""
    as_bytes, as_file = outcome(content), outcome(path)
    if isinstance(as_bytes, str):
        assert (type(as_file), as_file) == (str, as_bytes)
    else:
        assert isinstance(as_file, np.ndarray)
        assert np.isfinite(as_bytes).all()
        np.testing.assert_allclose(as_file, as_bytes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", SEEDS)
@given(data=st.data())
def test_damaged_recordings(
    family: str, data: st.DataObject, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = data.draw(damaged(SEEDS[family]))
    path = tmp_path / "recording"
    path.write_bytes(content)
    same_by_bytes_and_by_file(content, path)
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=300))
def test_arbitrary_bytes(content: bytes) -> None:
    outcome(content)


MAGICS = [seed[:16] for seeds in SEEDS.values() for seed in seeds]


@given(st.sampled_from(MAGICS), st.binary(max_size=300))
def test_arbitrary_bytes_after_the_beginning_of_a_container(magic: bytes, rest: bytes) -> None:
    outcome(magic + rest)


@given(
    channels=st.integers(0, 300),
    rate=st.integers(0, 2**32 - 1),
    bits=st.sampled_from([0, 8, 16, 24, 32, 64]),
    tag=st.sampled_from([0, 1, 2, 3, 6, 7, 17, 49, 85, 0xFFFE]),
    align=st.integers(0, 2**16 - 1),
    sound=st.binary(max_size=400),
)
def test_arbitrary_formats_of_wav(
    channels: int, rate: int, bits: int, tag: int, align: int, sound: bytes
) -> None:
    form = struct.pack("<HHIIHH", tag, channels, rate, rate, align, bits)
    outcome(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + form + b"data\0\0\0\0" + sound)


@given(
    st.integers(1, 3),
    st.integers(2000, 96000),
    st.lists(st.floats(width=32, allow_nan=True), max_size=300),
)
def test_arbitrary_samples(channels: int, rate: int, values: list[float]) -> None:
    samples = np.array(values[: len(values) // channels * channels], np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples.reshape(-1, channels), rate, "FLOAT", format="WAV")
    found = outcome(file.getvalue())
    assert isinstance(found, str) or np.isfinite(found).all()
