"""All inputs of the corpus by kind."""

import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.io
import soundfile

from oddsound.descriptors import Array
from tests.corpus import riff, streams
from tests.media import FAN, RATE, encoded, remuxed, written

SCIPY = Path(scipy.io.__file__).parent / "tests" / "data"
CPYTHON = Path(sysconfig.get_path("stdlib")) / "test" / "audiodata"
STEREO = np.column_stack([FAN, FAN[::-1] / 2])
DURATION_S = 2

type Inputs = Iterator[tuple[str, bytes]]


def _sound(rate: int, channels: int) -> Array:
    """Two seconds; the fan turns faster or slower than it does."""
    return np.resize(STEREO, (DURATION_S * rate, 2))[:, :channels]


def _of_folder(folder: Path) -> Inputs:
    for path in sorted(folder.glob("*.*")):
        if path.suffix in (".wav", ".aiff", ".aifc", ".au"):
            yield path.name, path.read_bytes()


def scipy_tests() -> Inputs:
    """SciPy's test files, where they are installed."""
    yield from _of_folder(SCIPY)


def cpython_tests() -> Inputs:
    """CPython's test files, where they are installed."""
    yield from _of_folder(CPYTHON)


def libsndfile() -> Inputs:
    """Everything that libsndfile writes, with one channel and with two."""
    for kind in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(kind):
            rate = 48000 if subtype == "OPUS" else RATE
            for channels in (1, 2):
                # SD2 keeps a part of a recording in a file of its own.
                if kind == "SD2":
                    continue
                try:
                    data = written(kind, subtype, rate, _sound(rate, channels))
                except soundfile.SoundFileError:
                    continue  # libsndfile lists it, but does not write it
                yield f"{subtype}-{channels}.{kind.lower()}", data


def mpeg() -> Inputs:
    """MP3 and MP2 of LAME through libsndfile, of LAME through FFmpeg, and of FFmpeg itself."""
    for rate in (8000, 16000, 22050, 32000, 44100, 48000):
        for channels in (1, 2):
            sound = _sound(rate, channels)
            yield f"libsndfile-{rate}-{channels}.mp3", written("MP3", None, rate, sound)
            yield f"lame-{rate}-{channels}.mp3", encoded("mp3", "libmp3lame", sound, rate)
            if rate >= 16000:
                yield f"ffmpeg-{rate}-{channels}.mp2", encoded("mp2", "mp2", sound, rate)
    plain = encoded("mp3", "libmp3lame")
    yield "no-xing.mp3", remuxed(plain, "mp3", "mp3", write_xing="0")
    yield "no-tags.mp3", remuxed(plain, "mp3", "mp3", write_xing="0", id3v2_version="0")


def ogg() -> Inputs:
    """Vorbis, Opus, FLAC and Speex in Ogg, of libsndfile and FFmpeg."""
    for rate in (8000, 16000, 44100, 48000):
        for channels in (1, 2):
            sound = _sound(rate, channels)
            yield f"libsndfile-{rate}-{channels}.ogg", written("OGG", None, rate, sound)
            yield f"flac-{rate}-{channels}.oga", encoded("ogg", "flac", sound, rate)
            if rate != 44100:
                yield f"libopus-{rate}-{channels}.opus", encoded("ogg", "libopus", sound, rate)


def by_ffmpeg() -> Inputs:
    """What only FFmpeg reads: M4A, WebM, Matroska, AAC, WavPack and others."""
    opus = written("OGG", "OPUS", 48000)
    for container, codec in (
        *(("ipod", "aac"), ("ipod", "alac"), ("mov", "pcm_s16le"), ("3gp", "aac"), ("adts", "aac")),
        *(("matroska", "flac"), ("matroska", "aac"), ("wv", "wavpack"), ("tta", "tta")),
    ):
        yield f"{codec}.{container}", encoded(container, codec)
        yield f"{codec}-stereo.{container}", encoded(container, codec, STEREO)
    yield "opus.webm", remuxed(opus, "ogg", "webm")
    yield "opus.mka", remuxed(opus, "ogg", "matroska")


KINDS: dict[str, Callable[[], Inputs]] = {
    "WAV files of SciPy's tests": scipy_tests,
    "files of CPython's tests": cpython_tests,
    "written by libsndfile": libsndfile,
    "MP3 and MP2 of three encoders": mpeg,
    "Ogg of two encoders": ogg,
    "read by FFmpeg only": by_ffmpeg,
    "harmful: RIFF, AIFF, AU, CAF": riff.harmful,
    "harmful: FLAC, MP3, Ogg, MP4": streams.harmful,
}
