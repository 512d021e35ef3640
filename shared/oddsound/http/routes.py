"""The routes of the service."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request

from oddsound import runtime
from oddsound.aws import uploads
from oddsound.aws.origins import metadata_of
from oddsound.errors import AudioAnomalyError
from oddsound.fields import Schema
from oddsound.http.errors import documented, fault, public
from oddsound.http.machines import Asked, model_of, remembered
from oddsound.http.metrics import place, predicted
from oddsound.http.parameters import only_known_query
from oddsound.http.predictions import Predictions
from oddsound.http.recording import (
    MACHINE_ID_OR_EMPTY,
    REQUEST_BODY,
    TIME_OR_EMPTY,
    SentRecording,
    sent_recording,
)
from oddsound.http.strict_body import StrictRoute
from oddsound.http.upload_schemas import Upload, UploadRequest
from oddsound.schemas import ModelList, Prediction

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(only_known_query)])


class ServiceInfo(Schema):
    """The response of GET /."""

    name: str
    version: str
    status: str


class Readiness(Schema):
    """The response of GET /health/ready."""

    status: str
    model_name: str
    model_version: str


@router.get("/", responses=documented(422))
async def service() -> ServiceInfo:
    """Name, version and status of the service."""
    settings = runtime.settings()
    return ServiceInfo(name=settings.api_title, version=settings.api_version, status="ok")


@router.get("/models", responses=documented(422, 500, 503))
def models() -> ModelList:
    """Every model that a request may name, and the default model."""
    found = runtime.registry().describe()
    return found.model_copy(
        update={"config_error": found.config_error and public(found.config_error)}
    )


@router.post(
    "/predict-anomaly",
    responses=documented(400, 404, 408, 413, 415, 422, 500, 503),
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def predict_anomaly(
    request: Request,
    model_name: Annotated[str | None, Query(description="one of /models")] = None,
    explain: Annotated[
        bool, Query(description="whether to say which features and bands led to the verdict")
    ] = False,
    machine: Annotated[
        str | None,
        Query(description="such as hall-3/pump-07", json_schema_extra=MACHINE_ID_OR_EMPTY),
    ] = None,
    recorded_at: Annotated[
        str | None,
        Query(
            description="ISO 8601; default: the time in the file name, or now",
            json_schema_extra=TIME_OR_EMPTY,
        ),
    ] = None,
) -> Prediction:
    """Score one recording.

    Send it in the field `file` of a form, or as the body itself with its own content type.
    `model_name`, `machine` and `recorded_at` may be given in the URL or in the form. A recording
    of a machine is scored by that machine's model, unless `model_name` names another one.
    """
    predictions: Predictions = request.app.state.predictions
    with place(request, predictions):
        async with sent_recording(request) as sent:
            asked = Asked.of(sent, model_name, machine, recorded_at)
            score = partial(_scored, sent, asked, explain)
            remember = partial(remembered, sent=sent, asked=asked)
            return await predicted(request, score, remember, predictions)


def _scored(sent: SentRecording, asked: Asked, explain: bool) -> Prediction:
    # The imports of a prediction are most of a cold start; no other route needs them.
    from oddsound import pipeline

    model = runtime.registry().get(asked.model_name or model_of(asked.machine))
    return pipeline.predict(sent.source, model, runtime.limits(), explain=explain)


@router.post("/uploads", responses=documented(400, 404, 408, 415, 422, 500, 501, 503))
def upload(request: Request, wanted: UploadRequest) -> Upload:
    """Presigned upload of one recording to S3, for recordings too large for /predict-anomaly."""
    bucket, limits, settings = runtime.input_bucket(), runtime.object_limits(), runtime.settings()
    runtime.results()  # raises: an upload without a place for its result would be useless
    named = wanted.model_name or model_of(wanted.machine)
    model = named and runtime.registry().catalogue.entry(named)[0]
    key = uploads.upload_key(wanted.filename, model)
    post = uploads.presign(
        runtime.s3_client(),
        bucket,
        key,
        max_bytes=limits.max_bytes,
        expiry_s=settings.upload_expiry_s,
        metadata=metadata_of(
            wanted.machine, wanted.recorded_at or runtime.recorded_at_of(wanted.filename)
        ),
    )
    result_url = request.url_for("result", key=quote(key))
    if model:
        result_url = result_url.include_query_params(model_name=model)
    return Upload(
        url=post.url,
        fields=post.fields,
        key=key,
        max_bytes=limits.max_bytes,
        expires_at=post.expires_at,
        result_url=str(result_url),
    )


@router.get("/health/ready", response_model=Readiness, responses=documented(422, 503))
def ready() -> Any:
    """200 if the default model is loaded and verified, else 503."""
    try:
        model = runtime.registry().get()
    except AudioAnomalyError as error:
        return fault(error, HTTPStatus.SERVICE_UNAVAILABLE)
    return Readiness(status="ready", model_name=model.name, model_version=model.version)
