"""JSON as it is exchanged: with values that can be passed on as JSON, as text and as paths."""

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

MAX_DEPTH = 50
MAX_SHOWN = 100
"""Characters of a place or value in the text of an error."""

MAX_DIGITS = 400
"""Digits of an integer: as many as the largest number of floating point has, and some more."""

_CONTROLS = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
"""Control characters that JSON allows in texts, in UTF-8: those from U+007F on, line separators,
and marks that change the direction of the text."""


def loads(text: str, *, with_nul: bool = False) -> Any:
    """The value of a JSON text. Raises ValueError with the reason and the place.

    with_nul : whether texts may contain NUL, because none of them becomes a path
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            object_pairs_hook=_without_duplicates,
        )
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from None
    _check(value, refused="" if with_nul else "\0")
    return value


def printable(text: bytes) -> bytes:
    """A JSON text in UTF-8 with escapes for all control characters; its value stays the same.

    JSON has escapes for those below U+0020 only. A terminal also obeys those from U+0080 on.
    """
    return _CONTROLS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)


def _integer(digits: str) -> int:
    """Python's own limit names a setting of Python in its error."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it contains a number of {len(digits):,} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}, which is not a number of JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one key, readers of JSON take the first, the last or none."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {ascii(twice)[:MAX_SHOWN]} appears more than once in an object")
    return found


def _check(whole: Any, refused: str) -> None:
    """Raises ValueError if a value cannot be passed on.

    Half of a surrogate pair cannot be written as UTF-8, NUL cannot be part of a path, and what is
    nested deeply exhausts the stack of whoever writes it.
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), whole)]
    while left:
        place, value = left.pop()
        if fault := _fault(value, len(place), refused):
            where = ascii(".".join(place))[1:-1][:MAX_SHOWN]
            raise ValueError(f"{where}: {fault}" if where else fault)
        if isinstance(value, dict):
            left += [((*place, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            left += [((*place, str(index)), each) for index, each in enumerate(value)]


def _fault(value: Any, depth: int, refused: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "the number is too large"
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH} levels"
    for text in [value] if isinstance(value, str) else value if isinstance(value, dict) else ():
        for character in text:
            if character in refused or "\ud800" <= character <= "\udfff":
                return f"the text contains U+{ord(character):04X}, which is not a character"
    return None
