"""GET /openapi.json: the routes as the client of this request finds them."""

import copy
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from oddsound.http.ways_in import through_api_gateway

router = APIRouter(include_in_schema=False)

KEY_SCHEME = "APIKeyHeader"
WITHOUT_KEY = ("/",)
"""Paths of the document for which API Gateway requires no key, as the template says."""

BY_API_GATEWAY = (403, 429, 504)
"""Its own errors: no key or a wrong one, too many requests, no answer within 29 s."""


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document. The service itself checks no key, so only API Gateway's names one."""
    document: dict[str, Any] = request.app.openapi()
    if through_api_gateway(request.scope):
        document = behind_api_gateway(document)
    if root_path := request.scope.get("root_path", "").rstrip("/"):
        document = {**document, "servers": [{"url": root_path}]}
    return JSONResponse(document)


def behind_api_gateway(document: dict[str, Any]) -> dict[str, Any]:
    """The document of the service with what API Gateway requires and answers itself."""
    document = copy.deepcopy(document)
    document["components"]["securitySchemes"] = {
        KEY_SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "API Gateway checks it; it counts and throttles, and proves no identity",
        }
    }
    body = {"schema": {"$ref": "#/components/schemas/ErrorBody"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path not in WITHOUT_KEY:
                operation["security"] = [{KEY_SCHEME: []}]
            for status in BY_API_GATEWAY:
                operation["responses"][str(status)] = {
                    "description": HTTPStatus(status).phrase,
                    "content": {"application/json": body},
                }
    return document
