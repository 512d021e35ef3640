"""Routes of results: what is stored of a recording on S3, and what people say about recordings."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from oddsound import runtime
from oddsound.aws import uploads
from oddsound.errors import ResultNotFoundError
from oddsound.http.errors import documented
from oddsound.http.machines import model_of
from oddsound.http.parameters import only_known_query
from oddsound.http.strict_body import StrictRoute
from oddsound.machines.naming import machine_of_key
from oddsound.machines.records import HistoryRow, ReviewRequest
from oddsound.schemas import JobResult

router = APIRouter(route_class=StrictRoute, dependencies=[Depends(only_known_query)])


# Before the next route, whose keys may contain slashes: the first route of a path says which
# methods are allowed.
@router.post("/results/{key:key}/review", responses=documented(404, 408, 413, 422, 500, 501, 503))
def review(
    key: Annotated[str, Path(description="`key` of the recording's row")], said: ReviewRequest
) -> HistoryRow:
    """What a person says about a recording: normal, fault or unusable."""
    return runtime.required_history().review(key, said.label, said.person, said.note)


@router.get("/results/{key:key}", responses=documented(404, 422, 500, 501, 503))
def result(
    key: Annotated[str, Path(description="of the recording in the input bucket")],
    model_name: Annotated[
        str | None,
        Query(description="default: the model of the key's prefix or machine, or the default one"),
    ] = None,
) -> JobResult:
    """The result of a recording on S3: its prediction, or why it could not be scored."""
    stored = runtime.results()
    catalogue = runtime.registry().catalogue
    model = model_name or uploads.model_of_key(key) or model_of(machine_of_key(key))
    model = model or catalogue.default_name()
    try:
        return stored.get(model, key)
    except ResultNotFoundError:
        catalogue.entry(model)  # raises UnknownModelError, which is the better answer
        raise
