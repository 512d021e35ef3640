"""The only module with state: what is made once and kept. Clear the caches for a cold start."""

from functools import cache
from typing import Any

from audio_anomaly.artifacts import Artifacts
from audio_anomaly.audio import AudioLimits
from audio_anomaly.registry import Registry
from audio_anomaly.settings import Settings, read_settings


@cache
def settings() -> Settings:
    """The environment, read once."""
    return read_settings()


@cache
def s3_client() -> Any:
    """The boto3 client for S3, made when something is first read from there."""
    import boto3
    from botocore.config import Config

    # A session of its own: the default one that boto3.client() makes is not safe in threads.
    return boto3.Session().client("s3", config=Config(connect_timeout=5, read_timeout=30))


@cache
def registry() -> Registry:
    """The models of this environment; none is loaded yet."""
    return Registry(settings(), Artifacts(s3_client, settings().model_cache_dir))


def limits() -> AudioLimits:
    """What this environment refuses unread."""
    return AudioLimits(settings().max_upload_bytes, settings().max_duration_s)


def clear() -> None:
    """Forget everything, as a new process would."""
    for made in (settings, s3_client, registry):
        made.cache_clear()
