"""Lambda's Invoke of the local stack: runs a function's process and returns what it answers."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from oddsound_workbench.local.function_process import InvocationError

PATH = re.compile(r"/(?P<name>\w+)")
FUNCTION_ERROR = "X-Amz-Function-Error"

type Invoke = Callable[[dict[str, Any]], Any]


class Invocations(ThreadingHTTPServer):
    """POST /NAME with an event -> the answer of the function with this logical id.

    functions : by logical id; they are added when their processes run
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.functions: dict[str, Invoke] = {}

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Invoke one function; what its handler raises is an answer too, as on Lambda."""
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = PATH.fullmatch(self.path)
        functions = cast("Invocations", self.server).functions
        if found is None or found["name"] not in functions:
            names = ", ".join(sorted(functions)) or "none"
            self.send_error(404, f"no function {self.path!r}; there are: {names}")
            return
        failed = False
        try:
            answer = functions[found["name"]](event)
        except InvocationError as error:
            failed, answer = True, _error(str(error))
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if failed:
            self.send_header(FUNCTION_ERROR, "Unhandled")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Print nothing: functions log what they do."""


def _error(text: str) -> dict[str, str]:
    """The answer of a function that raised; the text begins with the name of the exception."""
    name, colon, message = text.partition(": ")
    named = colon and name.isidentifier()
    return {"errorType": name, "errorMessage": message} if named else {"errorMessage": text}


@contextmanager
def serving() -> Iterator[Invocations]:
    """Serve invocations until the context ends."""
    with Invocations() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
