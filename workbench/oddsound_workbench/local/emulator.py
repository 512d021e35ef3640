"""Lambda's runtime on this machine: AWS's own emulator, with one process of a function.

The emulator is part of aws-sam-cli. If Linux namespaces are allowed, a function gets its own
root with Lambda's paths: its code at /var/task, the layers at /opt, the runtime's packages at
/var/runtime, Python at /var/lang, all read-only; its own /tmp; no home folder, no /dev/shm, and
nothing else of this machine except the system libraries. Otherwise the same folders are used
without being mounted; `isolation.isolation_refused` returns the reason.

Pitfalls of the emulator: it crashes on overlapping requests, so an instance refuses the second
one; it answers an error with HTTP 200, like any other answer; the init duration and the memory
in its REPORT lines mean nothing, while INIT REPORT is measured.
"""

import http.client
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oddsound_workbench.files import PROJECT
from oddsound_workbench.local.function_process import InvocationError
from oddsound_workbench.local.isolation import isolation_refused, on_new_root

RUNTIME = PROJECT / "build" / "runtime"
"""awslambdaric and boto3, which Lambda's Python runtime contains."""

EMULATORS = ".venv-sam/lib/python*/site-packages/samcli/local/rapid"
EMULATOR_OF = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}

HOME = "/home/sbx_user1051"
"""The home folder of Lambda's user; it does not exist."""

START_S = 10
TIMEOUT_MARGIN_S = 60
"""Added to the timeout of a call: the emulator stops the call, and does not count the init."""


class FunctionInstance:
    """One process of a function; Lambda has one for each concurrent call.

    code : folder that becomes /var/task
    handler : module and function, such as app.handler
    opt : folder that becomes /opt; Python imports from its subfolder python
    environment : of the function; Lambda's own variables are added

    The first call of an instance is a cold start, later ones are warm. A failed call does not
    end the instance. A timeout ends the process, and the next call starts a new one.
    """

    def __init__(
        self,
        code: Path,
        handler: str,
        opt: Path,
        environment: Mapping[str, str],
        *,
        timeout_s: int = 3,
        memory_mb: int = 128,
        name: str = "function",
        isolated: bool | None = None,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.isolated = isolation_refused() is None if isolated is None else isolated
        self._code, self._handler, self._opt = code.resolve(), handler, opt.resolve()
        self.environment = {
            **environment,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "HOME": HOME,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
        }
        self._busy = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._folder: Path | None = None

    def start(self) -> None:
        """Start the emulator; the function's own process starts with the first call.

        Raises RuntimeError, with the end of the log, if the emulator does not start.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="function-"))
        (self._folder / "root").mkdir()
        self._port, api_port = _free_ports(2)
        emulator = [
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{api_port}"),
        ]
        command, environment = (
            self._on_own_root(emulator) if self.isolated else self._in_place(emulator)
        )
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._code,
                env=environment | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_listening()

    def invoke(self, event: Any) -> Any:
        """The handler's answer to `event`, both as JSON values.

        Raises InvocationError with the type and text of the error if the handler raised, timed
        out, died, or its answer is larger than Lambda allows. Raises RuntimeError if another call
        of this instance is running.
        """
        status, body = self.call(event)
        try:
            answer = json.loads(body)
        except ValueError:
            text = body.decode(errors="replace").strip()
            raise InvocationError(text or f"no answer, HTTP {status}: {self._tail()}") from None
        if isinstance(answer, dict) and "errorMessage" in answer:
            raise InvocationError(f"{answer.get('errorType')}: {answer['errorMessage']}")
        return answer

    def call(self, event: Any) -> tuple[int, bytes]:
        """The emulator's own answer: its status, which is 200 for most errors too, and its body."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"{self.name} is busy; an instance handles one event at a time")
        try:
            return self._post(json.dumps(event).encode())
        finally:
            self._busy.release()

    def log(self) -> str:
        """Everything that the function and the emulator have written since `start`."""
        return (self._started() / "log").read_text(errors="replace")

    def init_ms(self) -> list[float]:
        """Duration of every initialisation in milliseconds, as measured by the emulator."""
        return [float(ms) for ms in re.findall(r"INIT REPORT\(durationMs: ([\d.]+)\)", self.log())]

    def stop(self) -> None:
        """End the processes and delete the log."""
        if self._process is not None:
            # This also kills the first process of the namespace, and so all others in it.
            (self._process.kill if self.isolated else self._process.terminate)()
            self._process.wait(timeout=START_S)
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _on_own_root(self, emulator: list[str]) -> tuple[list[str], dict[str, str]]:
        """The command on a root with Lambda's paths, and the environment that it needs."""
        read_only = {
            self._code: "/var/task",
            self._opt: "/opt",
            RUNTIME: "/var/runtime",
            Path(sys.base_prefix): "/var/lang",
            emulator_path().parent: "/var/rapid",
        }
        python = ["/var/lang/bin/python3.13", *_python_arguments(self._handler)]
        command = [f"/var/rapid/{emulator_path().name}", *emulator, *python]
        environment = {
            "LAMBDA_TASK_ROOT": "/var/task",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LD_LIBRARY_PATH": "/var/lang/lib",
            "PYTHONPATH": "/opt/python:/var/runtime",
        }
        return on_new_root(self._started() / "root", read_only, command), environment

    def _in_place(self, emulator: list[str]) -> tuple[list[str], dict[str, str]]:
        """The same without namespaces: this machine's paths, all of them writable."""
        python = [str(_base_python()), *_python_arguments(self._handler)]
        environment = {
            "LAMBDA_TASK_ROOT": str(self._code),
            "LAMBDA_RUNTIME_DIR": str(RUNTIME),
            "PATH": os.defpath,
            "PYTHONPATH": f"{self._opt / 'python'}:{RUNTIME}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self._started() / "root"),
        }
        return [str(emulator_path()), *emulator, *python], environment

    def _post(self, body: bytes) -> tuple[int, bytes]:
        self._started()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=self.timeout_s + TIMEOUT_MARGIN_S
        )
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise InvocationError(
                f"the emulator does not answer: {error!r}; {self._tail()}"
            ) from error
        finally:
            connection.close()

    def _await_listening(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.005)
        raise RuntimeError(f"the emulator of {self.name} did not start: {self._tail()}")

    def _tail(self) -> str:
        return self.log()[-2000:].strip()

    def _started(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self._folder


@cache
def emulator_path() -> Path:
    """AWS's emulator for this machine. Raises RuntimeError if there is none."""
    name = EMULATOR_OF.get(platform.machine()) if sys.platform == "linux" else None
    if name is None:
        raise RuntimeError(
            f"Lambda's emulator runs on Linux on {' or '.join(EMULATOR_OF)};"
            f" this is {sys.platform} on {platform.machine()}"
        )
    found = sorted(PROJECT.glob(f"{EMULATORS}/{name}"))
    if not found:
        raise RuntimeError(f"{name} is missing from .venv-sam; run `make .venv-sam`")
    return found[-1]


def _python_arguments(handler: str) -> list[str]:
    """-S excludes the packages of this machine's Python."""
    return ["-S", "-m", "awslambdaric", handler]


def _base_python() -> Path:
    return Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def _free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
