"""Data of the HTTP API, of messages and of models.json, validated by pydantic."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from oddsound.fields import MachineId, Number, Probability, Schema, Sha256, Time
from oddsound.formats import SAMPLE_RATES_HZ
from oddsound.machines.profile import Profile

MIN_WINDOW_S, MAX_WINDOW_S = 0.01, 86_400
"""Shortest and longest window of a model, in seconds."""

EventKind = Literal["impact", "dropout", "tone", "level", "modulation", "timbre"]
AlertStatus = Literal["sending", "failed", "sent"]
Status = Literal["succeeded", "failed", "skipped"]

NORMAL, ANOMALY = "normal", "anomaly"
"""The classes of a detector."""

VIEWS = "mahalanobis_views"
"""The predictor of the detectors of `oddsound train`, whose artifact is a dictionary of numbers."""

DETECTORS = ("sklearn_outlier", VIEWS)
"""Predictors whose classes are NORMAL and ANOMALY, whatever the artifacts contain."""

JOBLIB_ARTIFACTS = ("model_path", "scaler_path", "label_encoder_path", "dropped_features_path")
"""Keys of the joblib files of a models.json entry. Unpickling them runs code."""

ARTIFACTS = (*JOBLIB_ARTIFACTS, "compiled_path")
"""Keys of all files of an entry."""


class Gamma(Schema):
    """A gamma distribution that starts at loc; its mean is loc + shape * scale.

    log : whether it is the distribution of -log(score_samples), used for sums of kernels
    """

    model_config = ConfigDict(extra="forbid")

    shape: Number = Field(gt=0, allow_inf_nan=False)
    scale: Number = Field(gt=0, allow_inf_nan=False)
    loc: Number = Field(default=0, allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, value: Any) -> Any:
        """A misspelled key would leave its default in place, and nothing would be an anomaly."""
        if isinstance(value, dict) and (unknown := sorted(set(value) - set(cls.model_fields))):
            allowed = ", ".join(cls.model_fields)
            raise ValueError(f"unknown keys {', '.join(unknown)}; allowed are {allowed}")
        return value


MISSPELLED = 0.8
"""Similarity from which on a key of models.json is taken for another one, misspelled."""


class ModelEntry(Schema):
    """The entry of one model in models.json."""

    model_config = ConfigDict(extra="allow")

    model_path: str
    scaler_path: str | None = None
    label_encoder_path: str | None = None
    dropped_features_path: str | None = None
    compiled_path: str | None = None
    feature_extractor: str = "default"
    predictor: str = "sklearn_proba"
    sha256: dict[str, Sha256] = Field(default={})
    sample_rate: int | None = Field(default=None, ge=SAMPLE_RATES_HZ[0], le=SAMPLE_RATES_HZ[1])
    window_s: Number | None = Field(default=None, ge=MIN_WINDOW_S, le=MAX_WINDOW_S)
    threshold: Number | None = Field(default=None, ge=0, le=1)
    normal_label: str | None = None
    calibration: Gamma | None = None
    classes: list[str] | None = None
    version: str = "unversioned"
    sklearn_version: str | None = None
    description: str = ""
    metrics: dict[str, Any] = Field(default={})
    previous: list["ModelEntry"] = Field(default=[], exclude_if=lambda previous: not previous)

    @model_validator(mode="before")
    @classmethod
    def _has_no_misspelled_key(cls, value: Any) -> Any:
        """Keys of others are allowed; a misspelled one of ours would be without effect."""
        unknown = set(value) - set(cls.model_fields) if isinstance(value, dict) else ()
        for key in sorted(unknown):
            from difflib import get_close_matches  # only an unknown key needs it

            if close := get_close_matches(key, cls.model_fields, 1, MISSPELLED):
                raise ValueError(f"the key {key!r} is not known; is {close[0]} meant?")
        return value

    @model_validator(mode="after")
    def _checksums_belong_to_artifacts(self) -> "ModelEntry":
        if unknown := sorted(set(self.sha256) - set(ARTIFACTS)):
            raise ValueError(f"sha256 has the keys {unknown}; allowed are {list(ARTIFACTS)}")
        # Without its scaler, for example, a model would score every recording as an anomaly.
        if missing := sorted(key for key in self.sha256 if getattr(self, key) is None):
            raise ValueError(
                f"sha256 has {', '.join(missing)}, but the entry has no such path: add the path, or"
                " remove the checksum"
            )
        return self


class ModelInfo(Schema):
    """One model in the response of GET /models."""

    name: str
    version: str
    classes: list[str] | None = Field(
        description="null if models.json has none and the model is not loaded"
    )
    sample_rate: int = Field(
        description="sample rate of the model in Hz; recordings are resampled to it"
    )
    threshold: float | None = Field(
        description="anomaly_score from which a recording is an anomaly; null if the model has"
        " none, or if models.json has none and the model is not loaded"
    )
    metrics: dict[str, Any] = Field(
        description="figures of the training report, as models.json contains them. Models of"
        " `oddsound train` have rates with `<name>_interval` (low, high, confidence)"
    )
    description: str
    loaded: bool = Field(description="whether the model is in memory")


class ModelList(Schema):
    """The response of GET /models."""

    models: list[ModelInfo]
    default: str
    config_error: str | None = Field(
        description="why the current models.json cannot be used; null if it is in use. Until it is"
        " fixed, the previous one stays in use"
    )


class Window(Schema):
    """The prediction for one window of a long recording."""

    start_s: float = Field(description="seconds from the start of the recording")
    end_s: float
    prediction: str
    anomaly_score: Probability | None = Field(description="null if the model has no normal class")


class Event(Schema):
    """A time at which the recording differs from what is usual for the machine."""

    start_s: float = Field(description="seconds from the start of the recording")
    end_s: float
    kind: EventKind = Field(
        description="impact: a knock or click; dropout: the sound is missing or much quieter, for"
        " 20 ms or longer; tone: one frequency stands out; level: louder or quieter than the rest"
        " of the recording; modulation: the level rises and falls several times per second;"
        " timbre: the frequencies have unusual levels, and no other kind fits"
    )
    score: float = Field(
        ge=0,
        description="how unusual it is, in multiples of the limit from which an event is reported;"
        " comparable between kinds",
    )
    says: str = Field(description="what changes, in plain words with numbers and units")


class FeatureEvidence(Schema):
    """A feature that contributed to the prediction."""

    name: str = Field(description="name in the feature extractor")
    family: str = Field(description="group of features that it belongs to")
    says: str = Field(description="meaning of the deviation, in plain words")
    value: float = Field(description="value in this recording")
    usual: float = Field(description="mean over the training recordings")
    deviation: float = Field(
        description="value minus usual, in standard deviations over the training recordings"
    )
    probability_change: float | None = Field(
        description="of a classifier: probability of the prediction, minus its probability with the"
        " average of the training recordings in the whole family; null for a detector"
    )


class BandEvidence(Schema):
    """A frequency band that contributed to the prediction."""

    low_hz: float
    high_hz: float
    says: str = Field(description="meaning of the deviation, in plain words")
    level_db: float = Field(
        description="change of level compared with the training recordings and with the other"
        " frequencies"
    )
    deviation: float = Field(description="largest change in the band, in standard deviations")
    probability_change: float | None = Field(
        description="of a classifier: probability of the prediction, minus its probability with"
        " average loudness in this band; null for a detector"
    )


class Explanation(Schema):
    """The features and frequency bands that contributed most to the prediction.

    For a detector, these are the largest deviations from normal recordings; for a classifier,
    those that change the probability of the prediction most.
    """

    summary: str = Field(description="the most important parts in a few sentences")
    features: list[FeatureEvidence] = Field(description="most important first")
    bands: list[BandEvidence] = Field(description="most important first")
    window: Window | None = Field(
        description="the most anomalous window of a long recording, if only this one is explained"
    )


class DropOut(Schema):
    """A stretch of at least 10 ms in which the recorder lost the sound."""

    start_s: float = Field(description="seconds from the start of the recording")
    end_s: float


class Signal(Schema):
    """What the recorder did to the recording. Channels are numbered from 0."""

    clipped_share: Probability = Field(
        description="share of the samples of the channels in use that are clipped, 0 to 1; 0 if"
        " there is no evidence, for example after a lossy codec"
    )
    dc_offset: float = Field(
        description="mean of the samples, of the channel in which it is largest; full scale is 1"
    )
    dropouts: list[DropOut] = Field(
        description="the first 100 drop-outs: stretches of 10 ms or more without any change, with"
        " sound before and after. Silence at the start or end is not a drop-out"
    )
    silent_channels: list[int] = Field(
        description="channels that never change, or stop changing; they are left out of the mix"
    )
    channels_used: list[int] = Field(description="channels that are averaged to one")
    bandwidth_hz: float = Field(
        description="highest frequency in Hz that the recording can contain: half its sample rate,"
        " or less if a codec, a telephone line or a resampler removed what is above"
    )
    warnings: list[str] = Field(
        description="what is wrong with the recording and what to do, one sentence each; if the"
        " recording is an anomaly, the last one says that the recorder may be the cause"
    )


class Prediction(Schema):
    """The prediction for one recording."""

    prediction: str = Field(description="name of a class; normal or anomaly for a detector")
    probability: Probability = Field(description="probability of that class")
    all_probabilities: dict[str, Probability] = Field(description="of each class; the sum is 1")
    latency_ms: float = Field(description="time of decoding, features and model")
    model_name: str
    model_version: str
    machine: str | None = Field(
        default=None,
        exclude_if=lambda machine: machine is None,
        description="machine that the recording is of; only present if that is known",
    )
    is_anomaly: bool | None = Field(description="null if the model has no normal class")
    anomaly_score: Probability | None = Field(
        description="from 0 (normal) to 1 (certainly not normal); null if the model has no normal"
        " class"
    )
    threshold: float | None = Field(
        description="anomaly_score from which the recording is an anomaly; null if the model has"
        " none"
    )
    anomaly_level: float | None = Field(
        default=None,
        description="how anomalous the recording is, in multiples of the threshold: 1 is the"
        " threshold, and larger values do not saturate; null if the model only computes"
        " probabilities",
    )
    duration_s: float
    sample_rate: int = Field(description="sample rate of the recording in Hz, before resampling")
    signal: Signal | None = Field(
        default=None,
        description="what the recorder did to the recording; null only in results that an earlier"
        " version stored",
    )
    windows: list[Window] | None = Field(
        default=None, description="predictions for the windows; null if the recording is short"
    )
    events: list[Event] | None = Field(
        default=None,
        description="what is unusual and when, by start, at most the 100 most unusual; empty if"
        " nothing is, or if the model was trained before events existed; null if the model has no"
        " normal class",
    )
    profile: Profile | None = Field(default=None, exclude_if=lambda profile: profile is None)
    explanation: Explanation | None = Field(
        default=None,
        exclude_if=lambda explanation: explanation is None,
        description="the reasons for the prediction; only present if requested",
    )


class ErrorBody(Schema):
    """The body of every error response."""

    error: str = Field(description="name of the error")
    detail: str = Field(description="what failed, in plain words")


class Job(Schema):
    """A recording on S3 to score; the body of a message in the jobs queue."""

    model_config = ConfigDict(extra="forbid")

    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(
        min_length=1, max_length=1024, description="key of the S3 object, not URL-encoded"
    )
    model_name: str | None = Field(
        default=None, min_length=1, description="overrides the model in the object's metadata"
    )
    etag: str | None = Field(
        default=None, description="ETag of the object, as reported by the event"
    )
    version_id: str | None = None
    machine: MachineId | None = Field(
        default=None, description="overrides the machine in the object's metadata and its folder"
    )
    recorded_at: Time | None = Field(
        default=None, description="default: from the object's metadata or key, or its upload"
    )

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class AlertState(Schema):
    """Whether the alert of a stored anomaly was sent, and by which attempt."""

    status: AlertStatus = Field(
        description="sending: an attempt is sending it; failed: the next attempt sends it; sent"
    )
    attempt: str = Field(description="random id of the attempt")
    at: datetime = Field(description="time of this status")


class JobResult(Schema):
    """The result for one recording on S3."""

    status: Status = Field(
        description="succeeded: it was scored; failed: it is a recording, by its name or content,"
        " that cannot be scored; skipped: it is no recording"
    )
    prediction: Prediction | None = Field(description="null if it was not scored")
    error: ErrorBody | None = Field(description="why there is no prediction; null if there is one")
    bucket: str
    key: str
    etag: str | None = Field(description="of the object that was scored")
    version_id: str | None = Field(description="null if the bucket is not versioned")
    model: str
    finished_at: datetime
    recorded_at: datetime | None = Field(
        default=None, description="null if the recording could not be read, or in older results"
    )
    alert: AlertState | None = Field(
        default=None,
        description="null if it is no anomaly, or if no topic for alerts is configured",
    )
