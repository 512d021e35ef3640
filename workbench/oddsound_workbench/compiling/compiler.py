"""Compiles a model: its joblib files -> one file of numbers, compared with scikit-learn."""

from typing import Any

from oddsound import joblib_files
from oddsound.compiled.classifiers import response_of
from oddsound.compiled.detectors import detector_of
from oddsound.compiled.reading import FORMAT
from oddsound.compiled.steps import step_of
from oddsound.errors import ModelArtifactError
from oddsound.model import Model
from oddsound.numbers import Numbers, packed
from oddsound.parts import Fetch, Parts
from oddsound.schemas import JOBLIB_ARTIFACTS, ModelEntry
from oddsound_workbench.compiling import checking
from oddsound_workbench.compiling.classifiers import CLASSIFIERS, classifier
from oddsound_workbench.compiling.detectors import DETECTORS, detector
from oddsound_workbench.compiling.scalers import SCALERS, scaler
from oddsound_workbench.compiling.translation import Nested, Rows

FILE = "compiled.npz"
"""Name of the file in the folder of a version."""

KINDS = {"scaler": SCALERS, "classifier": CLASSIFIERS, "detector": DETECTORS}
"""Classes of scikit-learn that can be compiled, by what they are."""


def compiled(
    name: str,
    entry: ModelEntry,
    sample_rate: int,
    fetch: Fetch,
    rows: Rows | None = None,
) -> bytes:
    """The content of the compiled file of a model.

    sample_rate : in Hz, used if the entry has none
    fetch : returns the verified bytes of a joblib file
    rows : features that the model was trained on, for the comparison with scikit-learn
        [shape=(rows, kept features)]; features of synthesised sounds are always compared

    Raises NotCompilableError if a class is not known, or if the numbers do not give scikit-learn's
    results; ModelArtifactError or ModelsConfigError if the model itself cannot be loaded.
    """
    plain = entry.model_copy(update={"compiled_path": None})
    try:
        parts = joblib_files.read(plain, fetch)
        model = Model.assembled(name, plain, sample_rate, lambda: parts)
    except ModelArtifactError as error:
        raise ModelArtifactError(f"model {name!r}: {error}") from error
    data = packed(_numbers(model, parts, plain))
    again = Model.load(
        name, plain.model_copy(update={"compiled_path": FILE}), sample_rate, lambda _key: data
    )
    checking.check_models(model, again, rows)
    return data


def _numbers(model: Model, parts: Parts, entry: ModelEntry) -> Nested:
    kept = set(model.kept.tolist())
    numbers: Nested = {
        "format": FORMAT,
        "predictor": entry.predictor,
        "feature_extractor": entry.feature_extractor,
        "made_from": {key: sha for key, sha in entry.sha256.items() if key in JOBLIB_ARTIFACTS},
        "dropped": [name for i, name in enumerate(model.extractor.names) if i not in kept],
    }
    if model.statistics is not None:
        mean, deviation = model.statistics.mean, model.statistics.deviation
        numbers["statistics"] = {"mean": mean, "deviation": deviation}
    if parts.scaler is not None:
        numbers["scaler"] = _checked_scaler(parts.scaler)
    return {**numbers, **_estimator(model, parts.estimator)}


def _checked_scaler(fitted: Any) -> Nested:
    made = scaler(fitted)
    step = step_of(Numbers.of(made.numbers, FILE))
    checking.check_part(fitted, step, fitted.transform, made.typical)
    return made.numbers


def _estimator(model: Model, fitted: Any) -> Nested:
    if isinstance(fitted, dict):
        return {"detector": fitted}
    if model.predictor.is_detector:
        return {"detector": _checked_detector(fitted)}
    made = classifier(fitted)
    response = response_of(Numbers.of(made.numbers, FILE))
    checking.check_part(fitted, response, fitted.predict_proba, made.typical)
    return {"classifier": made.numbers, "labels": list(model.predictor.classes)}


def _checked_detector(fitted: Any) -> Nested:
    made = detector(fitted)
    found = detector_of(Numbers.of(made.numbers, FILE))
    # The predictor uses the first of these two methods that there is.
    method = "mahalanobis" if hasattr(fitted, "mahalanobis") else "score_samples"
    compute, by_sklearn = (getattr(each, method) for each in (found, fitted))
    checking.check_part(fitted, compute, by_sklearn, made.typical)
    return made.numbers
