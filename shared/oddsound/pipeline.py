"""predict(audio, model) -> Prediction: pure, no AWS."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oddsound import audio
from oddsound.descriptors import Array
from oddsound.errors import InvalidAudioError
from oddsound.formats import AudioLimits
from oddsound.model import Model
from oddsound.predictors import Floats, Predictor
from oddsound.schemas import Prediction, Window

if TYPE_CHECKING:
    from oddsound.explain.evidence import Inquiry

DEFAULT_WINDOW_S = 60.0
"""Of a model that names no window_s: an hour in one spectrum would take gigabytes."""

LONG = 1.5
"""A recording longer than this many windows is scored window by window."""


def predict(
    source: bytes | Path, model: Model, limits: AudioLimits, *, explain: bool = False
) -> Prediction:
    """The verdict of `model` on one recording, given as bytes or as a file.

    explain : whether to say which features and bands carried it
    Raises InvalidAudioError, UnsupportedAudioError or AudioTooLargeError.
    """
    started = time.perf_counter()
    recording = audio.load(source, model.sample_rate, limits)
    waveform = recording.waveform
    least = model.extractor.min_samples
    if len(waveform) < least:
        raise InvalidAudioError(
            f"the recording lasts {recording.duration_s:.3f} s; at least one analysis frame,"
            f" {least / model.sample_rate:.3f} s, is needed"
        )
    starts, size = split(len(waveform), model.window_s or DEFAULT_WINDOW_S, model.sample_rate)
    rows = model.features([waveform[start : start + size] for start in starts])
    inquiry = _inquiry(model, rows) if explain else None
    predictor = model.predictor
    judged = predictor.probabilities(model.scaled(rows if inquiry is None else inquiry.rows))
    probabilities = judged[: len(rows)]
    whole = predictor.combine(probabilities) if len(rows) > 1 else probabilities[0]
    prediction, score, is_anomaly = verdict(whole, predictor)
    found = Prediction(
        prediction=prediction,
        probability=float(whole[predictor.classes.index(prediction)]),
        all_probabilities=dict(zip(predictor.classes, whole.tolist(), strict=True)),
        latency_ms=1000 * (time.perf_counter() - started),
        model_name=model.name,
        model_version=model.version,
        is_anomaly=is_anomaly,
        anomaly_score=score,
        threshold=predictor.threshold,
        duration_s=recording.duration_s,
        sample_rate=recording.sample_rate,
        windows=_windows(starts, size, probabilities, model) if len(rows) > 1 else None,
    )
    if inquiry is None:
        return found
    why = inquiry.answer(judged, found)
    latency_ms = 1000 * (time.perf_counter() - started)
    return found.model_copy(update={"explanation": why, "latency_ms": latency_ms})


def _inquiry(model: Model, rows: Array) -> "Inquiry":
    # Few predictions are explained; the others start without what that needs.
    from oddsound.explain.evidence import inquire

    return inquire(model, rows)


def split(samples: int, window_s: float | None, sample_rate: int) -> tuple[list[int], int]:
    """First samples of the windows of a recording, and the samples in each.

    A recording of up to 1.5 windows is one window; a longer one is covered by as few
    windows as will do, evenly spaced, the last ending where the recording does.
    """
    size = samples if window_s is None else round(window_s * sample_rate)
    if samples <= LONG * size:
        return [0], samples
    count = -(-samples // size)
    return np.linspace(0, samples - size, count).round().astype(int).tolist(), size


def verdict(probabilities: Floats, predictor: Predictor) -> tuple[str, float | None, bool | None]:
    """Class, anomaly score and whether it is an anomaly, from the probabilities of the classes.

    A detector calls a sound an anomaly from its threshold on; a classifier names the most
    probable class, and is_anomaly says whether all others than normal reach the threshold.
    """
    likeliest = predictor.classes[int(probabilities.argmax())]
    if predictor.normal_label is None or predictor.threshold is None:
        return likeliest, None, None
    normal = predictor.classes.index(predictor.normal_label)
    score = float(min(max(1 - probabilities[normal], 0), 1))
    is_anomaly = score >= predictor.threshold
    if len(predictor.classes) == 2:
        return predictor.classes[1 - normal if is_anomaly else normal], score, is_anomaly
    return likeliest, score, is_anomaly


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
