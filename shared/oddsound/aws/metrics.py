"""CloudWatch metrics of results, one line of Embedded Metric Format for each, and of machines."""

from collections.abc import Mapping

from oddsound.aws.jobs import Measure
from oddsound.errors import RecordingNotFoundError, UnknownModelError
from oddsound.machines.records import State
from oddsound.schemas import JobResult

UNKNOWN = "unknown"
"""Dimension value of models that do not exist, or were not looked for: each new value is a metric
that costs money."""


def emf(namespace: str, service: str) -> Measure:
    """A function that writes the metrics of a result to stdout, by service and model.

    Predictions, Anomalies and FailedJobs are counts, 0 included; AnomalyScore is 0 to 1;
    PredictionLatency and ModelLoad are in ms. SkippedObjects counts objects that are no recordings.
    """
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    def measure(result: JobResult, load_ms: float | None) -> None:
        metrics = EphemeralMetrics(namespace=namespace, service=service)
        metrics.add_dimension("model", _dimension(result))
        if result.status == "skipped":
            metrics.add_metric("SkippedObjects", MetricUnit.Count, 1)
        else:
            metrics.add_metric("FailedJobs", MetricUnit.Count, result.status == "failed")
        if prediction := result.prediction:
            metrics.add_metric("Predictions", MetricUnit.Count, 1)
            metrics.add_metric("PredictionLatency", MetricUnit.Milliseconds, prediction.latency_ms)
            if prediction.is_anomaly is not None:
                metrics.add_metric("Anomalies", MetricUnit.Count, prediction.is_anomaly)
            if prediction.anomaly_score is not None:
                metrics.add_metric("AnomalyScore", MetricUnit.NoUnit, prediction.anomaly_score)
        if load_ms is not None:
            metrics.add_metric("ModelLoad", MetricUnit.Milliseconds, load_ms)
        metrics.flush_metrics()

    return measure


def state_counts(states: Mapping[State, int]) -> dict[str, int]:
    """Metrics of a check of all machines, for the alarms of the template.

    Machines counts all of them, so that a check that found none is told from a check that was not
    made. FailingMachines have an alarm that nobody has acknowledged yet.
    """
    return {
        "Machines": sum(states.values()),
        "SilentMachines": states.get("silent", 0),
        "FailingMachines": states.get("active", 0),
    }


BEFORE_ITS_MODEL = {UnknownModelError.__name__, RecordingNotFoundError.__name__}
"""Failures of jobs whose model was not found, or not looked for: a sender may name anything."""


def _dimension(result: JobResult) -> str:
    if result.status == "skipped":
        return UNKNOWN
    if result.error and result.error.error in BEFORE_ITS_MODEL:
        return UNKNOWN
    return result.model.encode("ascii", "replace").decode()
