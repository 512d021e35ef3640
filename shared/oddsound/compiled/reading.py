"""Reads a compiled model: checked numbers instead of pickled objects."""

from typing import Any

from oddsound.compiled.classifiers import CompiledClassifier
from oddsound.compiled.detectors import detector_of
from oddsound.compiled.steps import CompiledScaler, step_of
from oddsound.errors import ModelArtifactError
from oddsound.numbers import Numbers
from oddsound.parts import Fetch, Parts, TrainingStatistics
from oddsound.schemas import JOBLIB_ARTIFACTS, VIEWS, ModelEntry

FORMAT = 1
"""Version of the file format; a later version may be read only by a later version of oddsound."""


def read(entry: ModelEntry, fetch: Fetch) -> Parts:
    """The compiled model that an entry names.

    Raises ModelArtifactError that names the number which is missing or wrong, or if the file was
    compiled from other artifacts or for other features than those of the entry.
    """
    path = entry.compiled_path or ""
    numbers = Numbers.load(fetch("compiled_path"), path)
    found = numbers.integer("format")
    if found != FORMAT:
        raise numbers.fault("format", f"is {found}; this version of oddsound reads {FORMAT}")
    _check_origin(numbers, entry)
    scaler = CompiledScaler(step_of(numbers.part("scaler"))) if numbers.has("scaler") else None
    return Parts(
        _estimator(numbers, entry),
        scaler,
        label_encoder=None,
        dropped=numbers.texts("dropped"),
        statistics=_statistics(numbers),
        size_bytes=numbers.size_bytes,
    )


def _check_origin(numbers: Numbers, entry: ModelEntry) -> None:
    """Check that the numbers belong to the entry: its joblib files may have been replaced since."""
    for key in ("predictor", "feature_extractor"):
        if (found := numbers.text(key)) != getattr(entry, key):
            raise numbers.fault(key, f"is {found!r}; the entry has {getattr(entry, key)!r}")
    made_from = {key: numbers.text(f"made_from/{key}") for key in numbers.names("made_from")}
    current = {key: sha for key, sha in entry.sha256.items() if key in JOBLIB_ARTIFACTS}
    changed = sorted(k for k in current.keys() & made_from.keys() if current[k] != made_from[k])
    changed += sorted(current.keys() - made_from.keys())
    if changed:
        raise ModelArtifactError(
            f"{numbers.path} was compiled from other files than those of the entry:"
            f" {', '.join(changed)} changed since; run `oddsound compile` again"
        )


def _estimator(numbers: Numbers, entry: ModelEntry) -> Any:
    if entry.predictor == VIEWS:
        return numbers.part("detector")
    if numbers.has("classifier"):
        return CompiledClassifier.of(numbers.part("classifier"), numbers.texts("labels"))
    return detector_of(numbers.part("detector"))


def _statistics(numbers: Numbers) -> TrainingStatistics | None:
    if not numbers.has("statistics"):
        return None
    part = numbers.part("statistics")
    mean = part.array("mean", "features")
    return TrainingStatistics(mean, part.array("deviation", "features", positive=True))
