"""What schemathesis sends where the OpenAPI document cannot say it: recordings, ids and times.

Loaded by schemathesis, see contract.py. It is never imported by the tests.
"""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

RECORDINGS = [path.read_bytes() for path in sorted(Path(os.environ["RECORDINGS"]).iterdir())]
MACHINES = ["hall-3/pump-07", "hall-3/fan", "Halle 4/Lüfter"]
KEY = os.environ["KEY"]
"""Of a recording in the history of the first machine."""

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)

# Any bytes are valid for the document, but only a recording is scored.
schemathesis.openapi.format("binary", st.sampled_from(RECORDINGS))
for media_type in ("wav", "flac", "ogg", "mpeg", "*"):
    schemathesis.openapi.media_type(f"audio/{media_type}", st.sampled_from(RECORDINGS))
for media_type in ("application/octet-stream", "application/ogg"):
    schemathesis.openapi.media_type(media_type, st.sampled_from(RECORDINGS))

schemathesis.openapi.format(
    "machine-id",
    st.sampled_from(MACHINES)
    | st.lists(st.text("abcÄ漢 .-_#%?&+;0", min_size=1, max_size=12), min_size=1, max_size=4).map(
        lambda parts: "/".join(part.strip(" .") or "x" for part in parts)
    ),
)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Half of the requests are about a machine or a recording that exists."""
    known = {"machine_id": MACHINES[0], "key": KEY}
    if not path_parameters:
        return path_parameters
    return {
        name: known[name] if name in known and len(str(value)) % 2 else value
        for name, value in path_parameters.items()
    }


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leaves out what a schema cannot say.

    The URL and the form must not contradict each other; a form has texts only, whatever the type of
    a value was; and of times, more forms of ISO 8601 are read than those of `date-time`.
    """
    query, form = case.query or {}, case.body
    if isinstance(query, dict) and _other_time(query.get("recorded_at")):
        return False
    if not isinstance(form, dict):
        return True
    if case.media_type == "multipart/form-data" and not all(
        isinstance(value, str | bytes) for value in form.values()
    ):
        return False
    return not _other_time(form.get("recorded_at")) and all(
        not query.get(name) or not form.get(name) or query[name] == form[name]
        for name in ("model_name", "machine", "recorded_at")
    )


def _other_time(value: Any) -> bool:
    """Whether it is a time that the service reads, but no `date-time`."""
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return not DATE_TIME.fullmatch(value)
