"""Parameters of routes: keys of S3 in paths, and names in the URL.

What a request gives and no route reads is refused: a mistyped name must not be without effect.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.convertors import PathConvertor, register_url_convertor


class KeyConvertor(PathConvertor):
    """A key of S3: any characters, also line breaks, which Starlette's `path` does not match."""

    regex = r"[\s\S]*"


# Every module with such a route imports this one.
register_url_convertor("key", KeyConvertor())


async def only_known_query(request: Request) -> None:
    """Dependency: raises RequestValidationError if the URL has another parameter, or one twice."""
    known = _parameters(request.scope["route"].dependant)
    names = [name for name, _ in request.query_params.multi_items()]
    if faults := name_faults("query", names, known):
        raise RequestValidationError(faults)


def _parameters(dependant: Any) -> list[str]:
    """Names of the parameters in the URL that a route and its dependencies read."""
    names = [parameter.alias for parameter in dependant.query_params]
    return names + [name for each in dependant.dependencies for name in _parameters(each)]


def name_faults(place: str, names: Iterable[str], known: Collection[str]) -> list[dict[str, Any]]:
    """What RequestValidationError needs for every name that is unknown or given twice.

    place : for the error, such as query
    """
    faults: list[dict[str, Any]] = []
    for name, count in Counter(names).items():
        if name not in known:
            faults.append(_fault(place, name, _unknown(name, known)))
        elif count > 1:
            faults.append(_fault(place, name, f"given {count} times; once is allowed"))
    return faults


def _unknown(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches  # only a mistyped name needs it

    if close := get_close_matches(name, known, 1):
        return f"is not known; is {close[0]} meant?"
    return f"is not known; known are: {', '.join(known)}" if known else "is not known"


def _fault(place: str, name: str, message: str) -> dict[str, Any]:
    return {"type": place, "loc": (place, name[:MAX_NAME]), "msg": message}


MAX_NAME = 100
"""Characters of a name that an error repeats."""
