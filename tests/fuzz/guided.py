"""atheris on the borders of the service: it keeps inputs that reach new code, and alters them.

usage: python -m tests.fuzz.guided TARGET CORPUS [OPTION OF LIBFUZZER]...

What is checked is what the tests of this folder check. libFuzzer writes an input that fails, hangs
or takes too much memory to a file, and ends with an error.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(
    include=["oddsound", "python_multipart", "starlette.formparsers", "functions"]
):
    from functions.api.app import app
    from oddsound.aws.messages import jobs_of_event, jobs_of_message
    from oddsound.compiled import reading
    from oddsound.errors import InvalidJobError, ModelArtifactError

from oddsound import catalogue
from tests.fuzz import test_configuration, test_events, test_recordings, test_requests

SHIPPED = test_configuration.SHIPPED
assert SHIPPED is not None
ENTRY = catalogue.parse(test_configuration.TEXT, "models.json")["fan"]
COMPILED = (SHIPPED.parent / str(ENTRY.compiled_path)).read_bytes()


def recordings(data: bytes) -> None:
    """The same by bytes and by file, finite, or refused with a reason."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        test_recordings.same_by_bytes_and_by_file(data, Path(file.name))


def models(data: bytes) -> None:
    """A models.json is used, or refused with a reason."""
    test_configuration.use(data)


def compiled(data: bytes) -> None:
    """A compiled model is read, or refused with a reason."""
    try:
        reading.read(ENTRY, lambda _key: data)
    except ModelArtifactError as error:
        str(error).encode()


def messages(data: bytes) -> None:
    """The body of a message names objects, or is refused with a reason."""
    try:
        test_events.check(jobs_of_message(data.decode("utf-8", "replace")))
    except InvalidJobError as error:
        str(error).encode()


def events(data: bytes) -> None:
    """An event of S3 names objects, or is refused with a reason."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(event, dict):
        return  # Lambda calls the function with an object
    try:
        test_events.check(jobs_of_event(event))
    except InvalidJobError as error:
        str(error).encode("utf-8", "backslashreplace")


def forms(data: bytes) -> None:
    """A form is scored, or refused with a documented status and an error body."""
    asyncio.run(_post_form(data))


async def _post_form(body: bytes) -> None:
    parts = [
        {"type": "http.request", "body": body[: len(body) // 2], "more_body": True},
        {"type": "http.request", "body": body[len(body) // 2 :], "more_body": False},
    ]
    sent: list[Any] = []
    answered = asyncio.Event()

    async def receive() -> Any:
        if parts:
            return parts.pop(0)
        await answered.wait()  # a client that hangs up before gets no answer
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    content_type = f"multipart/form-data; boundary={test_requests.BOUNDARY}".encode()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict-anomaly",
        "raw_path": b"/predict-anomaly",
        "query_string": b"",
        "headers": [(b"content-type", content_type)],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
    }
    await app(scope, receive, send)
    answered.set()
    status = sent[0]["status"]
    answer = json.loads(b"".join(part.get("body", b"") for part in sent[1:]))
    assert status in test_requests.STATUSES, (status, answer)
    assert status == 200 or set(answer) == {"error", "detail"}


TARGETS: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
    "recordings": (
        recordings,
        [seed for seeds in test_recordings.SEEDS.values() for seed in seeds],
    ),
    "models": (models, [test_configuration.TEXT]),
    "compiled": (compiled, [COMPILED]),
    "messages": (messages, [json.dumps(event).encode() for event in test_events.EVENTS]),
    "events": (events, [json.dumps(event).encode() for event in test_events.EVENTS]),
    "forms": (forms, [test_requests.FORM]),
}


def main(target: str, corpus: str, *options: str) -> None:
    """Fuzz one target. corpus : folder of inputs that reach different code; it is added to"""
    check, seeds = TARGETS[target]
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(folder)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
