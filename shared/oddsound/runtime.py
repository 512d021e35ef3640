"""The only module with state: what is made once and kept. Clear the caches for a cold start."""

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from oddsound.artifacts import Artifacts
from oddsound.aws.results import Results
from oddsound.errors import NotConfiguredError
from oddsound.formats import AudioLimits
from oddsound.registry import Registry
from oddsound.settings import Settings, read_settings

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger, Metrics

    from oddsound.aws.jobs import Jobs

_connecting = threading.Lock()


@cache
def settings() -> Settings:
    """The environment, read once."""
    return read_settings()


@cache
def s3_client() -> Any:
    """The client for S3, made when something is first read from there."""
    from botocore.config import Config

    # A form that is signed for the bucket's own address, in its region, is never redirected;
    # one signed the old way is refused by every newer region and by KMS.
    config = Config(
        connect_timeout=5,
        read_timeout=30,
        signature_version="s3v4",
        s3={"addressing_style": "auto" if settings().aws_endpoint_url else "virtual"},
    )
    return _client("s3", config)


@cache
def sns_client() -> Any:
    """The client for SNS, made when there is an anomaly to tell of."""
    from botocore.config import Config

    return _client("sns", Config(connect_timeout=5, read_timeout=10))


@cache
def _session() -> Any:
    """What both clients are made by, so that its files are read once.

    botocore's own: boto3 takes longer to import, and adds nothing that is used.
    """
    import botocore.session

    return botocore.session.get_session()


def _client(service: str, config: Any) -> Any:
    with _connecting:  # a session is not safe in threads; the clients that it makes are
        return _session().create_client(service, config=config)


@cache
def registry() -> Registry:
    """The models of this environment; none is loaded yet."""
    return Registry(settings(), Artifacts(s3_client, settings().model_cache_dir))


def limits() -> AudioLimits:
    """What this environment refuses unread."""
    return AudioLimits(settings().max_upload_bytes, settings().max_duration_s)


def object_limits() -> AudioLimits:
    """What this environment refuses unread of what lies on S3."""
    most = settings().max_object_bytes or settings().max_upload_bytes
    return AudioLimits(most, settings().max_duration_s)


@cache
def results() -> Results:
    """The results bucket. Raises NotConfiguredError where there is none."""
    bucket = settings().results_bucket
    if bucket is None:
        raise NotConfiguredError("RESULTS_BUCKET is not set; results are stored nowhere")
    return Results(s3_client(), bucket)


def input_bucket() -> str:
    """The bucket that recordings are uploaded to. Raises NotConfiguredError where there is none."""
    bucket = settings().input_bucket
    if bucket is None:
        raise NotConfiguredError("INPUT_BUCKET is not set; there is nowhere to upload to")
    return bucket


@cache
def jobs() -> "Jobs":
    """What the triggers process jobs with. Raises NotConfiguredError without RESULTS_BUCKET."""
    from oddsound.aws.jobs import Alerts, Jobs
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
    )


@cache
def logger() -> "Logger":
    """Everything that this library logs, as lines of JSON on stdout."""
    from aws_lambda_powertools import Logger

    # By its name it is the parent of the library's own loggers, which write through it.
    made = Logger(service=__package__, level=settings().log_level, serialize_stacktrace=False)
    made.append_keys(service=settings().powertools_service_name)
    return made


@cache
def metrics() -> "Metrics":
    """What is counted by call and not by result."""
    from aws_lambda_powertools import Metrics

    return Metrics(
        namespace=settings().powertools_metrics_namespace,
        service=settings().powertools_service_name,
    )


def disconnect() -> None:
    """Close the clients, and forget them with all that holds one; models stay loaded."""
    for client in (s3_client, sns_client):
        if client.cache_info().currsize:
            client().close()
    for function in (s3_client, sns_client, _session, results, jobs):
        function.cache_clear()


def clear() -> None:
    """Forget everything, as a new process would."""
    made = (settings, s3_client, sns_client, _session, registry, results, jobs, logger, metrics)
    for function in made:
        function.cache_clear()
