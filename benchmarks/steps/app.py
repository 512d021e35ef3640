"""What a prediction is made of: median ms of decoding, features and model, step by step."""

import statistics
import time
from pathlib import Path
from typing import Any

from audio_anomaly import audio, runtime


def handler(event: dict[str, Any], context: object) -> dict[str, float]:
    """event : path of a recording no longer than the model's window, and number of calls"""
    data, model = Path(event["path"]).read_bytes(), runtime.registry().get()
    rounds = []
    for _ in range(event["calls"] + 1):
        started = time.perf_counter()
        waveform = audio.load(data, model.sample_rate, runtime.limits()).waveform
        decoded = time.perf_counter()
        model.extractor(waveform)
        extracted = time.perf_counter()
        model.probabilities([waveform])
        ended = time.perf_counter()
        rounds.append((decoded - started, extracted - decoded, ended - extracted))
    decode, features, both = (1000 * statistics.median(c) for c in zip(*rounds[1:], strict=True))
    return {"decode": decode, "features": features, "model": max(both - features, 0.0)}
