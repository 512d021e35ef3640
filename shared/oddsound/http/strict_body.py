"""JSON bodies: read as strictly as models.json, and written without control characters."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from oddsound import strict_json


class StrictRequest(Request):
    """A request whose JSON body must mean the same to every reader."""

    async def json(self) -> Any:
        """The value of the body. Raises ValueError, see strict_json.loads."""
        return strict_json.loads((await self.body()).decode(), with_nul=True)


class StrictRoute(APIRoute):
    """A route that reads its body as a StrictRequest: `APIRouter(route_class=StrictRoute)`.

    Its answer may contain keys and notes, and may be printed in a terminal.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            response = await handle(StrictRequest(request.scope, request.receive))
            if response.media_type == "application/json":
                response.body = strict_json.printable(bytes(response.body))
                response.headers["content-length"] = str(len(response.body))
            return response

        return strictly
