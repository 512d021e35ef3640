"""Lambda's runtime on this machine: AWS's own emulator, around one process of a function.

The emulator ships inside aws-sam-cli. On a root of its own, a function finds the paths that it
finds on Lambda: its code at /var/task, the layers at /opt, the runtime's own packages at
/var/runtime, Python at /var/lang, all read-only; a /tmp for itself; no home, no /dev/shm and
nothing else of this machine but its system libraries. That takes Linux's namespaces. Where they
are not allowed, the same folders are used where they lie; `isolation_refused` says why.

The emulator's own traps: two overlapping requests crash it, so a slot refuses the second; an
error answers HTTP 200 as any answer does; the init and memory figures of its REPORT mean
nothing, while INIT REPORT is measured.
"""

import http.client
import json
import os
import platform
import re
import shlex
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

RUNTIME = PROJECT / "build" / "runtime"
"""awslambdaric and boto3, which Lambda's Python has by itself."""

EMULATORS = ".venv-sam/lib/python*/site-packages/samcli/local/rapid"
EMULATOR_OF = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}

SYSTEM_FOLDERS = ("bin", "etc", "lib", "lib32", "lib64", "nix", "sbin", "usr")
DEVICES = ("null", "zero", "full", "random", "urandom")
TMP_MB = 512
HOME = "/home/sbx_user1051"
"""Where Lambda's user would have a home; it does not exist."""

START_S = 10
BEYOND_TIMEOUT_S = 60
"""The emulator stops a call that is over its time; initialisation comes on top of it."""


class Slot:
    """One process of a function, as Lambda keeps one for each call that runs at a time.

    code : folder that becomes /var/task
    handler : such as app.handler
    opt : folder that becomes /opt, where Python finds opt/python
    environment : of the function; Lambda's own variables come on top of it

    The first call of a slot is a cold start, the next are warm. A call that fails does not end
    the slot; one that runs out of time ends the process, and the next call starts it anew.
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

        Raises RuntimeError, with what was logged, where the emulator does not start.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slot-"))
        (self._folder / "root").mkdir()
        self._port, api_port = _free_ports(2)
        emulator = [
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{api_port}"),
        ]
        command, environment = (self._on_a_root if self.isolated else self._in_place)(emulator)
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
        """The handler's answer to `event`, both as JSON.

        Raises InvocationError with the error's type and text where the handler raised, ran out of
        time, died, or answered more than Lambda passes on. Raises RuntimeError where another call
        of this slot has not ended.
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
        """The emulator's own answer: status, which is 200 for most errors too, and body."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError(f"{self.name} is busy; a slot takes one event at a time")
        try:
            return self._post(json.dumps(event).encode())
        finally:
            self._busy.release()

    def log(self) -> str:
        """What the function and the emulator wrote since the slot was started."""
        return (self._started() / "log").read_text(errors="replace")

    def init_ms(self) -> list[float]:
        """Milliseconds of every initialisation, as the emulator measured them."""
        return [float(ms) for ms in re.findall(r"INIT REPORT\(durationMs: ([\d.]+)\)", self.log())]

    def stop(self) -> None:
        """End the processes. The log goes with them."""
        if self._process is not None:
            # The namespace's first process dies with this one, and all others with that one.
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

    def _on_a_root(self, emulator: list[str]) -> tuple[list[str], dict[str, str]]:
        """The command of a slot with Lambda's paths, and what they add to the environment."""
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
        return _on_a_root(self._started() / "root", read_only, command), environment

    def _in_place(self, emulator: list[str]) -> tuple[list[str], dict[str, str]]:
        """The same without namespaces: paths of this machine, and nothing is read-only."""
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
            "127.0.0.1", self._port, timeout=self.timeout_s + BEYOND_TIMEOUT_S
        )
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise InvocationError(f"the emulator is gone: {error!r}; {self._tail()}") from error
        finally:
            connection.close()

    def _await_listening(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
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
            raise RuntimeError(f"{self.name} is not started")
        return self._folder


@cache
def emulator_path() -> Path:
    """AWS's emulator for this machine. Raises RuntimeError where there is none."""
    name = EMULATOR_OF.get(platform.machine()) if sys.platform == "linux" else None
    if name is None:
        raise RuntimeError(
            f"Lambda's emulator runs on Linux on {' or '.join(EMULATOR_OF)};"
            f" this is {sys.platform} on {platform.machine()}"
        )
    found = sorted(PROJECT.glob(f"{EMULATORS}/{name}"))
    if not found:
        raise RuntimeError(f"{name} is not in .venv-sam; `make .venv-sam` installs it")
    return found[-1]


@cache
def isolation_refused() -> str | None:
    """Why this machine gives a process no root of its own; None where it does."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                _on_a_root(Path(folder), {Path(folder): "/opt"}, ["/bin/sh", "-c", ":"]),
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


def _on_a_root(root: Path, read_only: Mapping[Path, str], command: list[str]) -> list[str]:
    """`command` on a new root at `root`, which is gone when the command has ended.

    read_only : folder of this machine -> its path on the new root
    The command runs in a namespace of process ids: what it starts ends with it.
    """
    unshare = _tool("unshare")
    at = shlex.quote(str(root))
    lines = ["set -e", f"mount -t tmpfs none {at}", f"cd {at}"]
    lines += ["mkdir -p dev home opt proc tmp var/task"]
    lines += [f"mount -t tmpfs -o size={TMP_MB}m none tmp"]
    for name in SYSTEM_FOLDERS:
        folder = Path("/", name)
        if folder.is_symlink():
            lines.append(f"ln -s {folder.readlink()} {name}")
        elif folder.is_dir():
            lines.append(f"mkdir {name}; mount --rbind /{name} {name}")
    for name in DEVICES:
        lines.append(f"touch dev/{name}; mount --bind /dev/{name} dev/{name}")
    # A container may not mount a /proc of its own; then it sees the one it has.
    lines.append("mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc")
    for folder, path in read_only.items():
        there, here = shlex.quote(str(folder)), shlex.quote(path.lstrip("/"))
        options = ",".join(["remount", "bind", "ro", *_flags(folder)])
        lines.append(f"mkdir -p {here}; mount --rbind {there} {here}; mount -o {options} {here}")
    lines.append("mount -o remount,bind,ro .")
    lines.append(f"exec {unshare} --root=. --wd=/var/task {shlex.join(command)}")
    namespaces = ("--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
    return [unshare, *namespaces, "/bin/sh", "-c", "\n".join(lines)]


def _flags(folder: Path) -> list[str]:
    """What the folder's file system is mounted with, which cannot be taken off it here."""
    flags = {"nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV, "noexec": os.ST_NOEXEC}
    return [name for name, flag in flags.items() if os.statvfs(folder).f_flag & flag]


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.defpath}:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"there is no {name} (of util-linux) on this machine")
    return found


def _python_arguments(handler: str) -> list[str]:
    """-S leaves out the packages of this machine's Python."""
    return ["-S", "-m", "awslambdaric", handler]


def _base_python() -> Path:
    return Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"


def _free_ports(number: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
