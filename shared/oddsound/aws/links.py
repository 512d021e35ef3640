"""Presigned links to recordings on S3, for people who want to listen to them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from oddsound.formats import media_type_of
from oddsound.storage import signing

EXPIRY_S = 300
"""Whoever has a link can listen: it is for the person who asked, at once."""


@dataclass(frozen=True)
class PresignedLink:
    """URL of a GET of one object."""

    url: str
    expires_at: datetime


def link_to_listen(s3_client: Any, bucket: str, key: str) -> PresignedLink:
    """A link to the object, for EXPIRY_S seconds.

    The answer of S3 has the media type of the key's suffix, not the one of the upload: a stranger's
    page of HTML would be shown as one.
    Sends no request. Raises StorageError if there are no AWS credentials to sign with.
    """
    expires_at = datetime.now(UTC) + timedelta(seconds=EXPIRY_S)
    wanted = {
        "Bucket": bucket,
        "Key": key,
        "ResponseContentDisposition": "inline",
        "ResponseContentType": media_type_of(key),
    }
    with signing(f"s3://{bucket}/{key}"):
        url = s3_client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=EXPIRY_S)
    return PresignedLink(url, expires_at)
