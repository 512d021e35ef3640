"""A model ready to predict: drop features, scale, predict, name the classes."""

import io
import pickle
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import InconsistentVersionWarning

from oddsound import fast_sklearn
from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.features import FeatureExtractor, extractor
from oddsound.predictors import PREDICTORS, Floats, Predictor
from oddsound.schemas import ModelEntry

type Fetch = Callable[[str], bytes]

_unpickling = threading.Lock()


@dataclass(frozen=True)
class Model:
    """A verified model with everything that a prediction needs.

    kept : indices of the extractor's features that the model was trained on
    scale : what the scaler makes of rows of features, or None as it is
    size_bytes : of its artifacts in memory
    """

    name: str
    version: str
    sample_rate: int
    window_s: float | None
    extractor: FeatureExtractor
    predictor: Predictor
    kept: NDArray[np.intp]
    scaler: Any
    scale: Callable[[Floats], Floats] | None
    size_bytes: int

    @classmethod
    def load(cls, name: str, entry: ModelEntry, sample_rate: int, fetch: Fetch) -> "Model":
        """Build the model of an entry.

        sample_rate : Hz, where the entry names none
        fetch : gives the verified bytes of the artifact under a key such as "scaler_path"
        Raises ModelArtifactError or ModelsConfigError, with the model's name in the text.
        """
        try:
            return cls._load(name, entry, sample_rate, fetch)
        except (ModelArtifactError, ModelsConfigError) as error:
            raise type(error)(f"model {name!r}: {error}") from error

    @classmethod
    def _load(cls, name: str, entry: ModelEntry, sample_rate: int, fetch: Fetch) -> "Model":
        rate = entry.sample_rate or sample_rate
        extract = extractor(entry.feature_extractor, rate)
        if entry.predictor not in PREDICTORS:
            known = ", ".join(sorted(PREDICTORS))
            raise ModelsConfigError(f"no predictor is called {entry.predictor!r}; known: {known}")

        def load(key: str) -> Any:
            path = getattr(entry, key)
            return None if path is None else unpickle(fetch(key), path)

        estimator, scaler = load("model_path"), load("scaler_path")
        label_encoder, dropped = load("label_encoder_path"), load("dropped_features_path")
        kept = kept_features(extract.names, () if dropped is None else dropped)
        _check_window(entry.window_s, extract.min_samples / rate)
        _check_widths(scaler, estimator, len(kept), entry)
        return cls(
            name=name,
            version=entry.version,
            sample_rate=rate,
            window_s=entry.window_s,
            extractor=extract,
            predictor=PREDICTORS[entry.predictor](estimator, label_encoder, entry),
            kept=kept,
            scaler=scaler,
            scale=_scale(scaler, entry),
            size_bytes=len(pickle.dumps((estimator, scaler))),
        )

    def features(self, windows: list[Array]) -> Array:
        """What the model was trained on, of every window [shape=(windows, len(kept))].

        windows : waveforms at the model's sample rate, none shorter than one analysis frame
        """
        return np.stack([self.extractor(window)[self.kept] for window in windows])

    def scaled(self, rows: Array) -> Floats:
        """Rows of `features` as the predictor takes them."""
        floats = rows.astype(np.float64)
        return floats if self.scale is None else self.scale(floats)


def unpickle(data: bytes, path: str) -> Any:
    """The object in a joblib file. Runs its code: only for bytes that were verified.

    Raises ModelArtifactError where it cannot be read, or was made by another scikit-learn.
    """
    # The filters of `warnings` belong to the whole process, hence one at a time.
    with _unpickling, warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            return joblib.load(io.BytesIO(data))
        except InconsistentVersionWarning as warning:
            raise ModelArtifactError(
                f"{path} was made by scikit-learn {warning.original_sklearn_version}, and"
                f" {warning.current_sklearn_version} runs here: train the model again, or"
                " install that version"
            ) from None
        # A damaged pickle raises whatever its half-read instructions lead to.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ModelArtifactError(f"{path} cannot be loaded: {reason}") from error


def kept_features(names: tuple[str, ...], dropped: Any) -> NDArray[np.intp]:
    """Indices of the features that are not dropped.

    dropped : names, indices, or both. Raises ModelArtifactError for one that does not exist.
    """
    places = {name: index for index, name in enumerate(names)}
    gone = set()
    if isinstance(dropped, str) or not isinstance(dropped, Iterable):
        raise ModelArtifactError(
            f"dropped features are {dropped!r}; a list of names or indices is needed"
        )
    for item in dropped:
        if isinstance(item, str) and item in places:
            gone.add(places[item])
        elif (
            isinstance(item, (int, np.integer))
            and not isinstance(item, bool)
            and 0 <= item < len(names)
        ):
            gone.add(int(item))
        else:
            raise ModelArtifactError(
                f"dropped feature {item!r} does not exist; the extractor gives {len(names)},"
                f" from {names[0]} to {names[-1]}"
            )
    return np.array([index for index in range(len(names)) if index not in gone], dtype=np.intp)


def _scale(scaler: Any, entry: ModelEntry) -> Callable[[Floats], Floats] | None:
    if scaler is None or entry.scaler_path is None:
        return None
    return fast_sklearn.fast_method(scaler, "transform", entry.scaler_path)


def _check_window(window_s: float | None, frame_s: float) -> None:
    if window_s is not None and window_s < frame_s:
        raise ModelsConfigError(
            f"window_s is {window_s:g}; at least one analysis frame, {frame_s:g} s, is needed"
        )


def _check_widths(scaler: Any, estimator: Any, given: int, entry: ModelEntry) -> None:
    """Features fit the scaler, and what it makes of them fits the estimator."""
    if scaler is None:
        _check_width(estimator, given, "the extractor gives")
        return
    _check_width(scaler, given, "the extractor gives")
    try:
        scaled = scaler.transform(np.zeros((1, given)))
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelArtifactError(
            f"{entry.scaler_path} ({type(scaler).__name__}) cannot scale {given} features: {error}"
        ) from None
    _check_width(estimator, scaled.shape[1], "the scaler gives")


def _check_width(first: Any, given: int, giver: str) -> None:
    expected = getattr(first, "n_features_in_", given)
    if expected != given:
        after = " after dropping" if giver == "the extractor gives" else ""
        raise ModelArtifactError(
            f"{type(first).__name__} was trained on {expected} features; {giver} {given}{after}"
        )
