"""WAV files that are read without libsndfile, and those that are not."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from oddsound.decoding import LibsndfileDecoder, open_decoder
from oddsound.pcm import PIECE_BYTES, PcmDecoder
from tests.conftest import noise

RATE = 16000


def written(channels: int = 1, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    samples = np.column_stack([noise(seed, 3.1) for seed in range(channels)])
    samples[:2] = [[-1], [1]]
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, subtype, format=kind)
    return file.getvalue()


def changed(position: int, form: str, value: int) -> bytes:
    """A WAV file with another number in its header."""
    data = bytearray(written())
    struct.pack_into(form, data, position, value)
    return bytes(data)


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("frames", [1000, PIECE_BYTES // 2 + 1, 1 << 18])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_those_of_libsndfile(
    channels: int, frames: int, as_file: bool, tmp_path: Path
) -> None:
    data = written(channels)
    source: bytes | Path = data
    if as_file:
        source = tmp_path / "recording.wav"
        source.write_bytes(data)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    with open_decoder(source) as decoder:
        assert isinstance(decoder, PcmDecoder)
        assert (decoder.sample_rate, decoder.channels) == (RATE, channels)
        assert decoder.frames == len(expected)
        found = [decoder.read(frames)]
        while len(found[-1]):
            found.append(decoder.read(frames))
    assert {len(block) for block in found[:-2]} <= {frames}
    np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(written(subtype="PCM_24"), id="24 bits"),
        pytest.param(written(subtype="FLOAT"), id="float"),
        pytest.param(written(kind="WAVEX"), id="an extended header"),
        pytest.param(written(kind="RF64"), id="RF64"),
        pytest.param(changed(32, "<H", 4), id="bytes of a frame of two channels"),
        pytest.param(changed(28, "<I", RATE), id="bytes of a second of 8 bits"),
        pytest.param(written()[:-1000], id="cut off"),
    ],
)
def test_what_is_unusual_is_left_to_libsndfile(data: bytes) -> None:
    with open_decoder(data) as decoder:
        assert isinstance(decoder, LibsndfileDecoder)
