"""A model: its feature extractor, scaler and predictor, assembled from its artifacts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddsound.compiled.steps import CompiledScaler, Standard
from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError, ModelsConfigError
from oddsound.events.finder import EventFinder
from oddsound.events.frames import FrameAnalyser
from oddsound.events.reference import ARTIFACT_KEY, EventReference
from oddsound.features import FeatureExtractor, extractor, top_hz
from oddsound.numbers import Numbers
from oddsound.parts import Fetch, Parts, TrainingStatistics
from oddsound.predictors import PREDICTORS, Floats, Predictor
from oddsound.schemas import VIEWS, ModelEntry

ROWS_PER_CALL = 64
"""Windows whose rows are scaled and scored together."""

NARROWER = "narrower"
"""Key of a detector's artifact for models of lower sample rates."""

LOUDNESS = "loudness"
"""Key of a detector's artifact for mean and deviation of the training recordings' loudness in dB.
The detector does not use it, so that the gain does not matter; a change of the gain is drift."""

BANDWIDTH = "bandwidth_hz"
"""Key of a detector's artifact for the median bandwidth of the training recordings."""

SAME_BAND = 0.95
"""Bandwidths that differ by less are the same: the measured edge is that exact."""

COMPARED_SHARE = 0.85
"""Of the bandwidth: a model that compares as much, compares all of it but for the edge."""

EXTRACTOR, SCALER = "the extractor", "the scaler"
"""Sources of the features, in error texts."""


@dataclass(frozen=True)
class Model:
    """A verified model, ready to score recordings.

    sample_rate : of the waveforms, in Hz
    window_s : length of the windows of a long recording; None for the default length
    kept : indices of the extractor's features that the model uses
    scaler : the object that scales rows of features, or None
    statistics : of the training recordings; None if the artifacts do not contain them
    size_bytes : of the artifacts in memory
    events_reference : None for a model without one: a classifier, or an older detector
    narrower : models of the same machine for recordings with a lower sample rate, ascending
    loudness : mean and deviation over the training recordings, in dB; None in older models
    bandwidth_hz : the usual one of the training recordings; None in older models, whose recordings
        are taken to contain all that the model compares
    """

    name: str
    version: str
    sample_rate: int
    window_s: float | None
    extractor: FeatureExtractor
    predictor: Predictor
    kept: NDArray[np.intp]
    scaler: Any
    statistics: TrainingStatistics | None
    size_bytes: int
    events_reference: tuple[FrameAnalyser, EventReference] | None = None
    narrower: tuple["Model", ...] = ()
    loudness: tuple[float, float] | None = None
    bandwidth_hz: float | None = None

    @classmethod
    def load(
        cls,
        name: str,
        entry: ModelEntry,
        sample_rate: int,
        fetch: Fetch,
        *,
        allow_pickle: bool = True,
    ) -> "Model":
        """Load the model of an entry: its compiled form if it has one, else its joblib files.

        sample_rate : in Hz, used if the entry has none
        fetch : returns the verified bytes of an artifact
        allow_pickle : whether joblib files may be loaded, which runs code
        Raises ModelArtifactError or ModelsConfigError, with the name of the model in the text.
        """
        try:
            read = _reader(name, entry, allow_pickle)
            return cls.assembled(name, entry, sample_rate, lambda: read(entry, fetch))
        except (ModelArtifactError, ModelsConfigError) as error:
            raise type(error)(f"model {name!r}: {error}") from error

    @classmethod
    def assembled(
        cls, name: str, entry: ModelEntry, sample_rate: int, read: Callable[[], Parts]
    ) -> "Model":
        """The model of the parts that `read` returns, checked. Raises the errors of `load`."""
        rate = entry.sample_rate or sample_rate
        extract = extractor(entry.feature_extractor, rate)
        if entry.predictor not in PREDICTORS:
            known = ", ".join(sorted(PREDICTORS))
            raise ModelsConfigError(
                f"no predictor is called {entry.predictor!r}; available: {known}"
            )
        parts = read()
        estimator = parts.estimator
        if entry.predictor == VIEWS and isinstance(estimator, dict):
            estimator = Numbers.of(estimator, entry.model_path)
        kept = kept_features(extract.names, parts.dropped)
        _check_window(entry.window_s, extract.min_samples / rate)
        _check_widths(parts.scaler, estimator, len(kept), entry)
        _check_statistics(parts.statistics, len(kept), entry)
        return cls(
            name=name,
            version=entry.version,
            sample_rate=rate,
            window_s=entry.window_s,
            extractor=extract,
            predictor=PREDICTORS[entry.predictor](estimator, parts.label_encoder, entry),
            kept=kept,
            scaler=parts.scaler,
            statistics=parts.statistics,
            size_bytes=parts.size_bytes,
            events_reference=_events_reference(estimator, rate, entry),
            narrower=_narrower(name, entry, estimator, parts.dropped),
            loudness=_loudness(estimator),
            bandwidth_hz=_bandwidth_hz(estimator),
        )

    @property
    def top_hz(self) -> float:
        """The highest frequency that the features describe, in Hz."""
        return top_hz(self.extractor, self.sample_rate)

    @property
    def compared_hz(self) -> float:
        """The highest frequency that the training recordings contain and the features describe."""
        return min(self.bandwidth_hz or self.top_hz, self.top_hz)

    def for_rate(self, sample_rate: int) -> "Model":
        """The model for recordings with a sample rate in Hz, whose bandwidth is half of it."""
        return self if sample_rate >= self.sample_rate else self.for_bandwidth(sample_rate / 2)

    def for_bandwidth(self, bandwidth_hz: float) -> "Model":
        """The model for recordings that contain nothing above a frequency.

        What the recorder of the recording or that of the training recordings removed is not
        compared: the models fit of which both contain the same part. Of these, the one for the
        lowest sample rate is chosen that compares all of it.
        """
        if not self.narrower:
            return self
        fitting = [model for model in (*self.narrower, self) if model._fits(bandwidth_hz)]
        wanted = COMPARED_SHARE * min(bandwidth_hz, self.top_hz)
        enough = [model for model in fitting if model.top_hz >= wanted]
        return (enough or fitting[-1:] or self.narrower)[0]

    def _fits(self, bandwidth_hz: float) -> bool:
        """Whether a recording and the training recordings contain the same of what is compared."""
        found, trained = min(bandwidth_hz, self.top_hz), self.compared_hz
        return min(found, trained) >= SAME_BAND * max(found, trained)

    def features(self, windows: list[Array]) -> Array:
        """The features of each window, float32 [shape=(windows, len(kept))].

        windows : waveforms at the model's sample rate, each at least one analysis frame long
        """
        return np.stack([self.extractor(window)[self.kept] for window in windows])

    def event_finder(self) -> EventFinder | None:
        """Finds what is unusual in a recording and when; None without a reference."""
        return None if self.events_reference is None else EventFinder(*self.events_reference)

    def probabilities(self, rows: Array, length_s: float) -> Floats:
        """The predictor's probabilities for rows of `features`, float64 [shape=(rows, classes)].

        length_s : of the windows that the rows describe
        """
        # Of some rows at a time: the memory must not depend on the number of windows.
        parts = [
            rows[first : first + ROWS_PER_CALL] for first in range(0, len(rows), ROWS_PER_CALL)
        ]
        return np.concatenate(
            [self.predictor.probabilities(self.scaled(part), length_s) for part in parts]
        )

    def scaled(self, rows: Array) -> Floats:
        """Scales rows of `features` for the predictor; float64 [shape=(rows, scaled features)]."""
        floats = rows.astype(np.float64)
        return floats if self.scaler is None else np.asarray(self.scaler.transform(floats))


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


def _events_reference(
    estimator: Any, sample_rate: int, entry: ModelEntry
) -> tuple[FrameAnalyser, EventReference] | None:
    if not isinstance(estimator, Numbers) or not estimator.has(ARTIFACT_KEY):
        return None
    analyser = FrameAnalyser(sample_rate)
    numbers = estimator.part(ARTIFACT_KEY)
    return analyser, EventReference.of_artifact(numbers, analyser, entry.model_path)


def _loudness(estimator: Any) -> tuple[float, float] | None:
    if not isinstance(estimator, Numbers) or not estimator.has(LOUDNESS):
        return None
    numbers = estimator.part(LOUDNESS)
    return numbers.number("mean"), numbers.number("deviation", positive=True)


def _bandwidth_hz(estimator: Any) -> float | None:
    if not isinstance(estimator, Numbers) or not estimator.has(BANDWIDTH):
        return None
    return estimator.number(BANDWIDTH, positive=True)


def _narrower(
    name: str, entry: ModelEntry, estimator: Any, dropped: Iterable[Any]
) -> tuple[Model, ...]:
    """The models for lower sample rates that are in the artifact of a detector."""
    if not isinstance(estimator, Numbers):
        return ()
    models = [_narrower_model(name, entry, part, dropped) for part in estimator.parts(NARROWER)]
    return tuple(sorted(models, key=lambda model: model.sample_rate))


def _narrower_model(name: str, entry: ModelEntry, part: Numbers, dropped: Iterable[Any]) -> Model:
    rate, detector = part.integer("sample_rate"), part.part("detector")
    extract = extractor(entry.feature_extractor, rate)
    kept = kept_features(extract.names, dropped)
    mean = part.array("mean", len(kept))
    variance = part.array("variance", len(kept))
    scaler = CompiledScaler(Standard(mean, part.array("scale", len(kept), positive=True)))
    _check_width(detector, len(kept), SCALER)
    return Model(
        name=name,
        version=entry.version,
        sample_rate=rate,
        window_s=entry.window_s,
        extractor=extract,
        predictor=PREDICTORS[entry.predictor](detector, None, entry),
        kept=kept,
        scaler=scaler,
        statistics=TrainingStatistics.of(mean, np.sqrt(variance)),
        # They are part of the artifact, whose size is that of the whole model.
        size_bytes=0,
        events_reference=_events_reference(detector, rate, entry),
        loudness=_loudness(detector),
        bandwidth_hz=_bandwidth_hz(detector),
    )


def _reader(
    name: str, entry: ModelEntry, allow_pickle: bool
) -> Callable[[ModelEntry, Fetch], Parts]:
    """The function that reads the artifacts, imported here: most processes need only one."""
    if entry.compiled_path is not None:
        from oddsound.compiled import reading

        return reading.read
    if not allow_pickle:
        raise ModelArtifactError(
            f"{entry.model_path} is a joblib file, which runs code when it is loaded, and"
            f" ALLOW_PICKLE is false: run `oddsound compile {name}` and push the model again, or"
            " set ALLOW_PICKLE=true"
        )
    from oddsound import joblib_files

    return joblib_files.read


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


def _check_statistics(statistics: TrainingStatistics | None, given: int, entry: ModelEntry) -> None:
    if statistics is not None and len(statistics.mean) != given:
        raise ModelArtifactError(
            f"{entry.compiled_path or entry.model_path} has training statistics of"
            f" {len(statistics.mean)} features; the extractor returns {given} after dropping"
        )


def _check_width(artifact: Any, given: int, source: str) -> None:
    if isinstance(artifact, Numbers):
        kind, expected = "the detector", artifact.integer("n_features_in_")
    else:
        kind, expected = type(artifact).__name__, getattr(artifact, "n_features_in_", given)
    if expected != given:
        after = " after dropping" if source == EXTRACTOR else ""
        raise ModelArtifactError(
            f"{kind} was trained on {expected} features; {source} returns {given}{after}"
        )
