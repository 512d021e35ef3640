"""Other detectors, each fitted to normal recordings alone.

All but PyOD's work on log-mel spectrograms (16 kHz, 128 bands, frames of 64 ms, half overlapping)
from which the mean level of the recording is subtracted: like this project's detector they do
not depend on the gain of the recorder.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from benchmarks.detection.protocol import Score
from oddsound.descriptors import Array
from oddsound.predictors import Floats

SAMPLE_RATE, FRAME, HOP, BANDS = 16000, 1024, 512, 128
DYNAMIC_RANGE_DB = 80.0
CONTEXT = 5
"""Frames that the autoencoder reconstructs together."""

LAYERS = (128, 128, 128, 128, 8, 128, 128, 128, 128)
NEIGHBOURS, TREES, MIXTURES = 5, 200, 8
MAX_FRAMES = {"gmm": 20_000, "autoencoder": 2_000}
"""Random frames that a method trains on, so that a fit takes less than a minute."""

MAX_EPOCHS, PATIENCE, BATCH = 100, 10, 128
TINY = 1e-12

type Rows = Array | Floats


@lru_cache(maxsize=4096)
def log_mel(path: Path) -> Array:
    """Levels in dB, 0 on average [shape=(frames, 128)]; at most 80 dB below the loudest."""
    waveform, _ = librosa.load(path, sr=SAMPLE_RATE)
    if len(waveform) < FRAME:
        waveform = np.pad(waveform, (0, FRAME - len(waveform)))
    power = librosa.feature.melspectrogram(
        y=waveform, sr=SAMPLE_RATE, n_fft=FRAME, hop_length=HOP, n_mels=BANDS
    )
    levels = librosa.power_to_db(power, ref=np.max, top_db=DYNAMIC_RANGE_DB).T
    centred: Array = (levels - levels.mean()).astype(np.float32)
    return centred


def clip_features(paths: Sequence[Path]) -> Floats:
    """Mean and deviation of each band [shape=(recordings, 256)]."""
    spectra = [log_mel(path) for path in paths]
    return np.array([np.r_[s.mean(axis=0), s.std(axis=0)] for s in spectra], float)


def _of_clips(fit_rows: Callable[[Floats], Callable[[Floats], Floats]]) -> Callable[..., Score]:
    """Turn a method for standardised rows into one for recordings."""

    def fit(train: Sequence[Path]) -> Score:
        rows = clip_features(train)
        scaler = StandardScaler().fit(rows)
        score = fit_rows(scaler.transform(rows))
        return lambda paths: score(scaler.transform(clip_features(paths)))

    return fit


# Distances are compared by their logarithm: it does not change the AUC, and its distribution over
# normal recordings is closer to the normal distribution that `t_quantile` assumes.


def _mahalanobis(rows: Floats) -> Callable[[Floats], Floats]:
    model = LedoitWolf().fit(rows)
    return lambda tested: np.log(model.mahalanobis(tested) + TINY)


def _nearest(rows: Floats) -> Callable[[Floats], Floats]:
    model = NearestNeighbors(n_neighbors=1).fit(rows)
    return lambda tested: np.log(model.kneighbors(tested)[0][:, 0] + TINY)


def _local_outlier_factor(rows: Floats) -> Callable[[Floats], Floats]:
    neighbours = min(NEIGHBOURS, len(rows) - 1)
    model = LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(rows)
    return lambda tested: np.log(-model.score_samples(tested))


def _isolation_forest(rows: Floats) -> Callable[[Floats], Floats]:
    model = IsolationForest(n_estimators=TREES, random_state=0).fit(rows)
    return lambda tested: -np.asarray(model.score_samples(tested))


mahalanobis = _of_clips(_mahalanobis)
nearest = _of_clips(_nearest)
local_outlier_factor = _of_clips(_local_outlier_factor)
isolation_forest = _of_clips(_isolation_forest)


def gmm(train: Sequence[Path]) -> Score:
    """Gaussian mixture with diagonal covariances: mean negative log-likelihood of the frames."""
    frames = _some(np.concatenate([log_mel(path) for path in train]), MAX_FRAMES["gmm"])
    scaler = StandardScaler().fit(frames)
    model = GaussianMixture(
        n_components=min(MIXTURES, len(frames)),
        covariance_type="diag",
        reg_covar=1e-3,
        random_state=0,
    )
    _fitted(model, scaler.transform(frames).astype(float))
    return lambda paths: np.array(
        [-model.score(scaler.transform(log_mel(path)).astype(float)) for path in paths]
    )


def autoencoder(train: Sequence[Path]) -> Score:
    """The autoencoder of DCASE 2020 Task 2: mean squared error of 5 frames of 128 bands.

    Layers 640-128-128-128-128-8-128-128-128-128-640 as there, but without batch normalisation,
    by scikit-learn's MLPRegressor, and until the error of a tenth of the frames stops falling.
    """
    windows = _some(np.concatenate([_windows(path) for path in train]), MAX_FRAMES["autoencoder"])
    # One mean and one deviation for all bands: the error stays an error in dB, as in DCASE.
    mean, deviation = float(windows.mean()), max(float(windows.std()), TINY)
    model = MLPRegressor(
        hidden_layer_sizes=LAYERS,
        batch_size=min(BATCH, max(1, len(windows) // 4)),
        early_stopping=True,
        max_iter=MAX_EPOCHS,
        n_iter_no_change=PATIENCE,
        random_state=0,
    )
    scaled = (windows - mean) / deviation
    _fitted(model, scaled, scaled)

    def error(path: Path) -> float:
        clip = (_windows(path) - mean) / deviation
        return float(np.mean(np.square(model.predict(clip) - clip)))

    return lambda paths: np.log([error(path) + TINY for path in paths])


def pyod_embedding(train: Sequence[Path]) -> Score:
    """PyOD's EmbeddingOD.for_audio: nearest neighbours on 74 features, which include the level.

    With its defaults, except that a fold may have fewer recordings than the five neighbours.
    """
    neighbours = min(NEIGHBOURS, len(train) - 1)
    detector = import_module("pyod.models.knn").KNN(n_neighbors=neighbours)
    embedding = import_module("pyod.models.embedding").EmbeddingOD
    return _pyod(embedding.for_audio(detector=detector), train)


def pyod_autoencoder(train: Sequence[Path]) -> Score:
    """PyOD's AudioAE with its defaults; it needs PyTorch."""
    return _pyod(import_module("pyod.models.audio_ae").AudioAE(), train)


def installed(*packages: str) -> bool:
    """Whether all packages can be imported."""
    return all(find_spec(package) is not None for package in packages)


def _pyod(model: Any, train: Sequence[Path]) -> Score:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit([str(path) for path in train])

    def score(paths: Sequence[Path]) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Floats = model.decision_function([str(path) for path in paths])
        return np.log(found + TINY)

    return score


def _windows(path: Path) -> Array:
    """Each frame with the four that follow it [shape=(windows, 640)]; short clips are padded."""
    frames = log_mel(path)
    missing = max(0, CONTEXT - len(frames))
    frames = np.pad(frames, ((0, missing), (0, 0)), mode="edge")
    count = len(frames) - CONTEXT + 1
    return np.hstack([frames[start : start + count] for start in range(CONTEXT)])


def _some(rows: Array, most: int) -> Array:
    """Random rows, at most that many, always the same."""
    if len(rows) <= most:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), most, replace=False)]


def _fitted(model: Any, *data: Rows) -> None:
    # Reaching the maximum number of iterations is expected here: it bounds the time.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(*data)
