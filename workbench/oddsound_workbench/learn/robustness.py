"""Degradations that a recording may suffer before it is scored: gain, noise, low-pass, MP3, rate.

Each one writes a file, as a device or a sender would; the service then decodes, mixes and
resamples that file as any other.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from oddsound.descriptors import Array
from oddsound_workbench.learn import augmentation

ROBUSTNESS_VERSION = "2"
"""Raise this when a condition gives other files: cached features depend on it."""

AS_RECORDED = "as_recorded"
OGG = "ogg"
FULL_SCALE = 2**15
PINK_FROM_HZ = 20.0
MP3_KBPS = 64
MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_RANGES_KBPS = ((32000, 32, 320), (16000, 8, 160), (0, 8, 64))
"""(lowest sample rate in Hz, bit rates of compression levels 1 and 0 of libsndfile in kbit/s)."""

type Alter = Callable[[Array, int, np.random.Generator], bytes]
"""(mono float32 [shape=(samples,)], sample rate in Hz, random generator) -> content of a file."""


@dataclass(frozen=True)
class Condition:
    """A degradation that a model should tolerate.

    sample_rate : of the files, in Hz; None for that of the recording or higher
    """

    title: str
    alter: Alter
    sample_rate: int | None = None


def gain(waveform: Array, sample_rate: int, db: float) -> bytes:
    """Another recording level. Samples beyond full scale are clipped, as in a converter."""
    return _wav(waveform * np.float32(10 ** (db / 20)), sample_rate)


def pink_noise(waveform: Array, sample_rate: int, rng: np.random.Generator, snr_db: float) -> bytes:
    """Pink noise that is snr_db below the mean power of the whole recording.

    The noise has equal power in every octave from 20 Hz. Noise below that would raise the
    noise power without being audible, and the test would be too easy.
    """
    spectrum = np.fft.rfft(rng.standard_normal(len(waveform)))
    hz = np.fft.rfftfreq(len(waveform), 1 / sample_rate)
    spectrum *= np.where(hz < PINK_FROM_HZ, 0, np.maximum(hz, PINK_FROM_HZ) ** -0.5)
    noise = np.fft.irfft(spectrum, len(waveform))
    noise *= (
        augmentation.rms(waveform)
        / max(augmentation.rms(noise), np.finfo(float).tiny)
        * 10 ** (-snr_db / 20)
    )
    return _wav((waveform + noise).astype(np.float32), sample_rate)


def low_pass(waveform: Array, sample_rate: int, cutoff_hz: float) -> bytes:
    """A microphone or line that attenuates frequencies above cutoff_hz by 48 dB per octave."""
    return _wav(augmentation.low_pass(waveform, sample_rate, cutoff_hz), sample_rate)


def mp3(waveform: Array, sample_rate: int, kbps: int = MP3_KBPS) -> bytes:
    """An MP3 of a constant bit rate, at the recording's rate or the next higher rate of MP3."""
    rate = next((r for r in MP3_RATES_HZ if r >= sample_rate), MP3_RATES_HZ[-1])
    low, high = next((low, high) for first, low, high in MP3_RANGES_KBPS if rate >= first)
    file = io.BytesIO()
    soundfile.write(
        file,
        np.clip(_resampled(waveform, sample_rate, rate), -1, 1),
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=(high - kbps) / (high - low),
    )
    return file.getvalue()


def ogg(waveform: Array, sample_rate: int) -> bytes:
    """An OGG file (Vorbis) with libsndfile's default quality: about 36 to 70 kbit/s at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(waveform, -1, 1), sample_rate, "VORBIS", format="OGG")
    return file.getvalue()


def at_rate(waveform: Array, sample_rate: int, rate: int) -> bytes:
    """A file with another sample rate."""
    return _wav(_resampled(waveform, sample_rate, rate), rate)


CONDITIONS = {
    "gain_minus_20_db": Condition("gain -20 dB", lambda y, rate, _: gain(y, rate, -20)),
    "gain_plus_6_db": Condition("gain +6 dB, clipped", lambda y, rate, _: gain(y, rate, 6)),
    "pink_noise_20_db": Condition(
        "pink noise, 20 dB SNR", lambda y, rate, rng: pink_noise(y, rate, rng, 20)
    ),
    "pink_noise_10_db": Condition(
        "pink noise, 10 dB SNR", lambda y, rate, rng: pink_noise(y, rate, rng, 10)
    ),
    "low_pass_4_khz": Condition("low-pass at 4 kHz", lambda y, rate, _: low_pass(y, rate, 4000)),
    "mp3_64_kbps": Condition("MP3, 64 kbit/s", lambda y, rate, _: mp3(y, rate)),
    OGG: Condition("OGG (Vorbis)", lambda y, rate, _: ogg(y, rate)),
    "rate_8_khz": Condition("sent at 8 kHz", lambda y, rate, _: at_rate(y, rate, 8000), 8000),
    "rate_44_khz": Condition("sent at 44.1 kHz", lambda y, rate, _: at_rate(y, rate, 44100), 44100),
}

TITLES = {AS_RECORDED: "as recorded"} | {name: each.title for name, each in CONDITIONS.items()}


def altered(waveform: Array, sample_rate: int, condition: str, seed: list[int]) -> bytes:
    """The content of the file that a recording becomes under one of CONDITIONS.

    waveform : mono float32 [shape=(samples,)]; scaled down first if it exceeds full scale
    sample_rate : Hz
    seed : the same seed gives the same noise
    """
    whole = waveform / np.float32(max(1.0, np.abs(waveform).max(initial=0)))
    return CONDITIONS[condition].alter(whole, sample_rate, np.random.default_rng(seed))


def _wav(waveform: Array, sample_rate: int) -> bytes:
    """A WAV file: 16 bits, rounded, without dither, clipped at full scale."""
    samples = np.clip(np.round(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.int16), sample_rate, "PCM_16", format="WAV")
    return file.getvalue()


def _resampled(waveform: Array, sample_rate: int, rate: int) -> Array:
    if rate == sample_rate:
        return waveform
    resampled: Array = soxr.resample(waveform, sample_rate, rate)
    return resampled
