"""The only module with state: objects that are created once per process and kept.

`clear()` forgets them all, so that the next call behaves like a cold start.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from oddsound.artifacts import Artifacts
from oddsound.aws.results import Results
from oddsound.errors import NotConfiguredError
from oddsound.formats import AudioLimits, LimitNames
from oddsound.machines.naming import time_of_name
from oddsound.registry import Registry
from oddsound.settings import Settings, read_settings
from oddsound.signatures import verifier
from oddsound.storage import READ_TIMEOUT_S, refuse_late_retries

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics

    from oddsound.aws.jobs import Jobs
    from oddsound.history.store import HistoryStore
    from oddsound.machines.ledger import Ledger
    from oddsound.machines.notices import Channel


class Kept[T](Protocol):
    """A function without arguments whose first result is kept."""

    def __call__(self) -> T: ...
    def cache_clear(self) -> None: ...
    def cache_info(self) -> Any: ...


_connecting = threading.Lock()
_kept: list[Kept[Any]] = []
_connected: list[Kept[Any]] = []


def kept[T](function: Callable[[], T]) -> Kept[T]:
    """Decorator: keep the first result until `clear()`."""
    made: Any = cache(function)
    _kept.append(made)
    return made  # type: ignore[no-any-return]


def connected[T](function: Callable[[], T]) -> Kept[T]:
    """Decorator: like `kept`, for objects that `disconnect()` forgets too."""
    made = kept(function)
    _connected.append(made)
    return made


@kept
def settings() -> Settings:
    """The environment, read once. Raises ModelsConfigError."""
    return read_settings()


@connected
def session() -> Any:
    """The botocore session that creates both clients, so that its data files are read once.

    botocore's and not boto3's: boto3 takes longer to import and adds nothing that is used here.
    """
    import botocore.session

    return botocore.session.get_session()


@connected
def s3_client() -> Any:
    """The S3 client, created when something is first read from S3."""
    from botocore.config import Config

    # A form that is signed for the bucket's regional address is never redirected. Newer regions
    # and KMS refuse the older signature versions.
    config = Config(
        connect_timeout=5,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard"},
        signature_version="s3v4",
        s3={"addressing_style": "auto" if settings().aws_endpoint_url else "virtual"},
    )
    return _client("s3", config)


@connected
def sns_client() -> Any:
    """The SNS client, created when the first anomaly is published."""
    from botocore.config import Config

    # Together shorter than `aws.announcements.LEASE_S`.
    config = Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    return _client("sns", config)


@connected
def kms_client() -> Any:
    """The KMS client, created when the first signature of a key in KMS is verified."""
    from botocore.config import Config

    return _client("kms", Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"}))


def _client(service: str, config: Any) -> Any:
    with _connecting:  # a session is not thread-safe; the clients that it creates are
        client = session().create_client(service, config=config)
    refuse_late_retries(client)
    return client


@kept
def registry() -> Registry:
    """The models of this environment; none is loaded yet. Raises ModelsConfigError."""
    key = settings().models_public_key
    verify = None if key is None else verifier(key, kms_client)
    return Registry(settings(), Artifacts(s3_client, settings().model_cache_dir), verify)


def limits() -> AudioLimits:
    """Limits of a recording that is uploaded or read from a file."""
    return AudioLimits(
        settings().max_upload_bytes, settings().max_duration_s, settings().max_decoded_samples
    )


def object_limits() -> AudioLimits:
    """Limits of a recording on S3."""
    max_bytes = settings().max_object_bytes or settings().max_upload_bytes
    names = LimitNames(max_bytes="MAX_OBJECT_BYTES")
    return replace(limits(), max_bytes=max_bytes, names=names)


@connected
def results() -> Results:
    """The results bucket. Raises NotConfiguredError if RESULTS_BUCKET is not set."""
    bucket = settings().results_bucket
    if bucket is None:
        raise NotConfiguredError("RESULTS_BUCKET is not set: this service stores no results")
    return Results(s3_client(), bucket)


def input_bucket() -> str:
    """Name of the input bucket. Raises NotConfiguredError if INPUT_BUCKET is not set."""
    bucket = settings().input_bucket
    if bucket is None:
        raise NotConfiguredError("INPUT_BUCKET is not set: this service takes no uploads to S3")
    return bucket


@connected
def dynamodb_client() -> Any:
    """The DynamoDB client, created when the history is first read or written."""
    from botocore.config import Config

    return _client("dynamodb", Config(connect_timeout=5, read_timeout=10))


@connected
def history() -> "Ledger | None":
    """Machines and their history; None if HISTORY is not set. Nothing is imported then."""
    if settings().history is None:
        return None
    from oddsound.machines.ledger import Ledger

    if table := settings().history_table:
        from oddsound.history.dynamodb import DynamoHistory

        store: HistoryStore = DynamoHistory(dynamodb_client, table)
    else:
        from oddsound.history.sqlite import SqliteHistory

        store = SqliteHistory(Path(settings().history or ""))
    return Ledger(store, _channels(), settings().public_url)


def _channels() -> "list[Channel]":
    """Everything that changes of machines' states are announced to."""
    found: list[Channel] = []
    if topic := settings().anomaly_topic_arn:
        from oddsound.aws.topics import TopicChannel

        found.append(TopicChannel(sns_client, topic))
    if (url := settings().webhook_url) and (secret := settings().webhook_secret):
        from oddsound.machines.webhooks import WebhookChannel

        found.append(WebhookChannel(url, secret.get_secret_value(), now))
    if url := settings().mqtt_url:
        from oddsound.machines.mqtt import MqttChannel

        found.append(MqttChannel(url))
    return found


def required_history() -> "Ledger":
    """Machines and their history. Raises NotConfiguredError if HISTORY is not set."""
    found = history()
    if found is None:
        raise NotConfiguredError("HISTORY is not set: this service keeps no history of machines")
    return found


def now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


def recorded_at_of(name: str) -> datetime | None:
    """When a recording was made, as its key or file name says; None if it does not."""
    named = settings().recorded_at_zone
    zone = UTC if named == "UTC" else ZoneInfo(named)  # UTC needs no file of time zones
    return time_of_name(name, settings().recorded_at_pattern, zone)


@connected
def jobs() -> "Jobs":
    """The processor of jobs for both triggers. Raises NotConfiguredError without RESULTS_BUCKET."""
    from oddsound.aws.alerts import Alerts
    from oddsound.aws.jobs import Jobs
    from oddsound.aws.metrics import emf

    names = settings().powertools_metrics_namespace, settings().powertools_service_name
    topic = settings().anomaly_topic_arn
    return Jobs(
        s3_client(),
        registry(),
        results(),
        object_limits(),
        Alerts(sns_client, topic) if topic else None,
        emf(*names),
        history(),
        recorded_at_of,
    )


@kept
def logger() -> "Logger":
    """The logger of this library: one line of JSON on stdout for each event."""
    from aws_lambda_powertools import Logger

    # By its name it is the parent of the library's own loggers, which write through it.
    made = Logger(service=__package__, level=settings().log_level, serialize_stacktrace=False)
    made.append_keys(service=settings().powertools_service_name)
    return made


@kept
def metrics() -> "Metrics":
    """Metrics that are counted per invocation, not per result."""
    from aws_lambda_powertools import Metrics

    return Metrics(
        namespace=settings().powertools_metrics_namespace,
        service=settings().powertools_service_name,
    )


def disconnect() -> None:
    """Close the clients and forget every object that holds one. Models stay loaded."""
    if history.cache_info().currsize and (ledger := history()):
        ledger.close()
    for client in (s3_client, sns_client, dynamodb_client):
        if client.cache_info().currsize:
            client().close()
    for function in _connected:
        function.cache_clear()


def clear() -> None:
    """Forget everything, as in a new process."""
    if history.cache_info().currsize and (ledger := history()):
        ledger.close()
    for function in _kept:
        function.cache_clear()
