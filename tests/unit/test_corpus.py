"""Files that others wrote, and everything that libsndfile writes, beside a reference decoder."""

import io
import sysconfig
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import soundfile
from scipy.io import wavfile

import oddsound
from oddsound.decoding import open_decoder
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError, UnsupportedAudioError
from tests.media import FAN, RATE, encoded, written

SCIPY = Path(scipy.io.__file__).parent / "tests" / "data"
CPYTHON = Path(sysconfig.get_path("stdlib")) / "test" / "audiodata"
FILES = [*sorted(SCIPY.glob("*.wav")), *sorted(CPYTHON.glob("*.wav"))]

REFUSED = {
    "test-44100Hz-le-1ch-4bytes-early-eof-no-data.wav": "no chunk `data`",
    "test-44100Hz-le-1ch-4bytes-incomplete-chunk.wav": "no chunk `fmt `",
    **{
        f"test-8000Hz-le-3ch-5S-{bits}bit.wav": "data in an unimplemented format"
        for bits in (36, 45, 53, 64)
    },
}
"""Files of SciPy that are refused, and why: without sound, or with integers of over 32 bits."""

DECODED = {"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF"}
BY_FFMPEG = {"VOC", "NIST", "SVX", "AVR", "PVF", "IRCAM"}
STEREO = np.column_stack([FAN, FAN[::-1] / 2])[:8000]


def decoded(data: bytes) -> tuple[Array, int]:
    """All channels [shape=(frames, channels)], and the sample rate."""
    with open_decoder(data) as decoder:
        blocks = [np.zeros((0, decoder.channels), np.float32)]
        while len(block := decoder.read(1000)):
            blocks.append(block)
        return np.concatenate(blocks), decoder.sample_rate


def reference(path: Path) -> tuple[Array, int]:
    """What SciPy reads, with full scale 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        rate, samples = wavfile.read(path)
    if samples.dtype.kind in "iu":
        zero = 128 if samples.dtype == np.uint8 else 0
        samples = (samples.astype(np.float64) - zero) / 2 ** (8 * samples.itemsize - 1)
    return samples.reshape(len(samples), -1).astype(np.float32), rate


@pytest.mark.skipif(not SCIPY.is_dir(), reason="SciPy was installed without its tests")
def test_the_corpus_is_there() -> None:
    assert len([path for path in FILES if path.is_relative_to(SCIPY)]) >= 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_scipy_or_cpython_is_read_or_refused_with_a_reason(path: Path) -> None:
    if words := REFUSED.get(path.name):
        with pytest.raises(InvalidAudioError, match=words):
            decoded(path.read_bytes())
        return
    found, rate = decoded(path.read_bytes())
    if "ulaw" in path.name or "inconsistent" in path.name:  # SciPy does not read these
        with path.open("rb") as file:
            expected, expected_rate = soundfile.read(file, dtype="float32", always_2d=True)
    else:
        expected, expected_rate = reference(path)
    assert rate == expected_rate
    np.testing.assert_allclose(found, expected, rtol=0, atol=2.0**-24)


class Reference(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """libsndfile, which some of its own formats cannot seek in."""

    def seekable(self) -> bool:
        return False


def combinations() -> list[Any]:
    return [
        pytest.param(kind, subtype, id=f"{kind}-{subtype}")
        for kind in soundfile.available_formats()
        if kind != "SD2"  # of which libsndfile writes a part to a file of its own
        for subtype in soundfile.available_subtypes(kind)
    ]


@pytest.mark.parametrize(("kind", "subtype"), combinations())
def test_everything_that_libsndfile_writes_is_read_or_refused(kind: str, subtype: str) -> None:
    rate = 48000 if subtype == "OPUS" else RATE
    for channels in (1, 2):
        try:
            data = written(kind, subtype, rate, STEREO[:, :channels])
        except soundfile.SoundFileError:
            continue  # libsndfile lists it, but does not write it
        if kind not in DECODED | BY_FFMPEG:
            with pytest.raises(UnsupportedAudioError, match="not a recording: it begins with b"):
                decoded(data)
            continue
        with Reference(io.BytesIO(data)) as sound:
            expected = sound.read(1 << 20, dtype="float32", always_2d=True)
        found, found_rate = decoded(data)
        # VOC stores the sample rate of 8-bit sound as a divisor.
        assert found_rate == (16129 if (kind, subtype, channels) == ("VOC", "PCM_U8", 1) else rate)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("codec", ["mp2", "libmp3lame"])
@pytest.mark.parametrize("rate", [16000, 24000, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mpeg_files_of_another_encoder(codec: str, rate: int, channels: int) -> None:
    """FFmpeg writes them, and libsndfile reads all of them as their tone."""
    seconds = np.arange(rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 1000 * seconds)).astype(np.float32)
    sound = np.column_stack([tone, tone])[:, :channels]
    found, found_rate = decoded(encoded("mp3" if codec != "mp2" else "mp2", codec, sound, rate))
    assert (found_rate, found.shape[1]) == (rate, channels)
    assert abs(len(found) - rate) < 2400
    spectrum = np.abs(np.fft.rfft(found[2400:, 0]))
    assert spectrum.argmax() * rate / (len(found) - 2400) == pytest.approx(1000, abs=2)


CASES = Path(__file__).parents[3] / "shared" / "cases"
SHORT_OR_DAMAGED = {
    "flac_short_pipe.flac": "the recording lasts 0.200 s, which is too short to judge",
    "vorbis-one-bit-flipped.ogg": "the checksum of the OGG page at byte 37,218 is wrong",
}


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not on this machine")
def test_cases_that_once_failed_have_the_verdict_of_their_original() -> None:
    model = oddsound.load_model("fan")
    expected = oddsound.predict(CASES / "00_base_N.wav", model).anomaly_score
    found, refused = {}, {}
    for path in sorted(CASES.iterdir()):
        if path.suffix in (".md", ".json") or path.name == "00_base_F.wav":
            continue
        try:
            found[path.name] = oddsound.predict(path, model).anomaly_score
        except InvalidAudioError as error:
            refused[path.name] = str(error)
    assert found == dict.fromkeys(found, pytest.approx(expected, abs=0.01))
    assert len(found) >= 15
    assert set(refused) == set(SHORT_OR_DAMAGED)
    assert all(SHORT_OR_DAMAGED[name] in reason for name, reason in refused.items())
