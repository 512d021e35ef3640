"""The same sound in the files of other recorders and senders, and in noise."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import soundfile
import soxr

from oddsound.descriptors import Array
from oddsound_workbench.learn import robustness
from oddsound_workbench.learn.augmentation import rms

AS_RECORDED = "as recorded"
RATES_HZ = (16000, 22050, 32000, 44100, 48000)
LOW_RATES_HZ = (8000, 11025)
"""Rates that cannot contain the frequencies of a model for 16 kHz."""

MP3_RATE_HZ, MP3_KBPS = 44100, 128
SNR_DB = (6, 0, -6)

type Deliver = Callable[[Array, int], bytes]
"""(mono float32 [shape=(samples,)], sample rate in Hz) -> content of a file."""


def wav(samples: Array, sample_rate: int) -> bytes:
    """16 bits, rounded, clipped at full scale.

    samples : float32 [shape=(samples,) or (samples, channels)]
    """
    return _file(np.clip(samples, -1, 1 - 2**-15), sample_rate, "WAV", "PCM_16")


def _flac(samples: Array, sample_rate: int) -> bytes:
    return _file(np.clip(samples, -1, 1 - 2**-15), sample_rate, "FLAC", "PCM_16")


def _mp3(samples: Array, sample_rate: int) -> bytes:
    content: bytes = robustness.mp3(
        soxr.resample(samples, sample_rate, MP3_RATE_HZ), MP3_RATE_HZ, MP3_KBPS
    )
    return content


def _file(samples: Array, sample_rate: int, file_format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, subtype, format=file_format)
    return file.getvalue()


def _stereo(left: float, right: float) -> Deliver:
    def deliver(samples: Array, sample_rate: int) -> bytes:
        return wav(np.column_stack([left * samples, right * samples]), sample_rate)

    return deliver


def _rate(hz: int) -> Deliver:
    return lambda samples, sample_rate: robustness.at_rate(samples, sample_rate, hz)


def _resampled_twice(hz: int) -> Deliver:
    """Recorded at a low sample rate, and sent at the original one."""

    def deliver(samples: Array, sample_rate: int) -> bytes:
        low = soxr.resample(samples, sample_rate, hz)
        return wav(soxr.resample(low, hz, sample_rate)[: len(samples)], sample_rate)

    return deliver


def _offset(level: float) -> Deliver:
    return lambda samples, sample_rate: wav(samples + np.float32(level), sample_rate)


DELIVERIES: dict[str, Deliver] = {
    AS_RECORDED: wav,
    **{f"{hz / 1000:g} kHz": _rate(hz) for hz in RATES_HZ},
    "FLAC": _flac,
    "OGG (Vorbis)": robustness.ogg,
    f"MP3, {MP3_KBPS} kbit/s": _mp3,
    "20 dB softer": lambda samples, rate: robustness.gain(samples, rate, -20),
    "DC offset 0.05": _offset(0.05),
    "DC offset 0.3": _offset(0.3),
    "left channel only": _stereo(1, 0),
    "dual mono": _stereo(1, 1),
    "antiphase stereo": _stereo(1, -1),
    **{f"{hz / 1000:g} kHz": _rate(hz) for hz in LOW_RATES_HZ},
    **{f"recorded at {hz / 1000:g} kHz": _resampled_twice(hz) for hz in LOW_RATES_HZ},
}


def headroom(samples: Array) -> Array:
    """The sound, made softer if a DC offset of 0.3 would clip it.

    samples : float32 [shape=(samples,)]
    """
    return samples * np.float32(min(1.0, 0.65 / max(float(np.abs(samples).max(initial=0)), 1e-9)))


def mixed(
    samples: Array, sample_rate: int, noise: Sequence[Array], snr_db: float, seed: Sequence[int]
) -> Array:
    """The sound with a random one of the noises, in which it is snr_db louder.

    noise : float32 [shape=(samples,)] at the same sample rate; repeated where it is too short
    """
    rng = np.random.default_rng(list(seed))
    chosen = noise[int(rng.integers(len(noise)))]
    start = int(rng.integers(len(chosen)))
    part = np.resize(np.roll(chosen, -start), len(samples))
    gain = rms(samples) / max(rms(part), 1e-9) * 10 ** (-snr_db / 20)
    both: Array = (samples + part * np.float32(gain)).astype(np.float32)
    return both / np.float32(max(1.0, float(np.abs(both).max(initial=0))))
