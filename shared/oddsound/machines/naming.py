"""Which machine a recording is of, and when it was recorded, from its key or file name."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from oddsound.errors import InvalidMachineError

MAX_ID_LENGTH = 200
RESERVED = ("history", "acknowledge", "clear", "snooze", "events", "drift", "trend")
"""Last parts of the HTTP routes below a machine, which an id therefore cannot end in."""

NOT_MACHINES = re.compile(r"(uploads|models/[^/]+)/[0-9a-f-]{36}/")
"""Keys of POST /uploads: their folders are unique, and name no machine."""

MAX_AHEAD = timedelta(days=1)
"""How far a recording may be in the future. Clocks are wrong, and zones are misread."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""No recording is older: this is what clocks without a battery start with."""

_SEPARATED = r"(\d{4})-(\d\d)-(\d\d)[T_ -](\d\d)[-:._]?(\d\d)(?:[-:._]?(\d\d))?"
_COMPACT = r"(\d{4})(\d\d)(\d\d)[T_ -]?(\d\d)(\d\d)(\d\d)?"
_TIMES = [re.compile(rf"(?<!\d){form}(?![\d])(Z)?") for form in (_SEPARATED, _COMPACT)]

_DIRECTIVES = {
    "%Y": r"\d{4}",
    "%y": r"\d\d",
    "%j": r"\d{3}",
    "%f": r"\d{1,6}",
    "%b": r"[A-Za-z]{3}",
    "%B": r"[A-Za-z]+",
    "%p": r"[AaPp][Mm]",
    "%z": r"(?:Z|[+-]\d\d:?\d\d)",
    "%%": "%",
} | {f"%{letter}": r"\d\d" for letter in "mdHIMS"}


def in_utc(at: datetime) -> datetime:
    """The same time in UTC; a time without a zone is taken as UTC.

    Raises ValueError if it is outside the years 1 to 9999 in UTC.
    """
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is outside the years 1 to 9999 in UTC") from None


def check_machine_id(machine_id: str) -> str:
    """The id itself. Raises InvalidMachineError if it cannot be the id of a machine."""
    if reason := fault_of_id(machine_id):
        raise InvalidMachineError(
            f"{machine_id!r} is not the id of a machine: {reason}; ids are paths such as"
            " hall-3/pump-07"
        )
    return machine_id


def fault_of_id(machine_id: str) -> str | None:
    """Why a text cannot be the id of a machine; None if it can."""
    parts = machine_id.split("/")
    if not machine_id:
        return "it is empty"
    if len(machine_id) > MAX_ID_LENGTH:
        return f"it has {len(machine_id)} characters, at most {MAX_ID_LENGTH} are allowed"
    if not machine_id.isprintable():
        return "it has characters that cannot be printed"
    if any(part.strip() != part or part in ("", ".", "..") for part in parts):
        return "a part between slashes is empty, a dot, or begins or ends with a space"
    if parts[-1] in RESERVED:
        return f"the last part may not be one of {', '.join(RESERVED)}"
    return None


def machine_of_key(key: str) -> str | None:
    """The machine that the folder of a key names; None if it has no folder, or names none."""
    folder = key.rpartition("/")[0]
    if NOT_MACHINES.match(key) or fault_of_id(folder):
        return None
    return folder


def time_of_name(name: str, pattern: str | None, zone: tzinfo) -> datetime | None:
    """When a recording was made, in UTC, as its key or file name says; None if it does not.

    pattern : as for strptime, such as "%d%m%y-%H%M"; it is looked for anywhere in the name, and its
        last occurrence counts. None for the usual forms: 2026-11-23T10-30-00, 20261123_103000 and
        similar ones; "Z" after them means UTC.
    zone : of times that do not say theirs
    """
    if pattern is not None:
        found = [text[0] for text in re.finditer(_expression(pattern), name)]
        return _parsed(found[-1], pattern, zone) if found else None
    matches = [match for form in _TIMES for match in form.finditer(name)]
    for match in sorted(matches, key=lambda match: -match.start()):
        *numbers, utc = match.groups()
        try:
            at = datetime(*(int(number or 0) for number in numbers), tzinfo=UTC if utc else zone)  # type: ignore[misc, arg-type]
            return in_utc(at)
        except ValueError:  # digits that are no date, such as a serial number
            continue
    return None


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises ValueError if `time_of_name` cannot use it."""
    _expression(pattern)
    for either, other in (("%Y", "%y"), ("%d", "%j")):
        if either not in pattern and other not in pattern:
            raise ValueError(f"{pattern!r} has neither {either} nor {other}: it names no day")
    return pattern


def _expression(pattern: str) -> str:
    """The regular expression for a pattern of strptime."""
    parts = re.split(r"(%.)", pattern)
    unknown = [part for part in parts[1::2] if part not in _DIRECTIVES]
    if unknown or pattern.replace("%%", "").endswith("%"):
        raise ValueError(
            f"{pattern!r} has {', '.join(unknown) or 'a % at its end'}; allowed are"
            f" {' '.join(sorted(_DIRECTIVES))}"
        )
    expression = "".join(_DIRECTIVES.get(part) or re.escape(part) for part in parts)
    return rf"(?<!\d){expression}(?!\d)"


def _parsed(text: str, pattern: str, zone: tzinfo) -> datetime | None:
    try:
        at = datetime.strptime(text, pattern)
        return in_utc(at if at.tzinfo else at.replace(tzinfo=zone))
    except ValueError:
        return None
