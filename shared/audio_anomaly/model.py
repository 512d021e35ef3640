"""A model ready to predict: drop -> scale -> predict -> labels, and the predictor strategies."""

import io
import pickle
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc
from sklearn.exceptions import InconsistentVersionWarning

from audio_anomaly import arithmetic
from audio_anomaly.descriptors import Array
from audio_anomaly.errors import ModelArtifactError, ModelsConfigError
from audio_anomaly.features import FeatureExtractor, extractor
from audio_anomaly.schemas import ANOMALY, NORMAL, ModelEntry

type Fetch = Callable[[str], bytes]
type Floats = NDArray[np.float64]

CLASSIFIER_THRESHOLD = 0.5
DETECTOR_THRESHOLD = 0.9
LEAST_KERNEL_SUM = 1e-300

_unpickling = threading.Lock()


class Predictor(Protocol):
    """Rows of scaled features -> probabilities of classes.

    classes : their names, in the order of the probabilities
    normal_label : the one that means "as it should be", or None
    estimator : the artifact that gives them
    """

    classes: tuple[str, ...]
    normal_label: str | None
    threshold: float | None
    estimator: Any

    def probabilities(self, rows: Floats) -> Floats:
        """Of each window by itself: [shape=(windows, classes)], each row sums to 1."""
        ...

    def combine(self, windows: Floats) -> Floats:
        """Of the whole recording, from those of its windows: [shape=(classes,)]."""
        ...


class SklearnProba:
    """A classifier with predict_proba; a long recording gets the mean of its windows."""

    def __init__(self, estimator: Any, label_encoder: Any, entry: ModelEntry) -> None:
        if not hasattr(estimator, "predict_proba"):
            raise ModelArtifactError(
                f"{entry.model_path} holds {type(estimator).__name__}, which has no"
                " predict_proba; the predictor sklearn_proba needs it"
            )
        labels = estimator.classes_
        if label_encoder is not None:
            labels = _decoded(label_encoder, labels, entry)
        self.classes = tuple(str(label) for label in labels)
        self.normal_label = entry.normal_label
        if self.normal_label is not None and self.normal_label not in self.classes:
            raise ModelsConfigError(
                f"normal_label {self.normal_label!r} is no class of the model; it has"
                f" {', '.join(self.classes)}"
            )
        self.threshold = entry.threshold
        if self.threshold is None and self.normal_label is not None:
            self.threshold = CLASSIFIER_THRESHOLD
        self.estimator = estimator
        self._predict_proba = arithmetic.quick(estimator, "predict_proba", entry.model_path)

    def probabilities(self, rows: Floats) -> Floats:
        return self._predict_proba(rows)

    def combine(self, windows: Floats) -> Floats:
        return np.asarray(windows.mean(axis=0))


class SklearnOutlier:
    """A detector fitted to normal sound alone.

    Its raw score (see raw_score: the larger, the stranger) becomes the share of unseen normal
    recordings that would score lower: the distribution function of the gamma that models.json
    gives under `calibration`.
    """

    classes: tuple[str, ...] = (NORMAL, ANOMALY)
    normal_label: str | None = NORMAL

    def __init__(self, estimator: Any, _label_encoder: Any, entry: ModelEntry) -> None:
        if entry.calibration is None:
            raise ModelsConfigError(
                "the predictor sklearn_outlier needs `calibration` (shape and scale of a gamma)"
                " in models.json; `audio-anomaly train` writes it"
            )
        threshold = DETECTOR_THRESHOLD if entry.threshold is None else entry.threshold
        self.threshold: float | None = threshold
        self._calibration = entry.calibration
        self.estimator = estimator
        self._score = raw_score(estimator, log=entry.calibration.log, path=entry.model_path)

    def probabilities(self, rows: Floats) -> Floats:
        gamma = self._calibration
        score = gammainc(gamma.shape, np.maximum(self._score(rows) - gamma.loc, 0) / gamma.scale)
        return np.column_stack([1 - score, score])

    def combine(self, windows: Floats) -> Floats:
        """By the strangest window, judged among as many: P(all of n normal windows are lower).

        So one bad second in an hour counts, and long recordings raise no more false alarms.
        """
        score = windows[:, 1].max() ** len(windows)
        return np.array([1 - score, score])


def raw_score(
    estimator: Any, *, log: bool = False, path: str = "the detector"
) -> Callable[[Floats], Floats]:
    """How far each row is from what the detector was fitted to; larger is stranger.

    `mahalanobis`, or minus `score_samples`, or minus its logarithm: a one-class SVM sums
    kernels, which all but vanish far away, where one would still tell far from farther.

    path : of its artifact, for warnings
    """
    if hasattr(estimator, "mahalanobis"):
        return lambda rows: np.asarray(estimator.mahalanobis(rows))
    if hasattr(estimator, "score_samples"):
        score = arithmetic.quick(estimator, "score_samples", path)
        if log:
            return lambda rows: -np.log(np.maximum(score(rows), LEAST_KERNEL_SUM))
        return lambda rows: -score(rows)
    raise ModelArtifactError(
        f"{type(estimator).__name__} is no detector: it has neither mahalanobis nor score_samples"
    )


PREDICTORS: dict[str, Callable[[Any, Any, ModelEntry], Predictor]] = {
    "sklearn_proba": SklearnProba,
    "sklearn_outlier": SklearnOutlier,
}
"""The strategies that `predictor` of a models.json entry may name."""


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
    return arithmetic.quick(scaler, "transform", entry.scaler_path)


def _decoded(label_encoder: Any, labels: Any, entry: ModelEntry) -> Any:
    """The names of an estimator's classes."""
    try:
        return label_encoder.inverse_transform(labels)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelArtifactError(
            f"{entry.label_encoder_path} ({type(label_encoder).__name__}) does not know the"
            f" classes of {entry.model_path}, {list(labels)}: {error}"
        ) from None


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
