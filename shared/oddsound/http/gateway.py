"""Events of API Gateway -> ASGI, for Mangum."""

from mangum.handlers import APIGateway
from starlette.types import Scope


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
