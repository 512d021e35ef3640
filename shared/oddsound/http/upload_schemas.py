"""What `POST /uploads` takes and answers."""

from datetime import datetime

from pydantic import ConfigDict, Field

from oddsound.fields import MachineId, Schema, Time
from oddsound.formats import OPTIONAL_SUFFIXES, SUFFIXES, ffmpeg_installed


def _pattern() -> str:
    """What a file name matches. Only for the OpenAPI document: the service names the suffix."""
    suffixes = SUFFIXES + OPTIONAL_SUFFIXES if ffmpeg_installed() else SUFFIXES
    endings = ("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in s[1:]) for s in suffixes)
    return rf"[^./\\]\.({'|'.join(endings)})$"


class UploadRequest(Schema):
    """The request body of POST /uploads."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(
        min_length=1,
        max_length=1024,
        description=f"ends in {', '.join(SUFFIXES)}",
        examples=["fan.wav"],
        json_schema_extra=lambda schema: schema.update(pattern=_pattern()),
    )
    model_name: str | None = Field(
        default=None, min_length=1, description="one of the names in GET /models"
    )
    machine: MachineId | None = Field(default=None, examples=["hall-3/pump-07"])
    recorded_at: Time | None = Field(
        default=None, description="default: the time in the file name, or that of the upload"
    )


class Upload(Schema):
    """Presigned upload of one recording to S3: a form with `fields`, followed by the file."""

    url: str = Field(description="URL for the POST request")
    fields: dict[str, str] = Field(description="form fields to send, before the file")
    key: str
    max_bytes: int
    expires_at: datetime
    result_url: str = Field(description="returns 404 until the recording is scored")
