"""The environment, read once, typed."""

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from oddsound.errors import ModelsConfigError

MODELS_CONFIG_PATH = "models/models.json"


class Settings(BaseSettings):
    """The environment and `.env`, read once. Every field stands in the README's table."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        protected_namespaces=(),
    )

    api_title: str = "Audio anomaly detection"
    """Name of the service, as GET / and /docs show it."""

    api_version: str = "0.1.0"
    """Version of the service, as GET / and /docs show it."""

    default_model_name: str = "fan"
    """Model used where a request, message or upload names none."""

    models_config_path: str | None = None
    """models.json: a path or an s3://bucket/key URL; models/models.json where nothing is set."""

    models_config_json: str | None = None
    """The text of models.json itself, instead of a file; goes before MODELS_CONFIG_PATH."""

    model_path: str | None = None
    """A single model without models.json: its classifier or detector (path or s3:// URL)."""

    scaler_path: str | None = None
    """The single model's scaler, if it has one."""

    label_encoder_path: str | None = None
    """The single model's label encoder, if it has one."""

    dropped_features_path: str | None = None
    """The single model's list of features to leave out, if it has one."""

    sample_rate: int = Field(default=16000, ge=2000, le=384000)
    """Hz at which a model listens whose entry in models.json names no sample_rate."""

    allow_unverified_models: bool = False
    """Load artifacts that have no sha256. Unpickling runs code: only for files you made."""

    max_upload_bytes: int = Field(default=100_000_000, gt=0)
    """Largest recording that is read, in bytes."""

    max_object_bytes: int | None = Field(default=None, gt=0)
    """Largest recording that is read from S3, in bytes; MAX_UPLOAD_BYTES where it is not set."""

    max_duration_s: float = Field(default=3600, gt=0)
    """Longest recording that is decoded, in seconds; longer ones are refused unread."""

    model_cache_mb: float = Field(default=512, gt=0)
    """Memory for loaded models, in MB; the least recently used leaves first."""

    model_cache_dir: Path = Path(tempfile.gettempdir()) / "oddsound"
    """Where verified copies of artifacts from S3 are kept."""

    models_refresh_s: float = Field(default=30, ge=0)
    """Seconds between looks at models.json for changes."""

    input_bucket: str | None = None
    """Bucket whose recordings are scored; POST /uploads gives leave to write there."""

    results_bucket: str | None = None
    """Bucket for the results of recordings that came by S3 or SQS."""

    anomaly_topic_arn: str | None = None
    """SNS topic that is told of every anomaly; nobody is told where it is not set."""

    upload_expiry_s: int = Field(default=900, ge=1, le=604800)
    """Seconds for which the answer of POST /uploads may be used."""

    batch_reserve_s: float = Field(default=15, ge=0)
    """Seconds of a Lambda call that must remain for another message to be begun."""

    powertools_service_name: str = "oddsound"
    """Name of the service in its logs and metrics."""

    powertools_metrics_namespace: str = "AudioAnomaly"
    """CloudWatch namespace of the metrics."""

    aws_endpoint_url: str | None = None
    """Another endpoint than AWS's own, such as a local cloud's; botocore reads it too."""

    aws_lambda_initialization_type: str = "on-demand"
    """Set by Lambda. Where it is snap-start, the default model is loaded into the snapshot."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe message that is logged."""


def read_settings() -> Settings:
    """The settings of this environment. Raises ModelsConfigError naming each faulty variable."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}, found {fault['input']!r}"
            for fault in error.errors()
        )
        raise ModelsConfigError(f"the environment is faulty: {faults}") from None
