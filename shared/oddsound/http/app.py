"""The FastAPI app."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from oddsound import logs, runtime, threads
from oddsound.http import docs, listening, machines, metrics, nodelay, openapi, results, ui
from oddsound.http.errors import add_error_handlers
from oddsound.http.head import HeadRequests
from oddsound.http.headers import SecurityHeaders
from oddsound.http.predictions import Predictions
from oddsound.http.routes import router
from oddsound.http.upload_limit import UploadLimit

PREFLIGHT_MAX_AGE_S = 3600
"""How long a browser may keep the answer to a preflight request."""


class Service(FastAPI):
    """FastAPI with CORS and headers around everything, also the handler of unexpected errors.

    A page on another host can read an error only if CORS adds its header, and `add_middleware`
    puts nothing outside that handler.
    """

    def build_middleware_stack(self) -> ASGIApp:
        stack: ASGIApp = HeadRequests(metrics.MeasuredRequests(super().build_middleware_stack()))
        origins = runtime.settings().allowed_origins
        if not origins:
            return SecurityHeaders(stack)
        with_cors = CORSMiddleware(
            stack,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["content-type", "x-api-key"],
            max_age=PREFLIGHT_MAX_AGE_S,
        )
        return SecurityHeaders(with_cors)


def create_app(processes: int = 1) -> FastAPI:
    """The service, with the settings of this environment. Raises ModelsConfigError.

    processes : that serve together, this one included; they share the limits
    """
    nodelay.always()
    threads.limit(runtime.settings().blas_threads)
    logs.write_to_stderr(runtime.settings().log_level)
    app = Service(
        title=runtime.settings().api_title,
        version=runtime.settings().api_version,
        description="Does this machine sound normal, and if not, what is it?",
        # What FastAPI adds does not know API Gateway, and its pages load scripts of a third party.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(router)
    app.include_router(results.router)
    app.include_router(listening.router)
    app.include_router(machines.router)
    app.include_router(openapi.router)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    app.include_router(ui.router)
    app.add_middleware(UploadLimit)
    add_error_handlers(app)
    settings = runtime.settings()
    app.state.predictions = Predictions(
        settings.max_predictions or processes,  # more in one process would be slower
        settings.max_waiting_requests,
        settings.max_prediction_s,
        processes,
    )
    return app
