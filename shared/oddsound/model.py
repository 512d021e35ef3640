"""Loads a model: its feature extractor, scaler and predictor."""

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
from oddsound.events.finder import EventFinder
from oddsound.events.frames import FrameAnalyser
from oddsound.events.reference import ARTIFACT_KEY, EventReference
from oddsound.features import FeatureExtractor, extractor
from oddsound.predictors import PREDICTORS, Floats, Predictor
from oddsound.schemas import ModelEntry

type Fetch = Callable[[str], bytes]
"""From a key of a models.json entry, such as "scaler_path", to the verified bytes of the file."""

_unpickling = threading.Lock()

NARROWER = "narrower"
"""Key of a detector's artifact for models of lower sample rates."""

EXTRACTOR, SCALER = "the extractor", "the scaler"
"""Sources of the features, in error texts."""


@dataclass(frozen=True)
class Standardiser:
    """A StandardScaler made of plain arrays [shape=(features,)]; the names are scikit-learn's."""

    mean_: Floats
    var_: Floats
    scale_: Floats

    def transform(self, rows: Floats) -> Floats:
        """z-scores [shape=(rows, features)]."""
        return np.asarray((rows - self.mean_) / self.scale_)


@dataclass(frozen=True)
class Model:
    """A verified model, ready to score recordings.

    sample_rate : of the waveforms, in Hz
    window_s : length of the windows of a long recording; None for the default length
    kept : indices of the extractor's features that the model uses
    scaler : the artifact, or None
    scale : the function that scales rows of features, or None without a scaler
    size_bytes : of the artifacts in memory
    events_reference : None for a model without one: a classifier, or an older detector
    narrower : models of the same machine for recordings with a lower sample rate, ascending
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
    events_reference: tuple[FrameAnalyser, EventReference] | None = None
    narrower: tuple["Model", ...] = ()

    @classmethod
    def load(cls, name: str, entry: ModelEntry, sample_rate: int, fetch: Fetch) -> "Model":
        """Load the model of an entry.

        sample_rate : in Hz, used if the entry has none
        fetch : returns the verified bytes of an artifact
        Raises ModelArtifactError or ModelsConfigError, with the name of the model in the text.
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
            raise ModelsConfigError(
                f"no predictor is called {entry.predictor!r}; available: {known}"
            )

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
            # Nearly the size in memory, which Python does not report for nested objects.
            size_bytes=len(pickle.dumps((estimator, scaler))),
            events_reference=_events_reference(estimator, rate, entry.model_path),
            narrower=_narrower(name, entry, estimator, () if dropped is None else dropped),
        )

    def for_rate(self, sample_rate: int) -> "Model":
        """The model for recordings with a sample rate in Hz.

        A recording cannot contain what is above half its sample rate. A model for a lower sample
        rate does not compare it; without one, this model is used for every rate.
        """
        if sample_rate >= self.sample_rate:
            return self
        fitting = [model for model in self.narrower if model.sample_rate <= sample_rate]
        return fitting[-1] if fitting else self

    def features(self, windows: list[Array]) -> Array:
        """The features of each window, float32 [shape=(windows, len(kept))].

        windows : waveforms at the model's sample rate, each at least one analysis frame long
        """
        return np.stack([self.extractor(window)[self.kept] for window in windows])

    def event_finder(self) -> EventFinder | None:
        """Finds what is unusual in a recording and when; None without a reference."""
        return None if self.events_reference is None else EventFinder(*self.events_reference)

    def scaled(self, rows: Array) -> Floats:
        """Scales rows of `features` for the predictor; float64 [shape=(rows, scaled features)]."""
        floats = rows.astype(np.float64)
        return floats if self.scale is None else self.scale(floats)


def unpickle(data: bytes, path: str) -> Any:
    """The object in a joblib file. Only for verified bytes: unpickling can run any code.

    path : of the file, for error texts
    Raises ModelArtifactError if the file cannot be read, or if it was created by another series of
    scikit-learn (1.8 and 1.9 differ, 1.9.1 and 1.9.2 do not).
    """
    loaded: Any = None
    failure: Exception | None = None
    # `catch_warnings` changes the filters of the whole process, so only one thread may use it.
    with _unpickling, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        try:
            loaded = joblib.load(io.BytesIO(data))
        # A damaged pickle can raise any exception, and so can one of another series.
        except Exception as error:
            failure = error
    for warning in (each.message for each in caught):
        if not isinstance(warning, InconsistentVersionWarning):
            continue
        created, installed = warning.original_sklearn_version, warning.current_sklearn_version
        if _series(created) != _series(installed):
            raise ModelArtifactError(
                f"{path} was created by scikit-learn {created}, but {installed} is installed:"
                f" train the model again, or install scikit-learn {created}"
            ) from None
    if failure is not None:
        reason = f"{type(failure).__name__}: {failure}"
        raise ModelArtifactError(f"{path} cannot be loaded: {reason}") from failure
    return loaded


def _series(version: str) -> list[str]:
    """Major and minor version."""
    return version.split(".")[:2]


def kept_features(names: tuple[str, ...], dropped: Any) -> NDArray[np.intp]:
    """Indices of the features that are not dropped, ascending.

    dropped : names, indices, or both
    Raises ModelArtifactError if one of them does not exist, or if `dropped` is not a collection.
    """
    places = {name: index for index, name in enumerate(names)}
    gone = set()
    if isinstance(dropped, str) or not isinstance(dropped, Iterable):
        raise ModelArtifactError(
            f"dropped features are {dropped!r}; a list of names or indices is required"
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
                f"dropped feature {item!r} does not exist; the extractor returns {len(names)},"
                f" from {names[0]} to {names[-1]}"
            )
    return np.array([index for index in range(len(names)) if index not in gone], dtype=np.intp)


def _scale(scaler: Any, entry: ModelEntry) -> Callable[[Floats], Floats] | None:
    if scaler is None or entry.scaler_path is None:
        return None
    return fast_sklearn.fast_method(scaler, "transform", entry.scaler_path)


def _events_reference(
    estimator: Any, sample_rate: int, path: str
) -> tuple[FrameAnalyser, EventReference] | None:
    if not isinstance(estimator, dict) or ARTIFACT_KEY not in estimator:
        return None
    analyser = FrameAnalyser(sample_rate)
    return analyser, EventReference.of_artifact(estimator[ARTIFACT_KEY], analyser, path)


def _narrower(name: str, entry: ModelEntry, estimator: Any, dropped: Any) -> tuple[Model, ...]:
    """The models for lower sample rates that are in the artifact of a detector."""
    if not isinstance(estimator, dict):
        return ()
    models = []
    for part in estimator.get(NARROWER, ()):
        rate = part["sample_rate"]
        extract = extractor(entry.feature_extractor, rate)
        scaler = Standardiser(part["mean"], part["variance"], part["scale"])
        models.append(
            Model(
                name=name,
                version=entry.version,
                sample_rate=rate,
                window_s=entry.window_s,
                extractor=extract,
                predictor=PREDICTORS[entry.predictor](part["detector"], None, entry),
                kept=kept_features(extract.names, dropped),
                scaler=scaler,
                scale=scaler.transform,
                # They are part of the artifact, whose size is that of the whole model.
                size_bytes=0,
                events_reference=_events_reference(part["detector"], rate, entry.model_path),
            )
        )
    return tuple(sorted(models, key=lambda model: model.sample_rate))


def _check_window(window_s: float | None, frame_s: float) -> None:
    if window_s is not None and window_s < frame_s:
        raise ModelsConfigError(
            f"window_s is {window_s:g}; at least one analysis frame ({frame_s:g} s) is required"
        )


def _check_widths(scaler: Any, estimator: Any, given: int, entry: ModelEntry) -> None:
    """Check that the features fit the scaler, and that the scaled features fit the estimator.

    given : number of features after dropping
    """
    if scaler is None:
        _check_width(estimator, given, EXTRACTOR)
        return
    _check_width(scaler, given, EXTRACTOR)
    try:
        scaled = scaler.transform(np.zeros((1, given)))
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelArtifactError(
            f"{entry.scaler_path} ({type(scaler).__name__}) cannot scale {given} features: {error}"
        ) from None
    _check_width(estimator, scaled.shape[1], SCALER)


def _check_width(artifact: Any, given: int, source: str) -> None:
    if isinstance(artifact, dict):
        expected = artifact.get("n_features_in_", given)
    else:
        expected = getattr(artifact, "n_features_in_", given)
    if expected != given:
        after = " after dropping" if source == EXTRACTOR else ""
        raise ModelArtifactError(
            f"{type(artifact).__name__} was trained on {expected} features; {source} returns"
            f" {given}{after}"
        )
