"""The recording in the body of a request: in a form, or the body itself."""

import logging
import math
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from oddsound.fields import MACHINE_ID_SCHEMA
from oddsound.formats import FORMATS
from oddsound.http.errors import busy
from oddsound.http.forms import FILE, FormReader, InvalidFormError
from oddsound.http.parameters import name_faults
from oddsound.http.spool import MEMORY_BYTES, Spool
from oddsound.http.ways_in import through_api_gateway

logger = logging.getLogger("oddsound.api")

FORM_TYPE = "multipart/form-data"
RAW_TYPES = ("audio/*", "application/octet-stream", "application/ogg")
"""Content types of a body that is the recording itself. Those of API Gateway's BinaryMediaTypes:
it would pass on others as text, and change their bytes."""

FIELDS = ("model_name", "machine", "recorded_at")
"""What a form may say about its recording."""

WRITE_BYTES = 256 * 1024
"""Bytes of a body that are written to the disk together, by a thread."""

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
    """The recording of a request, and what the form says about it, if it is a form.

    source : its bytes, or the path of a temporary file
    """

    source: bytes | Path
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


@asynccontextmanager
async def sent_recording(request: Request) -> AsyncIterator[SentRecording]:
    """The recording of a request. Its temporary file, if it has one, is deleted in the end.

    Raises HTTPException 400 for a damaged form, 415 if the content type is neither a form nor a
    recording, or the body is compressed, and 503 if the disk is full; RequestValidationError if the
    form has no file, two of them, or a field that is not known; ClientDisconnect.
    """
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    is_form = media_type == FORM_TYPE
    if not is_form and not media_type.startswith("audio/") and media_type not in RAW_TYPES:
        found = (
            f"Content-Type is {media_type!r}" if media_type else "the request has no Content-Type"
        )
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{found}; allowed are {FORM_TYPE}, {', '.join(RAW_TYPES)}; send a recording with"
            f" {EXAMPLES}",
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding is {encoding!r}; send the body without one, as it is",
        )
    # On Lambda, the whole body is in memory anyway.
    with Spool(math.inf if through_api_gateway(request.scope) else MEMORY_BYTES) as spool:
        if is_form:
            form = await _read_form(request, header, spool)
            fields = {name: text for name, text in form.texts.items() if text}
            yield SentRecording(spool.source(), form.filename, fields)
        else:
            await _read_body(request, spool.write)
            yield SentRecording(spool.source())


async def _read_form(request: Request, content_type: str, spool: Spool) -> FormReader:
    try:
        form = FormReader(content_type, spool, FIELDS)
        await _read_body(request, form.write)
        form.finish()
    except InvalidFormError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
    faults = name_faults("body", [name for name, _ in form.parts], (FILE, *FIELDS))
    if FILE not in dict(form.parts):
        faults.append(_fault(FILE, "Field required"))
    for name, is_file in form.parts:
        if is_file != (name == FILE) and not faults:
            expected = "a file, found text" if name == FILE else "text, found a file"
            faults.append(_fault(name, f"expected {expected}"))
    if faults:
        raise RequestValidationError(faults)
    return form


async def _read_body(request: Request, write: Callable[[bytes], None]) -> None:
    """Pass a body on as it arrives. A thread writes what is too much for the memory."""
    received, waiting = 0, list[bytes]()

    def write_waiting() -> None:
        for part in waiting:
            write(part)
        waiting.clear()

    try:
        async for part in request.stream():
            received += len(part)
            if received <= MEMORY_BYTES or received == len(part):
                write(part)
                continue
            waiting.append(part)
            if sum(map(len, waiting)) >= WRITE_BYTES:
                await anyio.to_thread.run_sync(write_waiting)
        if waiting:
            await anyio.to_thread.run_sync(write_waiting)
    except OSError as error:
        logger.error("an upload cannot be stored in %s: %s", tempfile.gettempdir(), error)
        raise busy("there is no space to store the upload") from None


def _fault(name: str, message: str) -> dict[str, Any]:
    return {"type": "form", "loc": ("body", name), "msg": message}
