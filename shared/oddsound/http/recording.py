"""The recording in the body of a request: in a form, or the body itself."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from oddsound.formats import FORMATS

FORM_TYPE = "multipart/form-data"
RAW_TYPES = ("audio/*", "application/octet-stream", "application/ogg")
"""Content types of a body that is the recording itself. Those of API Gateway's BinaryMediaTypes:
it would pass on others as text, and change their bytes."""

EXAMPLES = "`curl -F file=@fan.wav`, or `curl --data-binary @fan.wav -H 'Content-Type: audio/wav'`"

_BINARY = {"type": "string", "format": "binary", "description": f"a recording: {FORMATS}"}
_FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": _BINARY,
        "model_name": {"type": "string", "description": "one of /models"},
    },
}
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        FORM_TYPE: {"schema": _FORM_SCHEMA},
        **{
            media_type: {"schema": _BINARY}
            for media_type in ("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", *RAW_TYPES)
        },
    },
}
"""For the OpenAPI document."""


@dataclass(frozen=True)
class SentRecording:
    """The bytes of a recording, and the model that the form names, if it is a form."""

    content: bytes
    model_name: str | None = None


async def sent_recording(request: Request) -> SentRecording:
    """Dependency: the recording of a request.

    Raises HTTPException 415 if the content type is neither a form nor a recording, and
    RequestValidationError if the form has no file.
    """
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type == FORM_TYPE:
        async with request.form() as form:
            return await _from_form(form)
    if media_type.startswith("audio/") or media_type in RAW_TYPES:
        return SentRecording(await request.body())
    found = f"Content-Type is {media_type!r}" if media_type else "the request has no Content-Type"
    raise HTTPException(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"{found}; allowed are {FORM_TYPE}, {', '.join(RAW_TYPES)}; send a recording with"
        f" {EXAMPLES}",
    )


async def _from_form(form: FormData) -> SentRecording:
    file, model_name = form.get("file"), form.get("model_name")
    if file is None:
        raise _invalid("file", "Field required")
    if not isinstance(file, UploadFile):
        raise _invalid("file", "expected a file, found text")
    if isinstance(model_name, UploadFile):
        raise _invalid("model_name", "expected text, found a file")
    return SentRecording(await file.read(), model_name or None)


def _invalid(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "form", "loc": ("body", field), "msg": message}])
