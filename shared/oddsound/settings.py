"""The environment, read once and validated."""

import re
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from oddsound import __version__
from oddsound.errors import ModelsConfigError
from oddsound.formats import MAX_DECODED_SAMPLES, SAMPLE_RATES_HZ
from oddsound.machines.naming import check_pattern

MODELS_CONFIG_PATH = "models/models.json"

ORIGIN = re.compile(r"https?://[^/\s?#@]+")
"""Scheme, host and port of a page, without a path: what a browser sends as Origin."""


SECRET = ("MQTT_URL", "WEBHOOK_SECRET", "WEBHOOK_URL")
"""Variables whose values do not appear in errors."""

MAX_NUMBER = 2**53
"""Largest integer that a float holds exactly."""


class Settings(BaseSettings):
    """Environment variables and `.env`, read once. docs/settings.md lists every field."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",  # UTF-8, with or without a byte order mark
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        protected_namespaces=(),
    )

    api_title: str = "Audio anomaly detection"
    """Name of the service, as GET / and /docs show it."""

    api_version: str = __version__
    """Version of the service, as GET / and /docs show it."""

    cors_origins: str = ""
    """Origins of pages on other hosts that may use the API, separated by commas. Default: none."""

    default_model_name: str = "fan"
    """Model that is used if a request, message or upload names none."""

    models_config_path: str | None = None
    """models.json: a path or an s3://bucket/key URL. Default: models/models.json, or else the
    models of the package."""

    models_config_json: str | None = None
    """The text of models.json itself. Takes precedence over MODELS_CONFIG_PATH."""

    model_path: str | None = None
    """A single model without models.json: its classifier or detector (path or s3:// URL)."""

    scaler_path: str | None = None
    """The single model's scaler, if it has one."""

    label_encoder_path: str | None = None
    """The single model's label encoder, if it has one."""

    dropped_features_path: str | None = None
    """The single model's list of features to leave out, if it has one."""

    sample_rate: int = Field(default=16000, ge=SAMPLE_RATES_HZ[0], le=SAMPLE_RATES_HZ[1])
    """Hz that recordings are resampled to, for models whose entry has no sample_rate."""

    allow_unverified_models: bool = False
    """Load artifacts that have no sha256. Unpickling runs code: only for files you made."""

    allow_pickle: bool = True
    """Load joblib files, which runs code. With false, only compiled models are loaded."""

    models_public_key: str | None = None
    """Key that models.json must be signed with: ARN or alias of a key in AWS KMS, or an Ed25519
    public key as PEM or the path of a file with it. Default: no signature is required."""

    max_upload_bytes: int = Field(default=200_000_000, gt=0)
    """Largest recording that is read, in bytes."""

    max_object_bytes: int | None = Field(default=None, gt=0)
    """Largest recording that is read from S3, in bytes. Default: MAX_UPLOAD_BYTES."""

    max_duration_s: float = Field(default=3600, gt=0)
    """Longest recording that is decoded, in seconds. Longer ones are refused."""

    max_decoded_samples: int = Field(default=MAX_DECODED_SAMPLES, gt=0)
    """Most samples that are decoded: sample rate times channels times seconds."""

    body_timeout_s: float = Field(default=30, gt=0)
    """Seconds that the body of a request may pause. Then the request is answered with 408."""

    max_predictions: int | None = Field(default=None, ge=1)
    """Predictions that the HTTP service computes at once. Default: one in each process."""

    max_waiting_requests: int = Field(default=256, ge=0)
    """Requests for a prediction that may wait, or send their recording, beside those. More are
    answered with 503."""

    max_prediction_s: float = Field(default=60, gt=0)
    """Seconds of processor time that the HTTP service spends on one prediction."""

    model_cache_mb: float = Field(default=512, gt=0)
    """Memory for loaded models, in MB. The least recently used model is removed first."""

    model_cache_dir: Path = Path(tempfile.gettempdir()) / "oddsound"
    """Folder for verified copies of artifacts from S3."""

    models_refresh_s: float = Field(default=30, ge=0)
    """Seconds between checks of models.json for changes."""

    input_bucket: str | None = None
    """Bucket for recordings to score. POST /uploads signs uploads to it."""

    results_bucket: str | None = None
    """Bucket for the results of recordings from S3 and SQS."""

    anomaly_topic_arn: str | None = None
    """SNS topic that anomalies are published to. Default: none."""

    history: str | None = None
    """Where machines and their history are stored: a path of a SQLite file, or dynamodb:TABLE.
    Default: nowhere."""

    public_url: str | None = None
    """URL of this service as people reach it, for links in notices. Default: no links."""

    webhook_url: str | None = None
    """URL that changes of machines' states are posted to. Default: none."""

    webhook_secret: SecretStr | None = Field(default=None, validate_default=True)
    """Secret that posts to WEBHOOK_URL are signed with, as whsec_ and base64, or as text."""

    mqtt_url: str | None = None
    """MQTT broker that changes of machines' states are published to, such as
    mqtt://user:password@broker:1883/oddsound; the path begins the topics. Default: none."""

    recorded_at_pattern: str | None = None
    """Form of the time in keys and file names, as for strptime. Default: the usual ISO forms."""

    recorded_at_zone: str = "UTC"
    """Time zone of the times in keys and file names, such as Europe/Berlin."""

    upload_expiry_s: int = Field(default=900, ge=1, le=604800)
    """Seconds that a presigned upload of POST /uploads is valid."""

    batch_reserve_s: float = Field(default=15, ge=0)
    """Seconds of a Lambda invocation that must remain for another message to be started."""

    powertools_service_name: str = "oddsound"
    """Name of the service in its logs and metrics."""

    powertools_metrics_namespace: str = "AudioAnomaly"
    """CloudWatch namespace of the metrics."""

    aws_endpoint_url: str | None = None
    """Endpoint to use instead of AWS's own, such as a local cloud. botocore reads it too."""

    aws_lambda_initialization_type: str = "on-demand"
    """Set by Lambda. If it is snap-start, the default model is loaded into the snapshot."""

    aws_lambda_function_memory_size: int | None = Field(default=None, gt=0)
    """Set by Lambda: MB of the function. A recording that needs more is refused with a reason."""

    blas_threads: int = Field(default=1, ge=1, le=1024)
    """Threads that NumPy and SciPy compute with, in a service and in `oddsound predict`."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of messages that are logged."""

    @field_validator("*")
    @classmethod
    def _is_no_infinity(cls, value: object) -> object:
        """What computes with a number need not expect one that no float or C integer holds."""
        if isinstance(value, int | float) and value > MAX_NUMBER:
            raise ValueError(f"the number is too large; at most {MAX_NUMBER:,} is allowed")
        return value

    @field_validator("models_public_key")
    @classmethod
    def _verifies_artifacts_too(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("allow_unverified_models"):
            raise ValueError(
                "with ALLOW_UNVERIFIED_MODELS=true, artifacts need no checksum, so a signature of"
                " models.json would say nothing about them: set one of the two"
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _separated(value):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin such as https://example.com")
        return value

    @field_validator("recorded_at_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return value and check_pattern(value)

    @field_validator("public_url", "webhook_url", "mqtt_url")
    @classmethod
    def _is_a_url(cls, value: str | None, info: ValidationInfo) -> str | None:
        schemes = ("mqtt", "mqtts") if info.field_name == "mqtt_url" else ("http", "https")
        url = urlsplit(value or "")
        if value and (url.scheme not in schemes or not url.hostname):
            raise ValueError(f"this is not a URL that begins with {' or '.join(schemes)}://")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_is_signed(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("webhook_url"):
            raise ValueError("WEBHOOK_URL needs a secret, with which posts are signed")
        if value is not None and value.get_secret_value().startswith("whsec_"):
            b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True)
        return value

    @field_validator("recorded_at_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            if value != "UTC":
                ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"{value!r} is not a time zone such as Europe/Berlin") from None
        return value

    @property
    def history_table(self) -> str | None:
        """The DynamoDB table that HISTORY names; None if it names a file, or nothing."""
        scheme, _, table = (self.history or "").partition(":")
        return table if scheme == "dynamodb" else None

    @property
    def allowed_origins(self) -> list[str]:
        """CORS_ORIGINS as a list; empty if no other origin may use the API."""
        return _separated(self.cors_origins)


def _separated(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def read_settings() -> Settings:
    """The settings of this environment.

    Raises ModelsConfigError naming each invalid variable, or the file that cannot be decoded.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{_named(fault)}: {fault['msg']}{_found(fault)}" for fault in error.errors()
        )
        raise ModelsConfigError(f"the environment is invalid: {faults}") from None
    except UnicodeDecodeError as error:
        found = error.object[error.start]
        raise ModelsConfigError(
            f".env is not UTF-8 text: byte {error.start} is 0x{found:02x}; save it as UTF-8"
        ) from None


def _named(fault: ErrorDetails) -> str:
    return ".".join(map(str, fault["loc"])).upper()


def _found(fault: ErrorDetails) -> str:
    """The value that was found, unless it may contain a password."""
    return "" if _named(fault) in SECRET else f", found {fault['input']!r}"


def shipped_models() -> Path | None:
    """The models.json of the installed package or of this checkout; None if there is none."""
    package = Path(__file__).parent
    for folder in (package, package.parents[1]):
        if (path := folder / "models" / "models.json").is_file():
            return path
    return None
