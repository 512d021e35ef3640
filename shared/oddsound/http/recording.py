"""The recording in the body of a request: in a form, or the body itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from oddsound.formats import FORMATS
from oddsound.http.parameters import name_faults
from oddsound.schemas import MACHINE_ID_SCHEMA

FORM_TYPE = "multipart/form-data"
RAW_TYPES = ("audio/*", "application/octet-stream", "application/ogg")
"""Content types of a body that is the recording itself. Those of API Gateway's BinaryMediaTypes:
it would pass on others as text, and change their bytes."""

FIELDS = ("model_name", "machine", "recorded_at")
"""What a form may say about its recording."""

EXAMPLES = "`curl -F file=@fan.wav`, or `curl --data-binary @fan.wav -H 'Content-Type: audio/wav'`"

_EMPTY = {"type": "string", "maxLength": 0}
MACHINE_ID_OR_EMPTY: dict[str, Any] = {"anyOf": [{"type": "string", **MACHINE_ID_SCHEMA}, _EMPTY]}
TIME_OR_EMPTY: dict[str, Any] = {"anyOf": [{"type": "string", "format": "date-time"}, _EMPTY]}
"""For the OpenAPI document: an empty field of a form says nothing."""

_BINARY = {"type": "string", "format": "binary", "description": f"a recording: {FORMATS}"}
_FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": _BINARY,
        "model_name": {"type": "string", "description": "one of /models"},
        "machine": {"description": "such as hall-3/pump-07", **MACHINE_ID_OR_EMPTY},
        "recorded_at": TIME_OR_EMPTY,
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
    """The bytes of a recording, and what the form says about it, if it is a form."""

    content: bytes
    filename: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def said(self, name: str, in_url: str | None) -> str | None:
        """The value of a field in the URL or in the form.

        Raises HTTPException 400 if both have one and they differ.
        """
        in_form = self.fields.get(name)
        if in_url and in_form and in_url != in_form:
            raise HTTPException(
                HTTPStatus.BAD_REQUEST,
                f"{name} is {in_url!r} in the URL and {in_form!r} in the form",
            )
        return in_url or in_form


async def sent_recording(request: Request) -> SentRecording:
    """Dependency: the recording of a request.

    Raises HTTPException 415 if the content type is neither a form nor a recording, and
    RequestValidationError if the form has no file, two of them, or a field that is not known.
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
    names = [name for name, _ in form.multi_items()]
    faults = name_faults("body", names, ("file", *FIELDS))
    file = form.get("file")
    if file is None:
        faults.append(_fault("file", "Field required"))
    if faults:
        raise RequestValidationError(faults)
    if not isinstance(file, UploadFile):
        raise _invalid("file", "expected a file, found text")
    fields = {}
    for name in FIELDS:
        value = form.get(name)
        if isinstance(value, UploadFile):
            raise _invalid(name, "expected text, found a file")
        if value:
            fields[name] = value
    return SentRecording(await file.read(), file.filename, fields)


def _invalid(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([_fault(field, message)])


def _fault(field: str, message: str) -> dict[str, Any]:
    return {"type": "form", "loc": ("body", field), "msg": message}
