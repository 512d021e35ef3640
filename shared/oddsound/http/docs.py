"""GET /docs: Swagger UI from an installed package, without scripts of a third party."""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from oddsound import runtime
from oddsound.http.assets import PAGE, file_of, file_response, page

router = APIRouter(include_in_schema=False)

POLICY = {
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
}


def _swagger_ui(name: str) -> Path:
    return file_of("fastapi_offline", f"static/{name}", "serve")


FILES: dict[str, Callable[[], Path]] = {
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
    return file_response(FILES, name, "docs")
