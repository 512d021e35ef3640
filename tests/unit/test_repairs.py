"""Files that libsndfile reads only in another form."""

import io
from pathlib import Path

import numpy as np
import pytest

from oddsound import audio
from oddsound.errors import InvalidAudioError
from oddsound.formats import AudioLimits
from oddsound.spliced import Piece, SplicedFile
from tests.media import RATE, remuxed, written

LIMITS = AudioLimits(max_bytes=10_000_000, max_duration_s=60)


OGG_FLAC = remuxed(written("FLAC"), "flac", "ogg")
TAG = b"ID3\4\0\0\0\0\1\1" + bytes(129)
READ = {
    "BW64": b"BW64" + written("RF64")[4:],
    "OGG with FLAC": OGG_FLAC,
    **{f"{kind} after a tag": TAG + written(kind) for kind in ("WAV", "FLAC", "AIFF", "CAF")},
    "RF64 after two tags": TAG + TAG + written("RF64"),
    "OGG with FLAC after a tag": TAG + OGG_FLAC,
}


@pytest.mark.parametrize("case", READ)
@pytest.mark.parametrize("as_file", [False, True], ids=["bytes", "file"])
def test_every_sample_is_read(case: str, as_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(READ[case])
    found = audio.load(path if as_file else READ[case], RATE, LIMITS).waveform
    np.testing.assert_array_equal(found, audio.load(written("WAV"), RATE, LIMITS).waveform)


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_a_lossy_recording_after_a_tag_is_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "recording"
    path.write_bytes(TAG + written(kind))
    expected = audio.load(written(kind), RATE, LIMITS).waveform
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(audio.load(source, RATE, LIMITS).waveform, expected)


def test_a_truncated_flac_stream_in_ogg_is_refused() -> None:
    data = OGG_FLAC
    with pytest.raises(InvalidAudioError, match=r"truncated|damaged"):
        audio.load(data[: len(data) // 2], RATE, LIMITS)


def test_pieces_are_read_one_behind_the_other() -> None:
    original = bytes(range(100))
    pieces: list[Piece] = [b"abc", range(10, 20), b"", range(50, 50), range(0, 5), b"z"]
    expected = b"abc" + original[10:20] + original[:5] + b"z"
    file = SplicedFile(io.BytesIO(original), pieces)
    assert file.read() == expected
    assert file.seek(0, io.SEEK_END) == len(expected)
    for start in range(len(expected) + 2):
        for size in (1, 3, 30):
            file.seek(start)
            assert file.read(size) == expected[start : start + size]
    assert file.seek(4) == file.seek(-10, io.SEEK_CUR) == file.tell() == 4


def test_a_file_may_be_shorter_than_its_pieces() -> None:
    file = SplicedFile(io.BytesIO(b"0123456789"), [range(5, 20), b"a"])
    assert file.read(30) == b"56789"
