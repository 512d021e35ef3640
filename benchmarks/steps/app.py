"""Measures the steps of a prediction: median ms of decoding, features and model."""

import statistics
import time
from pathlib import Path
from typing import Any

from oddsound import audio, runtime


def handler(event: dict[str, Any], context: object) -> dict[str, float]:
    """event : `path` of a recording not longer than the model's window, and number of `calls`"""
    data, model = Path(event["path"]).read_bytes(), runtime.registry().get()
    rounds = []
    for _ in range(event["calls"] + 1):
        started = time.perf_counter()
        waveform = audio.load(data, model.sample_rate, runtime.limits()).waveform
        decoded = time.perf_counter()
        rows = model.features([waveform])
        extracted = time.perf_counter()
        model.predictor.probabilities(model.scaled(rows))
        ended = time.perf_counter()
        rounds.append((decoded - started, extracted - decoded, ended - extracted))
    medians = (1000 * statistics.median(column) for column in zip(*rounds[1:], strict=True))
    return dict(zip(("decode", "features", "model"), medians, strict=True))
