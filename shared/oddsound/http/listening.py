"""GET /recordings: a link to listen to a recording, where the service can still read it."""

from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse
from pydantic import Field

from oddsound import runtime
from oddsound.aws.links import link_to_listen
from oddsound.errors import ResultNotFoundError
from oddsound.fields import Schema, Time
from oddsound.formats import media_type_of
from oddsound.http.errors import documented
from oddsound.http.parameters import only_known_query
from oddsound.http.strict_body import StrictRoute
from oddsound.machines.records import HistoryRow

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(only_known_query)])

OF_FILES = ("watch", "file")
"""Sources whose key is the path of a file. That of `http` is a name that a stranger has chosen."""


class ListeningLink(Schema):
    """The response of GET /recordings/{key}."""

    url: str = Field(description="of the audio, for a player or a browser")
    expires_at: datetime | None = Field(
        description="null if the audio is a file of the service's own computer"
    )
    recorded_at: Time = Field(description="of what plays: the recording of the key scored last")


@router.get("/recordings/{key:key}", responses=documented(404, 422, 500, 501, 503))
def recording(
    request: Request, key: Annotated[str, Path(description="`key` of the recording's row")]
) -> ListeningLink:
    """A link to listen to a recording: one on S3, for five minutes, or a file of this computer."""
    row = _playable(key)
    if row.bucket is None:
        url = str(request.url_for("audio", key=quote(key)))
        return ListeningLink(url=url, expires_at=None, recorded_at=row.recorded_at)
    link = link_to_listen(runtime.s3_client(), row.bucket, key)
    return ListeningLink(url=link.url, expires_at=link.expires_at, recorded_at=row.recorded_at)


@router.get("/audio/{key:key}", include_in_schema=False)
def audio(key: str) -> FileResponse:
    """The file of a recording that was scored on this computer; a player asks for its ranges."""
    row = _playable(key)
    if row.bucket is not None:
        raise ResultNotFoundError(f"{key!r} is on S3: GET /recordings/ answers with a link to it")
    return FileResponse(row.key, media_type=media_type_of(key))


def _playable(key: str) -> HistoryRow:
    """The newest row of a key whose recording can be played.

    Raises ResultNotFoundError, which says why there is none.
    """
    rows = runtime.required_history().rows_of_key(key)
    if not rows:
        raise ResultNotFoundError(f"the history has no recording {key!r}")
    reasons = [_why_not(row) for row in rows]
    if "" not in reasons:
        raise ResultNotFoundError(f"the recording {key!r} cannot be played: {reasons[0]}")
    return rows[reasons.index("")]


def _why_not(row: HistoryRow) -> str:
    """Why a recording cannot be played; empty if it can."""
    settings = runtime.settings()
    if row.bucket is not None:
        return "" if row.bucket == settings.input_bucket else "it is not in INPUT_BUCKET"
    if row.source == "http":
        return "a recording that was sent by HTTP is not kept"
    if row.source not in OF_FILES or settings.history_table:
        return "it is a file of the computer that scored it"
    path = FilePath(row.key)
    # A link that took the file's place may lead to any file.
    if not path.is_absolute() or path.resolve() != path or not path.is_file():
        return "its file is gone or was moved"
    return ""
