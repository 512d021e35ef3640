"""Calls of librosa with a fixed signal: those that need no compiler, and those that do."""

from collections.abc import Callable
from typing import Any

import librosa
import numpy as np

RATE = 16000
SIGNAL = np.random.default_rng(7).standard_normal(RATE).astype(np.float32)
SIGNAL += np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)


def _chroma() -> Any:
    return librosa.feature.chroma_stft(y=SIGNAL, sr=RATE, tuning=0.0)


NEED_NO_COMPILER: dict[str, Callable[[], Any]] = {
    "stft": lambda: librosa.stft(SIGNAL),
    "melspectrogram": lambda: librosa.feature.melspectrogram(y=SIGNAL, sr=RATE),
    "mfcc": lambda: librosa.feature.mfcc(y=SIGNAL, sr=RATE),
    "power_to_db": lambda: librosa.power_to_db(np.abs(librosa.stft(SIGNAL)) ** 2),
    "chroma_stft": _chroma,
    "spectral_contrast": lambda: librosa.feature.spectral_contrast(y=SIGNAL, sr=RATE),
    "spectral_centroid": lambda: librosa.feature.spectral_centroid(y=SIGNAL, sr=RATE),
    "spectral_bandwidth": lambda: librosa.feature.spectral_bandwidth(y=SIGNAL, sr=RATE),
    "spectral_rolloff": lambda: librosa.feature.spectral_rolloff(y=SIGNAL, sr=RATE),
    "spectral_flatness": lambda: librosa.feature.spectral_flatness(y=SIGNAL),
    "rms": lambda: librosa.feature.rms(y=SIGNAL),
    "tonnetz": lambda: librosa.feature.tonnetz(chroma=_chroma()),
    "delta": lambda: librosa.feature.delta(librosa.feature.mfcc(y=SIGNAL, sr=RATE)),
    "onset_strength": lambda: librosa.onset.onset_strength(y=SIGNAL, sr=RATE),
    "pcen": lambda: librosa.pcen(librosa.feature.melspectrogram(y=SIGNAL, sr=RATE)),
}
NEED_A_COMPILER: dict[str, Callable[[], Any]] = {
    "zero_crossing_rate": lambda: librosa.feature.zero_crossing_rate(SIGNAL),
    "estimate_tuning": lambda: librosa.estimate_tuning(y=SIGNAL, sr=RATE),
    "yin": lambda: librosa.yin(SIGNAL, fmin=65, fmax=2000, sr=RATE),
    "cqt": lambda: librosa.cqt(SIGNAL, sr=RATE),
    "tempogram": lambda: librosa.feature.tempogram(y=SIGNAL, sr=RATE),
}
CALLS = NEED_NO_COMPILER | NEED_A_COMPILER
