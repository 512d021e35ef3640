"""Reads objects, and translates botocore errors into this library's errors."""

import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import MappingProxyType
from typing import Any, Protocol

from oddsound import deadline
from oddsound.errors import StorageError

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 10
"""Seconds that S3 may be silent before a request has failed, and is sent again."""

BODY_ATTEMPTS = 3
"""How often an object is requested if the connection breaks while its content is read."""

CHUNK_BYTES = 1 << 20

FIRST_ATTEMPT = re.compile(r"\battempt=1\b")
"""In the header in which botocore counts the attempts of a request."""


class Target(Protocol):
    """A file to which an object is written."""

    def tell(self) -> int: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def truncate(self, size: int | None = ..., /) -> int: ...
    def write(self, data: bytes, /) -> int: ...
    def writelines(self, lines: Iterable[bytes], /) -> None: ...


class MissingError(StorageError):
    """S3 has no such object. Where that is not expected, it is a failure of the storage."""


class ConflictError(StorageError):
    """The object does not, or no longer, meet the condition of the request."""


class NotModifiedError(StorageError):
    """The object still has the ETag that the caller knows."""


@contextmanager
def translating_errors(what: str) -> Iterator[None]:
    """Wrap a call to botocore.

    what : the subject of the error's text, such as the URL of an object
    Raises MissingError (404), ConflictError (409, 412), NotModifiedError (304), which are
    StorageErrors too, or another StorageError for everything else that botocore raises, also for
    answers that are not AWS's.
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


@contextmanager
def signing(what: str) -> Iterator[None]:
    """Wrap what signs a URL or a form, which sends no request. Raises StorageError.

    what : the subject of the error's text
    """
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except AttributeError:  # botocore's answer to missing credentials, for a form
        raise StorageError(f"{what}: there are no AWS credentials to sign with") from None
    except BotoCoreError as error:
        raise StorageError(f"{what}: {error}") from error


def _translated(what: str, response: Mapping[str, Any]) -> Exception:
    """The error for an answer of AWS, or of whatever answered in its place."""
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = told.get("Code") or str(status)
    if status == 304:
        return NotModifiedError(f"{what}: not modified", code)
    if status == 404 and code != "NoSuchBucket":
        return MissingError(f"{what}: not found", code)
    if status in (409, 412):
        return ConflictError(f"{what}: {code}", code)
    hint = (
        "; S3 also answers 403 for a missing object if s3:ListBucket is not allowed"
        if status == 403
        else ""
    )
    # The message of AWS may name accounts and roles: it goes to the log, not to a client.
    logger.warning("%s: %s: %s", what, code, told.get("Message"))
    return StorageError(f"{what}: {code}{hint}", code)


def get_object(
    s3_client: Any,
    bucket: str,
    key: str,
    into: Target,
    condition: Mapping[str, str] = MappingProxyType({}),
    accept: Callable[[int], None] = lambda size: None,
    max_bytes: int | None = None,
) -> Mapping[str, Any]:
    """Write the content of an object to a file. Returns the answer of S3.

    botocore repeats a request that fails, but not one whose connection breaks after the headers.
    Then the object is requested again at once, and the file is written from its start.

    condition : parameters such as IfMatch
    accept : called with the size in bytes before the content is read; what it raises is passed on
    max_bytes : of the content that are read; None for all
    Raises the errors of `translating_errors`.
    """
    url = f"s3://{bucket}/{key}"
    start = into.tell()
    for left in reversed(range(BODY_ATTEMPTS)):
        with translating_errors(url):
            answer: Mapping[str, Any] = s3_client.get_object(Bucket=bucket, Key=key, **condition)
        try:
            with closing(answer["Body"]) as body:
                accept(answer["ContentLength"])
                with translating_errors(url):
                    if max_bytes is None:
                        into.writelines(body.iter_chunks(CHUNK_BYTES))
                    else:
                        into.write(body.read(max_bytes))
            return answer
        except StorageError as error:
            if not left or not time_for_another_request():
                raise
            logger.warning("%s is read again, because its content did not arrive: %s", url, error)
            into.seek(start)
            into.truncate()
    raise AssertionError  # the last attempt has returned or raised


def read_object(
    s3_client: Any,
    bucket: str,
    key: str,
    condition: Mapping[str, str] = MappingProxyType({}),
    max_bytes: int | None = None,
) -> tuple[bytes, Mapping[str, Any]]:
    """The content of an object, or its first bytes, and the answer of S3; see `get_object`."""
    content = io.BytesIO()
    answer = get_object(s3_client, bucket, key, content, condition, max_bytes=max_bytes)
    return content.getvalue(), answer


def time_for_another_request() -> bool:
    """Whether a request could fail by a timeout before the call that needs it has to answer."""
    return deadline.remaining_s() > READ_TIMEOUT_S


def refuse_late_retries(client: Any) -> None:
    """Send a request of this client again only if its answer can arrive before the deadline."""
    from botocore.exceptions import BotoCoreError

    class OutOfTimeError(BotoCoreError):
        fmt = "the last attempt failed, and there is no time for another"

    def check(request: Any, **_: Any) -> None:
        # The first attempt is always made: it may find AWS quick again.
        attempt = FIRST_ATTEMPT.search(str(request.headers.get("amz-sdk-request")))
        if attempt is None and not time_for_another_request():
            raise OutOfTimeError

    client.meta.events.register("before-send", check)


def split_url(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://bucket/key` URL; each may be empty.

    Not urlsplit, which would end the key at a "?" or "#".
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
