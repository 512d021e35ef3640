"""Middleware that limits the size of a request body, and the time in which it arrives."""

import time
from http import HTTPStatus

import anyio
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oddsound import runtime
from oddsound.errors import AudioTooLargeError
from oddsound.formats import LimitNames
from oddsound.http.errors import failure, response

MULTIPART_OVERHEAD_BYTES = 64 * 1024
"""Bytes that a form may have beside the recording."""

MAX_READ_FACTOR = 4
"""A body is read on to this multiple of the limit, so that a client that only listens after it
has sent everything gets its answer."""


MIN_BYTES_PER_S = 10_000
"""A body that arrives more slowly than this in the mean is given up, after BODY_TIMEOUT_S."""


class UploadLimit:
    """Answers 413 to a body over the limit, and 408 to one that does not arrive in time.

    Keeps no more of a body than the limit.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = runtime.settings().max_upload_bytes
        max_bytes = limit + MULTIPART_OVERHEAD_BYTES
        timeout_s = runtime.settings().body_timeout_s
        started = time.monotonic()
        received = 0
        over = late = complete = False

        async def next_part() -> Message:
            nonlocal received, late, complete
            if complete:  # what comes now is the end of the connection
                return await receive()
            left_s = started + timeout_s + received / MIN_BYTES_PER_S - time.monotonic()
            try:
                with anyio.fail_after(max(0, min(timeout_s, left_s))):
                    message = await receive()
            except TimeoutError:
                late = True
                raise MultiPartException("the upload does not arrive") from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body")
            return message

        async def counted() -> Message:
            nonlocal over
            message = await next_part()
            max_read = MAX_READ_FACTOR * max_bytes
            while max_bytes < received < max_read and message.get("more_body"):
                over, message = True, await next_part()
            over = over or received > max_bytes
            if over:
                # The form parser expects this of an invalid body, and closes its files.
                raise MultiPartException("the upload is over the limit")
            return message

        async def unless_refused(message: Message) -> None:
            if not (over or late):
                await send(message)

        try:
            await self.app(scope, counted, unless_refused)
        except MultiPartException:  # no form parser has caught it: the body is the recording
            if not (over or late):
                raise
        if late:
            answer = response(
                HTTPStatus.REQUEST_TIMEOUT,
                "RequestTimeout",
                f"the body stopped arriving after {received:,} bytes; it may pause for"
                f" {timeout_s:g} s, the limit set by BODY_TIMEOUT_S",
            )
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
        elif over:
            setting = LimitNames.max_bytes
            error = AudioTooLargeError(
                f"the upload has more than {limit:,} bytes, the limit set by {setting}",
                setting=setting,
            )
            await failure(error)(scope, receive, send)
