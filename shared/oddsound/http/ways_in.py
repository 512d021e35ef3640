"""How a request came to the service."""

from starlette.types import Scope


def through_api_gateway(scope: Scope) -> bool:
    """Whether API Gateway passed the request on: it has checked the key, and this is Lambda."""
    return "aws.event" in scope
