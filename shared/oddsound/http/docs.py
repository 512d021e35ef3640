"""GET /docs: Swagger UI from an installed package, without scripts of a third party."""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from oddsound import runtime
from oddsound.http.assets import PAGE, asset, file_of, page

router = APIRouter(include_in_schema=False)

POLICY = {
    "script-src": "'self'",
    # Swagger UI shows parts of its forms with style attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
}


def _swagger_ui(name: str) -> Path:
    return file_of("fastapi_offline", f"static/{name}", "serve")


ASSETS: dict[str, Callable[[], Path]] = {
    "docs.js": lambda: PAGE / "docs.js",
    "swagger-ui-bundle.js": lambda: _swagger_ui("swagger-ui-bundle.js"),
    "swagger-ui.css": lambda: _swagger_ui("swagger-ui.css"),
}


@router.get("/docs")
def docs() -> HTMLResponse:
    """The routes of the service, to try in a browser."""
    return page("docs.html", POLICY, title=f"{runtime.settings().api_title} - API")


@router.get("/docs/{name:path}", response_model=None)
def docs_file(name: str) -> FileResponse | RedirectResponse:
    """A script or style sheet of that page."""
    if not name:  # links of the page are relative to /docs, not to /docs/
        return RedirectResponse("../docs")
    if name not in ASSETS:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return asset(ASSETS[name]())
