"""One Lambda function of the local cloud: its handler in a process of its own.

As on Lambda, it has the environment that the template gives it, nothing of its neighbours'
state, a time limit, and one event at a time.
"""

import importlib
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
from multiprocessing.connection import Connection
from typing import Any

from oddsound_workbench.deploy.template import Function

_spawn = multiprocessing.get_context("spawn")


class InvocationError(Exception):
    """The handler raised, ran out of time, or its process died; the text says which."""


@dataclass
class Context:
    """What a handler may ask of Lambda's context."""

    function_name: str
    timeout_s: float
    aws_request_id: str
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 2048

    def __post_init__(self) -> None:
        account = f"eu-central-1:123456789012:function:{self.function_name}"
        self.invoked_function_arn = f"arn:aws:lambda:{account}"
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self.log_stream_name = "local"
        self._until = time.monotonic() + self.timeout_s

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is stopped."""
        return max(0, round(1000 * (self._until - time.monotonic())))


class FunctionProcess:
    """A function that can be invoked; its process starts anew where it has ended.

    environment : beside the function's own, for all of the local cloud
    """

    def __init__(self, function: Function, environment: dict[str, str]) -> None:
        self.function = function
        self._environment = environment | function.environment
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process, so that the first event need not wait for it."""
        with self._lock:
            self._started()

    def invoke(self, event: dict[str, Any]) -> Any:
        """The handler's answer. Raises InvocationError; a process that died starts anew."""
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
        """Stop the process. A running invocation is ended with it."""
        self._stop()

    def _started(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._pipe, theirs = _spawn.Pipe()
            arguments = (self.function, self._environment, theirs)
            self._process = _spawn.Process(target=_serve, args=arguments, daemon=True)
            with deaf_to_ctrl_c():
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
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started inside inherit a blocked SIGINT.

    Ctrl-C goes to the whole group; only the parent acts on it, and stops the others in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(function: Function, environment: dict[str, str], pipe: Connection) -> None:
    """In the function's process: event after event, until the other end closes."""
    # Logs go where nobody's answers are: a script that reads one line of `serve --json` and no
    # more would else stop this process as soon as the pipe between them is full.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.environ.update(environment, AWS_LAMBDA_FUNCTION_NAME=function.name)
    handler = None
    with suppress(Exception):  # said at the first event, where it is an answer
        handler = importlib.import_module(function.module).handler
    while True:
        try:
            event = pipe.recv()
        except EOFError:
            return
        try:
            handler = handler or importlib.import_module(function.module).handler
            context = Context(function.name, function.timeout_s, str(uuid.uuid4()))
            answer = ("answer", json.loads(json.dumps(handler(event, context))))
        # Whatever a handler raises is, to Lambda, a failed invocation.
        except Exception as error:
            answer = ("error", f"{type(error).__name__}: {error}")
        pipe.send(answer)
