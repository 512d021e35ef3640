"""GET /metrics: what Prometheus reads of a server of one's own. On AWS, CloudWatch has metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oddsound.errors import NotConfiguredError
from oddsound.http.parameters import only_known_query
from oddsound.http.predictions import Predictions
from oddsound.http.series import Series
from oddsound.http.ways_in import through_api_gateway
from oddsound.schemas import Prediction

# Not in the OpenAPI document, which describes the service behind API Gateway too.
router = APIRouter(include_in_schema=False, dependencies=[Depends(only_known_query)])

NO_ROUTE = "none"
"""Label of requests whose path is no route's."""

NO_STATUS = 0
"""Label of requests that ended without a response: the client has left."""


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Counters of requests and predictions, in the text format of Prometheus or OpenMetrics."""
    if through_api_gateway(request.scope):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    series = series_of(request) or Series()  # raises: the package is not installed
    text, content_type = series.text(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": content_type})


class MeasuredRequests:
    """Middleware: counts requests and their time, by route and status, but not on Lambda.

    There, no two requests need come to the same process, and nothing could read its counters.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._series: Series | None = None
        self._installed = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        series = None
        if scope["type"] == "http" and not through_api_gateway(scope):
            series = self._found()
        if series is None:
            await self.app(scope, receive, send)
            return
        status, started = NO_STATUS, time.monotonic()

        async def with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope.setdefault("state", {})["series"] = series
        try:
            with series.in_progress():
                await self.app(scope, receive, with_status)
        finally:
            route = getattr(scope.get("route"), "path_format", NO_ROUTE)
            series.answered(scope["method"], route, status, time.monotonic() - started)

    def _found(self) -> Series | None:
        """The series, made for the first request; None if prometheus-client is not installed."""
        if self._series is None and self._installed:
            try:
                self._series = Series()
            except NotConfiguredError:
                self._installed = False
        return self._series


def series_of(request: Request) -> Series | None:
    """What this request is counted in; None on Lambda, or without prometheus-client."""
    found: Series | None = getattr(request.state, "series", None)
    return found


@contextmanager
def place(request: Request, predictions: Predictions) -> Iterator[None]:
    """A place for a request, counted. Raises HTTPException 503 if all are taken."""
    with predictions.place(), ExitStack() as counted:
        if series := series_of(request):
            counted.enter_context(series.place(predictions.places))
        yield


async def predicted(
    request: Request,
    score: Callable[[], Prediction],
    finish: Callable[[Prediction], Prediction],
    predictions: Predictions,
) -> Prediction:
    """Run `score` in its turn, then `finish`, and count what they do."""
    series = series_of(request)
    if series is None:
        return await predictions.run(request, score, finish)
    with ExitStack() as waiting:
        waiting.enter_context(series.waiting())

        def score_now() -> Prediction:
            waiting.close()
            with series.running():
                return score()

        prediction = await predictions.run(request, score_now, finish)
    series.scored(prediction)
    return prediction
