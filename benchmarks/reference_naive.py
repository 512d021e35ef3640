"""Features as tutorials compute them: each by its public librosa function, from the waveform.

The baseline in docs/performance.md. As such code does, it computes a new spectrogram for every
feature.
"""

import librosa
import numpy as np
from numpy.typing import NDArray


def features(y: NDArray[np.float32], sr: float) -> NDArray[np.float64]:
    """Mean and standard deviation of the usual features [shape=(2 * 191,)]."""
    mfcc = librosa.feature.mfcc(y=y, sr=sr, n_mfcc=20)
    parts = [
        mfcc,
        librosa.feature.delta(mfcc),
        librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=sr)),
        librosa.feature.chroma_stft(y=y, sr=sr),
        librosa.feature.spectral_contrast(y=y, sr=sr),
        librosa.feature.spectral_centroid(y=y, sr=sr),
        librosa.feature.spectral_bandwidth(y=y, sr=sr),
        *(
            librosa.feature.spectral_rolloff(y=y, sr=sr, roll_percent=share)
            for share in (0.25, 0.5, 0.85, 0.95)
        ),
        librosa.feature.spectral_flatness(y=y),
        librosa.feature.zero_crossing_rate(y),
        librosa.feature.rms(y=y),
        librosa.onset.onset_strength(y=y, sr=sr)[None],
    ]
    return np.concatenate([np.concatenate([p.mean(axis=1), p.std(axis=1)]) for p in parts])
