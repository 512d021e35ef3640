"""The refusals of AWS in the words of this library."""

from collections.abc import Iterator
from contextlib import contextmanager

from oddsound.errors import StorageError


class MissingError(Exception):
    """S3 has no such object."""


class ConflictError(Exception):
    """The object is not, or no longer, what the condition of the call says."""


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Around a call of botocore: translates what it raises. what : subject of the error's text.

    Raises MissingError (404), ConflictError (409, 412) or StorageError.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404 and code != "NoSuchBucket":
            raise MissingError from None
        if status in (409, 412):
            raise ConflictError from None
        hint = "; without s3:ListBucket, a missing object is answered so" if status == 403 else ""
        raise StorageError(f"{what}: {code}{hint}") from error
    except BotoCoreError as error:
        raise StorageError(f"{what}: {error}") from error
