"""What `POST /uploads` takes and answers."""

from datetime import datetime

from pydantic import ConfigDict, Field

from oddsound.schemas import MachineId, Schema, Time


class UploadRequest(Schema):
    """The request body of POST /uploads."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=1024, examples=["fan.wav"])
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
