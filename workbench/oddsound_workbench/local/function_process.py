"""One Lambda function of the local cloud: its handler in a separate process.

As on Lambda, a function has the environment of the template, shares no state with other
functions, has a timeout, and handles one event at a time.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from oddsound_workbench.deploy.events import ACCOUNT, REGION
from oddsound_workbench.deploy.template import Function
from oddsound_workbench.local import handlers

_spawn = multiprocessing.get_context("spawn")


class InvocationError(Exception):
    """The handler raised, timed out, or its process died; the text says which."""


@dataclass
class Context:
    """The part of Lambda's context object that handlers use."""

    function_name: str
    timeout_s: float
    aws_request_id: str
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 2048

    def __post_init__(self) -> None:
        self.invoked_function_arn = (
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"
        )
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = "local"
        self._deadline = time.monotonic() + self.timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout."""
        return max(0, round(1000 * (self._deadline - time.monotonic())))


class FunctionProcess:
    """A function that can be invoked; its process is started again if it has ended.

    environment : variables of the local cloud, in addition to the function's own
    """

    def __init__(self, function: Function, environment: dict[str, str]) -> None:
        self.function = function
        self._environment = environment | function.environment
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process, so that the first event does not wait for it."""
        with self._lock:
            self._started()

    def invoke(self, event: dict[str, Any]) -> Any:
        """Returns the handler's answer. Raises InvocationError."""
        with self._lock:
            pipe = self._started()
            try:
                pipe.send(event)
                if not pipe.poll(self.function.timeout_s):
                    self._stop()
                    raise InvocationError(f"timed out after {self.function.timeout_s} s")
                kind, value = pipe.recv()
            except (EOFError, OSError) as error:
                self._stop()
                raise InvocationError("the process of the function died") from error
        if kind == "error":
            raise InvocationError(value)
        return value

    def close(self) -> None:
        """Stop the process, and any invocation that is running in it."""
        self._stop()

    def _started(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._pipe, theirs = _spawn.Pipe()
            arguments = (self.function, self._environment, theirs)
            self._process = _spawn.Process(target=_serve, args=arguments, daemon=True)
            with sigint_blocked():
                self._process.start()
            theirs.close()
        return self._pipe

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.join(timeout=10)
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Processes that are started inside the context inherit a blocked SIGINT.

    A terminal sends Ctrl-C to the whole process group; only the parent must react to it, and
    stop the others in order.
    """
    # The first start of a process also starts the resource tracker, which unblocks SIGINT.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(function: Function, environment: dict[str, str], pipe: Connection) -> None:
    """Runs in the function's process: handles events until the other end closes."""
    # Logs go to stderr: a script that reads only the first line of `serve --json` would
    # otherwise block this process as soon as the pipe between them is full.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.environ.update(environment, AWS_LAMBDA_FUNCTION_NAME=function.name)
    handler = None
    with suppress(Exception):  # reported as the answer to the first event
        handler = handlers.load(function.module).handler
    while True:
        try:
            event = pipe.recv()
        except EOFError:
            return
        try:
            handler = handler or handlers.load(function.module).handler
            context = Context(function.name, function.timeout_s, str(uuid.uuid4()))
            answer = ("answer", json.loads(json.dumps(handler(event, context))))
        # Whatever a handler raises is a failed invocation, as on Lambda.
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error}")
        pipe.send(answer)
