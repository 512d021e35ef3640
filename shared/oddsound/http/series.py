"""The time series of /metrics, counted with the client library of Prometheus."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from oddsound import __version__
from oddsound.errors import NotConfiguredError
from oddsound.schemas import Prediction

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Limits of the buckets of both histograms."""

METHODS = ("GET", "POST", "OPTIONS")
"""Methods that a label may have; HEAD is counted as GET. Others are `other`: clients may send
any word, and each value of a label is a time series that Prometheus keeps."""


class Series:
    """All time series of one service; a registry of its own, so that two services count apart.

    No label has a value that a client can make up: a route is its pattern, and a model one that
    has scored the recording. Raises NotConfiguredError if prometheus-client is not installed.
    """

    def __init__(self) -> None:
        # Not at the top: Lambda has neither the package nor a use for it.
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ModuleNotFoundError:
            raise NotConfiguredError(
                "the package prometheus-client is not installed; install it with:"
                " pip install 'oddsound[serve]'"
            ) from None
        self._registry = registry = CollectorRegistry()
        request = ("method", "route", "status")
        self._requests = Counter(
            "oddsound_http_requests", "Requests that were answered", request, registry=registry
        )
        self._request_s = Histogram(
            "oddsound_http_request_duration_seconds",
            "Time from a request's head to the end of its response",
            request,
            registry=registry,
            buckets=SECONDS,
        )
        self._predictions = Counter(
            "oddsound_predictions", "Scored recordings", ("model", "verdict"), registry=registry
        )
        self._prediction_s = Histogram(
            "oddsound_prediction_duration_seconds",
            "Time of decoding, features and model",
            ("model",),
            registry=registry,
            buckets=SECONDS,
        )
        self._sound_s = Counter(
            "oddsound_sound_seconds", "Duration of scored recordings", ("model",), registry=registry
        )
        # Of several processes, the sum of those that live.
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        self._in_progress = gauge("oddsound_http_requests_in_progress", "Requests in progress")
        self._waiting = gauge(
            "oddsound_predictions_waiting", "Predictions that wait for a free processor"
        )
        self._running = gauge("oddsound_predictions_running", "Predictions that are computed now")
        self._places = gauge(
            "oddsound_prediction_places", "Requests that may be received and scored at once"
        )
        self._taken = gauge(
            "oddsound_prediction_places_taken", "Requests that are received, wait or are scored"
        )
        info = gauge(
            "oddsound_build_info", "Always 1", ("version", "python"), multiprocess_mode="livemax"
        )
        info.labels(__version__, platform.python_version()).set(1)
        self._add_process()

    def _add_process(self) -> None:
        from prometheus_client import GCCollector, ProcessCollector

        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    @contextmanager
    def in_progress(self) -> Iterator[None]:
        """While a request is answered."""
        with self._in_progress.track_inprogress():
            yield

    @contextmanager
    def place(self, places: int) -> Iterator[None]:
        """While a request has one of these places."""
        self._places.set(places)
        with self._taken.track_inprogress():
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While a prediction waits for a free processor."""
        with self._waiting.track_inprogress():
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """While a prediction is computed."""
        with self._running.track_inprogress():
            yield

    def answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count a request. route : the pattern of its path"""
        labels = (method if method in METHODS else "other", route, str(status))
        self._requests.labels(*labels).inc()
        self._request_s.labels(*labels).observe(duration_s)

    def scored(self, prediction: Prediction) -> None:
        """Count a prediction."""
        model = prediction.model_name
        self._predictions.labels(model, prediction.prediction).inc()
        self._prediction_s.labels(model).observe(prediction.latency_ms / 1000)
        self._sound_s.labels(model).inc(prediction.duration_s)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All series and their content type, in the format that a header `Accept` prefers."""
        from prometheus_client import CollectorRegistry, multiprocess, values
        from prometheus_client.exposition import choose_encoder

        registry = self._registry
        # The client library counts in files if PROMETHEUS_MULTIPROC_DIR is set, see its README.
        if values.ValueClass is not values.MutexValue:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            encode, content_type = choose_encoder(accept)
            return encode(registry), content_type
        except (TypeError, ValueError):  # of a version or an escaping that does not exist
            encode, content_type = choose_encoder("")
            return encode(registry), content_type


def forget_process(pid: int) -> None:
    """Remove the gauges of a process that has ended; its counters stay in the sums."""
    with suppress(ModuleNotFoundError):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
