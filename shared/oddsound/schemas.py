"""What crosses a border: a model's entry and description, a prediction, a job, an error."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oddsound.formats import SAMPLE_RATES_HZ

Probability = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

NORMAL, ANOMALY = "normal", "anomaly"
"""The classes of a detector."""

ARTIFACTS = ("model_path", "scaler_path", "label_encoder_path", "dropped_features_path")


class Schema(BaseModel):
    """Fields may be called model_..., as in the original service."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Gamma(Schema):
    """A gamma distribution that begins at loc; its mean is loc + shape x scale.

    log : whether it is of minus the logarithm of score_samples, as suits sums of kernels
    """

    shape: float = Field(gt=0, allow_inf_nan=False)
    scale: float = Field(gt=0, allow_inf_nan=False)
    loc: float = Field(default=0, allow_inf_nan=False)
    log: bool = False


class ModelEntry(Schema):
    """One model of models.json."""

    model_config = ConfigDict(extra="allow")

    model_path: str
    scaler_path: str | None = None
    label_encoder_path: str | None = None
    dropped_features_path: str | None = None
    feature_extractor: str = "default"
    predictor: str = "sklearn_proba"
    sha256: dict[str, Sha256] = {}
    sample_rate: int | None = Field(default=None, ge=SAMPLE_RATES_HZ[0], le=SAMPLE_RATES_HZ[1])
    window_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    threshold: Probability | None = None
    normal_label: str | None = None
    calibration: Gamma | None = None
    classes: list[str] | None = None
    version: str = "unversioned"
    sklearn_version: str | None = None
    description: str = ""
    metrics: dict[str, Any] = {}
    previous: list["ModelEntry"] = Field(default=[], exclude_if=lambda previous: not previous)

    @model_validator(mode="after")
    def _checksums_belong_to_artifacts(self) -> "ModelEntry":
        if strangers := sorted(set(self.sha256) - set(ARTIFACTS)):
            raise ValueError(f"sha256 names {strangers}; allowed are {list(ARTIFACTS)}")
        return self


class ModelInfo(Schema):
    """What GET /models says of one model."""

    name: str
    version: str
    classes: list[str] | None = Field(description="null until known: the model is not loaded yet")
    sample_rate: int = Field(description="Hz at which the model listens")
    threshold: float | None = Field(description="anomaly_score from which a sound is an anomaly")
    metrics: dict[str, Any]
    description: str
    loaded: bool


class ModelList(Schema):
    """The answer of GET /models."""

    models: list[ModelInfo]
    default: str
    config_error: str | None = Field(
        description="why the newest models.json is not in use, or null; the one before it serves"
    )


class Window(Schema):
    """The verdict on one stretch of a long recording."""

    start_s: float
    end_s: float
    prediction: str
    anomaly_score: Probability | None


class FeatureEvidence(Schema):
    """A feature that carried a verdict."""

    name: str = Field(description="as the extractor calls it")
    family: str = Field(description="the features that it belongs to")
    says: str = Field(description="what it means, in a sentence")
    value: float = Field(description="in this recording")
    usual: float = Field(description="mean of the recordings that the model was trained on")
    deviation: float = Field(
        description="value over usual, in standard deviations of those recordings"
    )
    probability_change: float | None = Field(
        description="of a classifier's prediction: its probability less what that would be, were"
        " the whole family as in the average recording"
    )


class BandEvidence(Schema):
    """A band of frequencies that carried a verdict."""

    low_hz: float
    high_hz: float
    says: str = Field(description="what was heard, in a sentence")
    level_db: float = Field(
        description="how much louder than usual, compared with the other frequencies"
    )
    deviation: float = Field(description="the same in standard deviations, at its largest")
    probability_change: float | None = Field(description="as of a feature, for the band")


class Explanation(Schema):
    """What carried a verdict; of a detector the largest deviations from normal sound, of a
    classifier what changes the probability of the prediction most."""

    summary: str = Field(description="the same in a few sentences")
    features: list[FeatureEvidence] = Field(description="the largest first")
    bands: list[BandEvidence] = Field(description="the largest first")
    window: Window | None = Field(
        description="the strangest stretch of a long recording, where it alone is explained"
    )


class Prediction(Schema):
    """The verdict on one recording."""

    prediction: str = Field(description="the class, or normal and anomaly of a detector")
    probability: Probability = Field(description="probability of that class")
    all_probabilities: dict[str, Probability] = Field(description="of every class; sums to 1")
    latency_ms: float = Field(description="decoding, features and model")
    model_name: str
    model_version: str
    is_anomaly: bool | None = Field(description="null where the model knows no normal class")
    anomaly_score: Probability | None = Field(description="0 normal .. 1 certainly not")
    threshold: float | None = Field(description="anomaly_score from which it is an anomaly")
    duration_s: float
    sample_rate: int = Field(description="Hz of the recording that was sent")
    windows: list[Window] | None = Field(
        default=None, description="stretch by stretch, where the recording is a long one"
    )
    explanation: Explanation | None = Field(
        default=None,
        exclude_if=lambda explanation: explanation is None,
        description="what carried the verdict; only where it was asked for",
    )


class ServiceInfo(Schema):
    """The answer of GET /."""

    name: str
    version: str
    status: str


class Readiness(Schema):
    """The answer of GET /health/ready."""

    status: str
    model_name: str
    model_version: str


class ErrorBody(Schema):
    """The body of every failure."""

    error: str
    detail: str


class Job(Schema):
    """A recording on S3 that is to be scored; the body of a message on the jobs queue."""

    model_config = ConfigDict(extra="forbid")

    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(min_length=1, max_length=1024, description="as it is on S3, not encoded")
    model_name: str | None = Field(
        default=None, min_length=1, description="goes before the object's own choice of a model"
    )
    etag: str | None = Field(default=None, description="of the content that was announced")
    version_id: str | None = None

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class JobResult(Schema):
    """What became of one recording on S3."""

    status: Literal["succeeded", "failed"]
    prediction: Prediction | None = Field(description="null where it failed")
    error: ErrorBody | None = Field(description="null where it succeeded")
    bucket: str
    key: str
    etag: str | None = Field(description="of the content that was scored")
    version_id: str | None = Field(description="null where the bucket is not versioned")
    model: str
    finished_at: datetime


class UploadRequest(Schema):
    """What POST /uploads is sent."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=1024, examples=["fan.wav"])
    model_name: str | None = Field(default=None, min_length=1, description="from /models")


class Upload(Schema):
    """Leave to send one recording to S3, as a form with `fields` and, last, the file."""

    url: str = Field(description="where the form is posted")
    fields: dict[str, str] = Field(description="every one goes into the form, before the file")
    key: str
    max_bytes: int
    expires_at: datetime
    result_url: str = Field(description="404 until the recording is scored")
