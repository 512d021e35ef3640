"""HTTP: the FastAPI app, and the handler that gives it API Gateway's events."""

import logging
import os
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote

import anyio
from fastapi import FastAPI, File, Form, Path, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.params import Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from mangum import Mangum
from mangum.handlers import APIGateway
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oddsound import runtime, snapshot
from oddsound.aws import uploads
from oddsound.errors import (
    AudioAnomalyError,
    AudioTooLargeError,
    InvalidAudioError,
    InvalidJobError,
    ModelArtifactError,
    ModelsConfigError,
    NotConfiguredError,
    RecordingNotFoundError,
    ResultNotFoundError,
    StorageError,
    UnknownModelError,
    UnsupportedAudioError,
)
from oddsound.schemas import (
    ErrorBody,
    JobResult,
    ModelList,
    Prediction,
    Readiness,
    ServiceInfo,
    Upload,
    UploadRequest,
)

logger = logging.getLogger("oddsound.api")

STATUS_OF: dict[type[AudioAnomalyError], HTTPStatus] = {
    InvalidAudioError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnsupportedAudioError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    AudioTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnknownModelError: HTTPStatus.NOT_FOUND,
    ModelsConfigError: HTTPStatus.INTERNAL_SERVER_ERROR,
    ModelArtifactError: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidJobError: HTTPStatus.BAD_REQUEST,
    RecordingNotFoundError: HTTPStatus.NOT_FOUND,
    ResultNotFoundError: HTTPStatus.NOT_FOUND,
    NotConfiguredError: HTTPStatus.NOT_IMPLEMENTED,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
}

MULTIPART_OVERHEAD_BYTES = 64 * 1024
HOW_TO_SEND = {
    "/predict-anomaly": "send a recording as multipart/form-data, as `curl -F file=@fan.wav` does",
    "/uploads": 'send JSON such as {"filename": "fan.wav", "model_name": "fan"}',
}
LARGER_GO_TO_S3 = "larger recordings are scored by uploading them to the input bucket on S3"


def _answer(status: int, error: str, detail: str) -> JSONResponse:
    return JSONResponse(ErrorBody(error=error, detail=detail).model_dump(), status)


def _failure(error: AudioAnomalyError) -> JSONResponse:
    status, detail = STATUS_OF[type(error)], str(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s: %s", type(error).__name__, detail)
    if isinstance(error, AudioTooLargeError):
        detail = f"{detail}; {_where_larger_go()}"
    return _answer(status, type(error).__name__, detail)


def _where_larger_go() -> str:
    settings = runtime.settings()
    if settings.input_bucket is None or settings.results_bucket is None:
        return LARGER_GO_TO_S3
    most = runtime.object_limits().max_bytes
    return f"POST /uploads gives an address for recordings of up to {most:,} bytes"


class UploadLimit:
    """Answers 413 to a body over the limit, without keeping more of it than the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = runtime.settings().max_upload_bytes
        most = limit + MULTIPART_OVERHEAD_BYTES
        received = 0
        over = False

        async def counted() -> Message:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            while received > most and message.get("more_body") and received < 4 * most:
                # Read on, for a client that does not listen before it has sent everything.
                over, message = True, await receive()
                received += len(message.get("body", b""))
            over = over or received > most
            if over:
                # What the parser of forms expects of a bad body, and then closes its files.
                raise MultiPartException("the upload is over the limit")
            return message

        async def unless_over(message: Message) -> None:
            if not over:
                await send(message)

        await self.app(scope, counted, unless_over)
        if over:
            error = AudioTooLargeError(
                f"the upload has over {limit:,} bytes, the most that is read"
            )
            await _failure(error)(scope, receive, send)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route, for the schema."""
    return {
        status: {"model": ErrorBody, "description": HTTPStatus(status).phrase}
        for status in statuses
    }


app = FastAPI(
    title=runtime.settings().api_title,
    version=runtime.settings().api_version,
    description="Does this machine sound normal, and if not, what is it?",
    # API Gateway asks for the key, the service does not; this gives /docs a field for it.
    dependencies=[Security(APIKeyHeader(name="x-api-key", auto_error=False))],
)
app.add_middleware(UploadLimit)


class RestApi(APIGateway):
    """API Gateway's event, with the stage (`/dev`) that clients see and its paths leave out.

    Under a domain of one's own there is no stage in the URL, and none is added.
    """

    @property
    def scope(self) -> Scope:
        scope: Scope = super().scope
        context = self.event["requestContext"]
        stage = f"/{context.get('stage', '')}"
        if f"{context.get('path', '')}/".startswith(f"{stage}/"):
            scope["root_path"] = stage
        return scope


handler = Mangum(app, lifespan="off", custom_handlers=[RestApi])
snapshot.register()

_predictions = anyio.CapacityLimiter(os.cpu_count() or 1)


@app.get("/")
async def service() -> ServiceInfo:
    """Name, version and status of the service."""
    settings = runtime.settings()
    return ServiceInfo(name=settings.api_title, version=settings.api_version, status="ok")


@app.get("/models", responses=_errors(500, 503))
def models() -> ModelList:
    """Every model that a request may name, and the default one."""
    return runtime.registry().describe()


@app.post(
    "/predict-anomaly",
    responses=_errors(400, 404, 413, 415, 422, 500, 503),
    response_model_exclude_none=False,
)
async def predict_anomaly(
    file: Annotated[UploadFile, File(description="WAV, FLAC, OGG, MP3, AIFF or AU")],
    model_name: Annotated[str | None, Query(description="from /models")] = None,
    form_model_name: Annotated[str | None, Form(alias="model_name")] = None,
    explain: Annotated[
        bool, Query(description="whether to say which features and bands carried the verdict")
    ] = False,
) -> Prediction:
    """Score one recording. The name of the model may stand in the URL or in the form."""
    if model_name and form_model_name and model_name != form_model_name:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST,
            f"model_name is {model_name!r} in the URL and {form_model_name!r} in the form",
        )
    recording = await file.read()

    def score() -> Prediction:
        # What a prediction needs is most of a cold start, and no other route needs it.
        from oddsound import pipeline

        model = runtime.registry().get(model_name or form_model_name)
        return pipeline.predict(recording, model, runtime.limits(), explain=explain)

    return await anyio.to_thread.run_sync(score, limiter=_predictions)


@app.post("/uploads", responses=_errors(400, 404, 415, 422, 500, 501, 503))
def upload(request: Request, wanted: UploadRequest) -> Upload:
    """Leave to send one recording straight to S3, for those too large for /predict-anomaly."""
    bucket, limits, settings = runtime.input_bucket(), runtime.object_limits(), runtime.settings()
    runtime.results()  # an upload whose result nobody could read helps nobody
    model = wanted.model_name and runtime.registry().named(wanted.model_name)
    key = uploads.upload_key(wanted.filename, model)
    post = uploads.presign(
        runtime.s3_client(),
        bucket,
        key,
        max_bytes=limits.max_bytes,
        expiry_s=settings.upload_expiry_s,
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


@app.get("/results/{key:path}", responses=_errors(404, 422, 500, 501, 503))
def result(
    key: Annotated[str, Path(description="of the recording in the input bucket")],
    model_name: Annotated[
        str | None, Query(description="by default the one of the key's prefix, or the default one")
    ] = None,
) -> JobResult:
    """What became of a recording on S3: its prediction, or why it could not be scored."""
    stored = runtime.results()
    model = model_name or uploads.model_of_key(key) or runtime.registry().default_name
    try:
        return stored.get(model, key)
    except ResultNotFoundError:
        runtime.registry().named(model)
        raise


@app.get("/health/ready", response_model=Readiness, responses=_errors(503))
def ready() -> Any:
    """200 when the default model is loaded and verified, else 503."""
    try:
        model = runtime.registry().get()
    except AudioAnomalyError as error:
        logger.error("not ready: %s", error)
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__, str(error))
    return Readiness(status="ready", model_name=model.name, model_version=model.version)


@app.exception_handler(AudioAnomalyError)
async def on_known_error(_: Request, error: AudioAnomalyError) -> JSONResponse:
    return _failure(error)


@app.exception_handler(HTTPException)
async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
    status, detail = HTTPStatus(error.status_code), error.detail
    if status == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {request.url.path}; /docs lists what there is"
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        detail = f"{request.method} is not possible at {request.url.path}; {allowed} is"
    answer = _answer(status, status.phrase.replace(" ", ""), detail)
    answer.headers.update(error.headers or {})
    return answer


def _fault(fault: dict[str, Any]) -> str:
    """One fault of a request, without the words of the framework."""
    if fault["type"] == "json_invalid":
        return "the body is not JSON"
    if "UploadFile" in fault["msg"]:
        return f"{fault['loc'][-1]}: a file is expected, a text was found"
    return f"{fault['loc'][-1]}: {fault['msg']}"


@app.exception_handler(RequestValidationError)
async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = "; ".join(map(_fault, error.errors()))
    hint = HOW_TO_SEND.get(request.scope["path"], "/docs shows what is expected")
    return _answer(422, "InvalidRequest", f"{faults}; {hint}")


@app.exception_handler(Exception)
async def on_defect(_: Request, error: Exception) -> JSONResponse:
    """The traceback goes to the log, never to the client."""
    logger.error("unexpected error", exc_info=error)
    return _answer(500, "InternalServerError", "the service failed; its log has the reason")
