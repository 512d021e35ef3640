"""Files of the service's pages: from this package, or from an installed package.

Third-party scripts are served by the service itself, so that a page on which an API key is typed
loads nothing from another host, and works without internet access.
"""

import html
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from string import Template

from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from oddsound.errors import NotConfiguredError

PAGE = Path(__file__).parent / "page"

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}
"""Texts only: API Gateway returns other types to a browser as base64."""

PARTS = ("head", "key_form")
"""What several pages contain, in a file for each; it replaces `${head}` or `${key_form}`."""

MAX_AGE_S = 3600


def file_of(package: str, path: str, extra: str) -> Path:
    """The path of a file in an installed package, which is not imported.

    Raises NotConfiguredError naming the extra that installs the package.
    """
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder, path)).is_file():
            return found
    raise NotConfiguredError(
        f"{path} of the package {package} is not installed; install it with:"
        f" pip install 'oddsound[{extra}]'"
    )


def file_response(
    files: Mapping[str, Callable[[], Path]], name: str, page: str
) -> FileResponse | RedirectResponse:
    """The response with one of a page's scripts or style sheets.

    files : name in the URL -> function that returns the path of the file
    Raises HTTPException 404 if `files` has no such name.
    """
    if not name:  # links of the page are relative to /ui, not to /ui/
        return RedirectResponse(f"../{page}")
    if name not in files:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    path = files[name]()
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}"}
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=headers)


def page(name: str, policy: dict[str, str], **values: str) -> HTMLResponse:
    """The response with a page; `values` are escaped and replace `${name}` in its file.

    policy : directives of the Content-Security-Policy, added to those of every page
    """
    template = Template(_text(name))
    used = template.get_identifiers()
    parts = {part: _text(f"{part}.html") for part in PARTS if part in used}
    escaped = {key: html.escape(value) for key, value in values.items()}
    return HTMLResponse(template.substitute(escaped | parts), headers=page_headers(policy))


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8").rstrip("\n")


def page_headers(policy: dict[str, str]) -> dict[str, str]:
    """Headers that allow a page only what `policy` names, and forbid other sites to embed it."""
    directives = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **policy,
    }
    joined = "; ".join(f"{name} {sources}" for name, sources in directives.items())
    return {"Content-Security-Policy": joined, "Cache-Control": "no-cache"}
