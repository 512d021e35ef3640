"""Translates botocore errors into this library's errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

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
    for everything else that botocore raises.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 304:
            raise NotModifiedError from None
        if status == 404 and code != "NoSuchBucket":
            raise MissingError from None
        if status in (409, 412):
            raise ConflictError from None
        hint = (
            "; S3 also answers 403 for a missing object if s3:ListBucket is not allowed"
            if status == 403
            else ""
        )
        # The message of AWS may name accounts and roles: it goes to the log, not to a client.
        logger.warning("%s: %s: %s", what, code, error.response["Error"].get("Message"))
        raise StorageError(f"{what}: {code}{hint}", code) from error
    except BotoCoreError as error:
        raise StorageError(f"{what}: {error}") from error


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` URL; each may be empty.

    Not urlsplit, which would end the key at a "?" or "#".
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
