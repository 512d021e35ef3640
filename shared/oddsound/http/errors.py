"""Errors as HTTP responses: one status for each error class, one body for every failure."""

import logging
import re
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from oddsound import runtime
from oddsound.errors import (
    AudioAnomalyError,
    AudioTooLargeError,
    InvalidAudioError,
    InvalidJobError,
    InvalidMachineError,
    InvalidStateError,
    ModelArtifactError,
    ModelsConfigError,
    NotConfiguredError,
    NotificationError,
    RecordingNotFoundError,
    ResultNotFoundError,
    StorageError,
    UnknownMachineError,
    UnknownModelError,
    UnsupportedAudioError,
)
from oddsound.formats import LimitNames
from oddsound.schemas import ErrorBody

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
    UnknownMachineError: HTTPStatus.NOT_FOUND,
    InvalidMachineError: HTTPStatus.BAD_REQUEST,
    InvalidStateError: HTTPStatus.CONFLICT,
    NotificationError: HTTPStatus.SERVICE_UNAVAILABLE,
    NotConfiguredError: HTTPStatus.NOT_IMPLEMENTED,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
}

HOW_TO_SEND = {
    "/predict-anomaly": "send a recording as multipart/form-data, as `curl -F file=@fan.wav` does",
    "/uploads": 'send JSON such as {"filename": "fan.wav", "model_name": "fan"}',
}
STORAGE_FAILED = "the storage of the service failed; try again later. The reason is in its log"
RETRY_AFTER_S = "5"
CLIENT_CLOSED_REQUEST = 499
"""The status that nginx logs for this."""

AWS_NAME = re.compile(r"(s3://[^/\s\"']*)|arn:aws[\w-]*:[^\s\"',;]*|\b\d{12}\b")
"""A bucket, the name of another resource, or the number of an account."""

CONVERTED_BY_BROWSER = "the page /ui converts what the browser can play"
UPLOAD_TO_S3 = "larger recordings are scored when they are uploaded to the input bucket on S3"


def add_error_handlers(app: FastAPI) -> None:
    """Make every failure of the app an ErrorBody."""

    @app.exception_handler(AudioAnomalyError)
    async def on_known_error(_: Request, error: AudioAnomalyError) -> JSONResponse:
        return failure(error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        # FastAPI answers 400 to JSON that StrictRequest refuses, without saying why.
        if isinstance(error.__cause__, ValueError):
            is_text = not isinstance(error.__cause__, UnicodeDecodeError)
            fault = f"cannot be used: {error.__cause__}" if is_text else "is not JSON in UTF-8"
            detail = f"the body {fault}; {_how_to_send(request)}"
            return response(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", detail)
        answer = response(status, status.phrase.replace(" ", ""), _http_detail(request, error))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(_fault(each, request) for each in error.errors())
        detail = f"{faults}; {_how_to_send(request)}"
        return response(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", detail)

    @app.exception_handler(ClientDisconnect)
    async def on_hang_up(request: Request, _: ClientDisconnect) -> Response:
        """Nobody receives this response."""
        logger.info("%s: the client has closed the connection", request.url.path)
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(MemoryError)
    async def on_exhausted_memory(_: Request, error: MemoryError) -> JSONResponse:
        """Outside a prediction, which refuses its recording: other requests take the memory."""
        logger.error("the memory of the process is exhausted: %s", error)
        detail = "the service is busy: its memory is in use; try again later"
        answer = response(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", detail)
        answer.headers["Retry-After"] = RETRY_AFTER_S
        return answer

    @app.exception_handler(Exception)
    async def on_unexpected_error(_: Request, error: Exception) -> JSONResponse:
        """The traceback goes to the log, never to the client."""
        logger.error("unexpected error", exc_info=error)
        detail = "the service failed; the reason is in its log"
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerError", detail)


def response(status: HTTPStatus, error: str, detail: str) -> JSONResponse:
    """An ErrorBody with a status. Of what the client sent, it shows printable characters only.

    The text may be printed in a terminal, which obeys control characters that JSON leaves alone.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in detail)
    return JSONResponse(ErrorBody(error=error, detail=shown).model_dump(), status)


def failure(error: AudioAnomalyError) -> JSONResponse:
    """The response to one of this library's errors; faults of the service are logged."""
    kind = _kind(error)
    status, detail = STATUS_OF[kind], str(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return fault(error, status)
    if isinstance(error, AudioTooLargeError) and error.setting == LimitNames.max_bytes:
        detail = f"{detail}; {_how_to_send_larger()}"
    if isinstance(error, UnsupportedAudioError) and error.convertible:
        detail = f"{detail}; {CONVERTED_BY_BROWSER}"
    return response(status, kind.__name__, detail)


def _kind(error: AudioAnomalyError) -> type[AudioAnomalyError]:
    """The class of an error that clients know; subclasses are of no use to them."""
    return next(kind for kind in type(error).mro() if kind in STATUS_OF)


def fault(error: AudioAnomalyError, status: HTTPStatus) -> JSONResponse:
    """The response to a fault of the service: the log has all of it, the client no names of AWS."""
    logger.error("%s: %s", type(error).__name__, error)
    answer = response(status, _kind(error).__name__, public(error))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = RETRY_AFTER_S
    return answer


def busy(detail: str) -> HTTPException:
    """What to raise if the service cannot take a request now; sent again later, it may."""
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{detail}; try again later",
        headers={"Retry-After": RETRY_AFTER_S},
    )


def public(error: AudioAnomalyError | str) -> str:
    """The text of an error without buckets, roles and accounts."""
    if isinstance(error, StorageError):
        return STORAGE_FAILED
    return AWS_NAME.sub(lambda found: "s3://..." if found[1] else "(a name of AWS)", str(error))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures of a route, for the OpenAPI document."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": HTTPStatus(status).phrase}
        for status in statuses
    }
    if HTTPStatus.SERVICE_UNAVAILABLE in found:
        found[HTTPStatus.SERVICE_UNAVAILABLE]["headers"] = {
            "Retry-After": {
                "description": "seconds to wait before the next try",
                "schema": {"type": "integer"},
            }
        }
    return found


def _how_to_send(request: Request) -> str:
    return HOW_TO_SEND.get(request.scope["path"], "see /docs for what is expected")


def _how_to_send_larger() -> str:
    settings = runtime.settings()
    if settings.input_bucket is None or settings.results_bucket is None:
        return UPLOAD_TO_S3
    max_bytes = runtime.object_limits().max_bytes
    return f"POST /uploads gives a URL for recordings of up to {max_bytes:,} bytes"


def _http_detail(request: Request, error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"there is no route {request.url.path}; /docs lists all routes"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{request.method} is not allowed for {request.url.path}; allowed: {allowed}"
    return error.detail


def _fault(fault: dict[str, Any], request: Request) -> str:
    """One validation error, without the framework's internal names."""
    if fault["type"] == "json_invalid":
        return "the body is not JSON"
    if fault["loc"] == ("body",):
        if fault["type"] == "missing":
            return "the request has no body"
        content_type = request.headers.get("content-type", "")
        if "json" not in content_type.lower():
            found = f"is {content_type!r}" if content_type else "is missing"
            return f"Content-Type {found}; the body needs application/json"
        return "the body is not a JSON object"
    if fault["type"] == "extra_forbidden":
        return f"{fault['loc'][-1]}: is not known"
    return f"{fault['loc'][-1]}: {fault['msg']}"
