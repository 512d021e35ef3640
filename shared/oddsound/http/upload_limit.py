"""Middleware that limits the size of a request body."""

from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oddsound import runtime
from oddsound.errors import AudioTooLargeError
from oddsound.formats import LimitNames
from oddsound.http.errors import failure

MULTIPART_OVERHEAD_BYTES = 64 * 1024
"""Bytes that a form may have beside the recording."""

MAX_READ_FACTOR = 4
"""A body is read on to this multiple of the limit, so that a client that only listens after it
has sent everything gets its answer."""


class UploadLimit:
    """Answers 413 to a body over the limit, and keeps no more of the body than the limit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = runtime.settings().max_upload_bytes
        max_bytes = limit + MULTIPART_OVERHEAD_BYTES
        received = 0
        over = False

        async def counted() -> Message:
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            max_read = MAX_READ_FACTOR * max_bytes
            while max_bytes < received < max_read and message.get("more_body"):
                over, message = True, await receive()
                received += len(message.get("body", b""))
            over = over or received > max_bytes
            if over:
                # The form parser expects this of an invalid body, and closes its files.
                raise MultiPartException("the upload is over the limit")
            return message

        async def unless_over(message: Message) -> None:
            if not over:
                await send(message)

        try:
            await self.app(scope, counted, unless_over)
        except MultiPartException:  # no form parser has caught it: the body is the recording
            if not over:
                raise
        if over:
            setting = LimitNames.max_bytes
            error = AudioTooLargeError(
                f"the upload has more than {limit:,} bytes, the limit set by {setting}",
                setting=setting,
            )
            await failure(error)(scope, receive, send)
