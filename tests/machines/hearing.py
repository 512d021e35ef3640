"""A machine whose recordings are scored, at times that a test sets."""

from datetime import UTC, datetime, timedelta
from typing import Any

from oddsound.machines.ledger import Ledger, Origin
from oddsound.schemas import Event, Prediction

MONDAY = datetime(2026, 11, 23, 10, tzinfo=UTC)
PUMP = "hall-3/pump-07"


def hour(number: float) -> datetime:
    """A time, in hours after Monday at ten."""
    return MONDAY + timedelta(hours=number)


class Clock:
    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now


def prediction(*, anomalous: bool, **fields: Any) -> Prediction:
    score = 0.99 if anomalous else 0.2
    knock = Event(start_s=3.2, end_s=3.3, kind="impact", score=2, says="a knock, 14 dB over usual")
    values: dict[str, Any] = {
        "prediction": "anomaly" if anomalous else "normal",
        "probability": max(score, 1 - score),
        "all_probabilities": {"normal": 1 - score, "anomaly": score},
        "latency_ms": 5,
        "model_name": "fan",
        "model_version": "1",
        "is_anomaly": anomalous,
        "anomaly_score": score,
        "threshold": 0.9,
        "duration_s": 10,
        "sample_rate": 16000,
        "events": [knock] if anomalous else [],
    }
    return Prediction(**values | fields)


def hear(ledger: Ledger, clock: Clock, letters: str, start: float = 0, **fields: Any) -> None:
    """Recordings of consecutive hours: A is an anomaly, N is normal."""
    for number, letter in enumerate(letters):
        at = hour(start + number)
        clock.now = max(clock.now, at + timedelta(minutes=1))
        origin = Origin(PUMP, at, "s3", f"{PUMP}/{at:%H%M}.wav", at.isoformat(), "in")
        ledger.record(prediction(anomalous=letter == "A", **fields), origin)
