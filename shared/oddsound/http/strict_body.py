"""JSON bodies that are read as strictly as messages and models.json."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from oddsound import strict_json


class StrictRequest(Request):
    """A request whose JSON body must mean the same to every reader."""

    async def json(self) -> Any:
        """The value of the body. Raises ValueError, see strict_json.loads."""
        return strict_json.loads((await self.body()).decode())


class StrictRoute(APIRoute):
    """A route that reads its body as a StrictRequest: `APIRouter(route_class=StrictRoute)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
