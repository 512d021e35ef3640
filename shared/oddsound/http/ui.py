"""GET /ui: the page on which a person sends a sound, and hears and sees the result.

Below it are the pages of the machines: /ui/machines, and /ui/machine?id=... for one of them.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from oddsound import runtime
from oddsound.aws import uploads
from oddsound.aws.links import link_to_listen
from oddsound.errors import StorageError
from oddsound.http.assets import PAGE, file_of, file_response, page

router = APIRouter(include_in_schema=False)

OWN = ("ui.css", "app.js", "api.js", "chart.js", "player.js", "sound.js", "view.js", "worklet.js")
OF_MACHINES = (
    "machines.css",
    "machines.js",
    "machine.js",
    "listening.js",
    "reviewing.js",
    "trend.js",
    "words.js",
)
MACHINES_POLICY = {
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "data:",
    "connect-src": "'self'",
}
PLUGINS = ("regions", "spectrogram", "timeline", "hover", "zoom")


def _own(name: str) -> Callable[[], Path]:
    return lambda: PAGE / name


def _wavesurfer(path: str) -> Callable[[], Path]:
    return lambda: file_of("wavesurfer", f"js/{path}", "ui")


FILES: dict[str, Callable[[], Path]] = {
    **{name: _own(name) for name in (*OWN, *OF_MACHINES)},
    "wavesurfer.min.js": _wavesurfer("wavesurfer.min.js"),
    **{f"{name}.min.js": _wavesurfer(f"plugins/{name}.min.js") for name in PLUGINS},
}


@router.get("/ui")
def ui() -> HTMLResponse:
    """The page. Raises NotConfiguredError if the package with the player is not installed."""
    FILES["wavesurfer.min.js"]()
    nonce = secrets.token_urlsafe(16)
    bucket = _bucket_origin()
    policy = {
        "script-src": "'self'",
        # wavesurfer.js has a style sheet inside its elements; it gets the nonce from the page.
        "style-src": f"'self' 'nonce-{nonce}'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' blob:",
        "connect-src": f"'self' {bucket or ''}".strip(),
    }
    settings = runtime.settings()
    answer = page(
        "ui.html",
        policy,
        title=settings.api_title,
        nonce=nonce,
        max_upload_bytes=str(settings.max_upload_bytes),
        max_object_bytes=str(runtime.object_limits().max_bytes if bucket else 0),
    )
    answer.headers["Permissions-Policy"] = "microphone=(self), camera=(), geolocation=()"
    return answer


@router.get("/ui/machines")
def machines() -> HTMLResponse:
    """All machines with their states, those that need attention first."""
    return page("machines.html", MACHINES_POLICY, title=runtime.settings().api_title)


@router.get("/ui/machine")
def machine() -> HTMLResponse:
    """The machine that the parameter `id` names, which the page reads itself."""
    media = f"'self' {_origin_of_recordings() or ''}".strip()
    policy = MACHINES_POLICY | {"media-src": media}
    return page("machine.html", policy, title=runtime.settings().api_title)


@router.get("/ui/{name:path}", response_model=None)
def ui_file(name: str) -> FileResponse | RedirectResponse:
    """A script or style sheet of that page."""
    return file_response(FILES, name, "ui")


def _bucket_origin() -> str | None:
    """Scheme and host that presigned uploads go to; None if this service takes none."""
    settings = runtime.settings()
    if settings.input_bucket is None or settings.results_bucket is None:
        return None
    try:
        post = uploads.presign(
            runtime.s3_client(), settings.input_bucket, "x", max_bytes=1, expiry_s=1
        )
    except StorageError:
        return None
    return _origin(post.url)


def _origin_of_recordings() -> str | None:
    """Scheme and host that links to recordings on S3 lead to; None if this service has none."""
    settings = runtime.settings()
    if settings.input_bucket is None:
        return None
    try:
        return _origin(link_to_listen(runtime.s3_client(), settings.input_bucket, "x").url)
    except StorageError:
        return None


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
