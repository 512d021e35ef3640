"""Translates botocore errors into this library's errors."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oddsound.errors import StorageError

logger = logging.getLogger(__name__)


class MissingError(Exception):
    """S3 has no such object."""


class ConflictError(Exception):
    """The object does not, or no longer, meet the condition of the request."""


class NotModifiedError(Exception):
    """The object still has the ETag that the caller knows."""


@contextmanager
def translating_errors(what: str) -> Iterator[None]:
    """Wrap a call to botocore.

    what : the subject of the error's text, such as the URL of an object
    Raises MissingError (404), ConflictError (409, 412), NotModifiedError (304), or StorageError
    for everything else that botocore raises, also for answers that are not AWS's.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        raise _translated(what, error.response) from error
    # A parser error is none of botocore's own, nor is what urllib3 raises while a body is read.
    except (BotoCoreError, ResponseParserError, HTTPError) as error:
        raise StorageError(f"{what}: {error}") from error


def _translated(what: str, response: Mapping[str, Any]) -> Exception:
    """The error for an answer of AWS, or of whatever answered in its place."""
    told, status = response.get("Error", {}), response["ResponseMetadata"]["HTTPStatusCode"]
    code = told.get("Code") or str(status)
    if status == 304:
        return NotModifiedError()
    if status == 404 and code != "NoSuchBucket":
        return MissingError()
    if status in (409, 412):
        return ConflictError()
    hint = (
        "; S3 also answers 403 for a missing object if s3:ListBucket is not allowed"
        if status == 403
        else ""
    )
    # The message of AWS may name accounts and roles: it goes to the log, not to a client.
    logger.warning("%s: %s: %s", what, code, told.get("Message"))
    return StorageError(f"{what}: {code}{hint}", code)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` URL; each may be empty.

    Not urlsplit, which would end the key at a "?" or "#".
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
