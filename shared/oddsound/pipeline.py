"""Computes the prediction of a model for one recording. Does not use AWS."""

import time
from typing import TYPE_CHECKING

from oddsound import scanning
from oddsound.decoding import Source
from oddsound.descriptors import Array
from oddsound.formats import AudioLimits
from oddsound.memory import refusing_when_exhausted
from oddsound.model import Model
from oddsound.predictors import Floats, Predictor
from oddsound.quality import warnings
from oddsound.schemas import Prediction, Window

if TYPE_CHECKING:
    from oddsound.explain.evidence import Explainer


@refusing_when_exhausted()
def predict(
    source: Source, model: Model, limits: AudioLimits, *, explain: bool = False
) -> Prediction:
    """The prediction of `model` for one recording.

    source : the bytes or the path of an audio file
    explain : whether to add the features and bands that contributed most
    Raises InvalidAudioError, UnsupportedAudioError or AudioTooLargeError (also if the memory of the
    process does not suffice).
    """
    started = time.perf_counter()
    scan = scanning.scan(source, model, limits, keep_rows=explain)
    full_hz, model = model.compared_hz, scan.model
    explainer = _explainer(model, scan.rows) if explain else None
    # The rows of an explanation are scored in the same call: a call costs more than its rows.
    scored = (
        scan.probabilities
        if explainer is None
        else model.probabilities(explainer.rows, scan.size / model.sample_rate)
    )
    predictor, starts, size = model.predictor, scan.starts, scan.size
    probabilities = scored[: len(starts)]
    whole = predictor.combine(probabilities) if len(starts) > 1 else probabilities[0]
    label, score, is_anomaly = verdict(whole, predictor)
    prediction = Prediction(
        prediction=label,
        probability=float(whole[predictor.classes.index(label)]),
        all_probabilities=dict(zip(predictor.classes, whole.tolist(), strict=True)),
        latency_ms=1000 * (time.perf_counter() - started),
        model_name=model.name,
        model_version=model.version,
        is_anomaly=is_anomaly,
        anomaly_score=score,
        threshold=predictor.threshold,
        anomaly_level=predictor.level(whole),
        duration_s=scan.info.duration_s,
        sample_rate=scan.info.sample_rate,
        signal=warnings.signal(
            scan.info.quality,
            full_hz,
            is_anomaly=is_anomaly,
            compared_hz=model.compared_hz,
        ),
        windows=_windows(starts, size, probabilities, model) if len(starts) > 1 else None,
        events=scan.events,
        profile=scan.profile,
    )
    if explainer is None:
        return prediction
    explanation = explainer.explain(scored, prediction)
    latency_ms = 1000 * (time.perf_counter() - started)
    return prediction.model_copy(update={"explanation": explanation, "latency_ms": latency_ms})


def _explainer(model: Model, rows: Array) -> "Explainer":
    # Imported here because few predictions are explained: the import would slow down each cold
    # start.
    from oddsound.explain.evidence import create_explainer

    return create_explainer(model, rows)


def verdict(probabilities: Floats, predictor: Predictor) -> tuple[str, float | None, bool | None]:
    """Name of the predicted class, anomaly score, and whether the recording is an anomaly.

    The anomaly score is 1 minus the probability of the normal class; the recording is an anomaly
    if the score reaches the threshold. If there are two classes, the threshold also decides which
    one is predicted; otherwise, the most probable class is. Score and anomaly are None if the
    model has no normal class.

    probabilities : of the classes [shape=(classes,)]
    """
    most_probable = predictor.classes[int(probabilities.argmax())]
    if predictor.normal_label is None or predictor.threshold is None:
        return most_probable, None, None
    normal = predictor.classes.index(predictor.normal_label)
    score = float(min(max(1 - probabilities[normal], 0), 1))
    is_anomaly = score >= predictor.threshold
    if len(predictor.classes) == 2:
        return predictor.classes[1 - normal if is_anomaly else normal], score, is_anomaly
    return most_probable, score, is_anomaly


def _windows(starts: list[int], size: int, rows: Floats, model: Model) -> list[Window]:
    found = []
    for start, row in zip(starts, rows, strict=True):
        prediction, score, _ = verdict(row, model.predictor)
        found.append(
            Window(
                start_s=start / model.sample_rate,
                end_s=(start + size) / model.sample_rate,
                prediction=prediction,
                anomaly_score=score,
            )
        )
    return found
