"""Events of API Gateway -> ASGI, for Mangum."""

from mangum.handlers import APIGateway
from starlette.types import ASGIApp, Receive, Scope, Send

from oddsound import deadline

RESERVE_S = 1
"""Seconds of an invocation that are kept for sending the response."""


class RestApi(APIGateway):
    """An event of a REST API, with the stage (`/dev`) as root path.

    Clients see the stage in the URL, but the event's path does not contain it. Under a custom
    domain there is no stage in the URL, and the root path stays empty.
    """

    @property
    def scope(self) -> Scope:
        scope: Scope = super().scope
        context = self.event["requestContext"]
        stage = f"/{context.get('stage', '')}"
        if f"{context.get('path', '')}/".startswith(f"{stage}/"):
            scope["root_path"] = stage
        return scope


class InvocationDeadline:
    """Middleware: on Lambda, a request has to be answered before its invocation ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = scope.get("aws.context")
        if context is None:
            await self.app(scope, receive, send)
            return
        with deadline.within(context.get_remaining_time_in_millis() / 1000 - RESERVE_S):
            await self.app(scope, receive, send)
