"""The servers that are compared: how each is installed, started and reached, and its memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
BUILD = ROOT / "build" / "load"
START_S = 120
STOP_S = 20
CORES = os.cpu_count() or 1
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
"""For all servers alike: with more threads of BLAS, each of them is slower."""

OURS, TUTORIAL, MLSERVER, BENTOML = "oddsound", "tutorial", "MLServer", "BentoML"
PER_CORE, ONE_PROCESS = ", a process per core", ", one process"
OURS_ONE = OURS + ONE_PROCESS
MLSERVER_PER_CORE, BENTOML_PER_CORE = (name + PER_CORE for name in (MLSERVER, BENTOML))
"""Each server as its documentation starts it, which of ours is a process per core; and the other
way round."""


@dataclass(frozen=True)
class Server:
    """A server to compare.

    command : from three free ports; the first is where the server has to listen
    packages : of its own environment; empty for those of this project
    variables : of its environment, from the same ports
    """

    name: str
    path: str
    command: Callable[[list[int]], list[str]]
    packages: tuple[str, ...] = ()
    folder: Path = ROOT
    variables: Callable[[list[int]], Mapping[str, str]] = field(default=lambda _: {})

    @property
    def environment(self) -> Path:
        """The folder of its environment."""
        name = self.name.removesuffix(PER_CORE).lower()
        return BUILD / name if self.packages else Path(sys.prefix)

    def install(self) -> None:
        """Install its packages, unless they are. Raises CalledProcessError."""
        done = self.environment / "installed.json"
        if not self.packages or (done.exists() and done.read_text() == json.dumps(self.packages)):
            return
        uv = str(Path(sys.prefix) / "bin" / "uv")
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        quiet = [uv, "venv", "--quiet", "--clear", "--python", python, str(self.environment)]
        subprocess.run(quiet, check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", *self.packages],
            check=True,
            cwd=ROOT,
            env={**os.environ, "VIRTUAL_ENV": str(self.environment)},
        )
        done.write_text(json.dumps(self.packages))

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter."""
        code = "import importlib.metadata as m, json, sys; print(json.dumps({d.metadata['Name']:"
        code += " d.version for d in m.distributions() if d.metadata['Name'] in sys.argv[1:]}))"
        names = ("mlserver", "bentoml", "fastapi", "uvicorn", "librosa", "scikit-learn", "numpy")
        python = self.environment / "bin" / "python"
        done = subprocess.run([python, "-c", code, *names], capture_output=True, check=True)
        return dict(json.loads(done.stdout))


def servers() -> list[Server]:
    """All servers, ours first."""
    uvicorn = ("python", "-m", "uvicorn", "--host", "127.0.0.1", "--log-level", "warning", "--port")
    serve = ("python", "-m", "oddsound_workbench.cli", "serve", "--http-only", "--in-memory")
    tutorial = Server(
        TUTORIAL,
        "/predict",
        lambda p: [*uvicorn, str(p[0]), "tutorial:app"],
        ("librosa>=1.0", "fastapi", "uvicorn", "python-multipart", "scikit-learn"),
        PEERS,
        lambda _: {
            "PYTHONPATH": str(ROOT / "benchmarks"),
            "MODEL_PATH": str(BUILD / "tutorial.joblib"),
        },
    )
    return [
        Server(OURS, "/predict-anomaly", lambda p: [*serve, "--port", str(p[0])]),
        Server(
            OURS_ONE, "/predict-anomaly", lambda p: [*serve, "--port", str(p[0]), "--workers", "1"]
        ),
        tutorial,
        _mlserver(MLSERVER, {}),
        _mlserver(MLSERVER_PER_CORE, {"MLSERVER_PARALLEL_WORKERS": str(CORES)}),
        _bentoml(BENTOML, {}),
        _bentoml(BENTOML_PER_CORE, {"WORKERS": str(CORES)}),
    ]


def _mlserver(name: str, variables: Mapping[str, str]) -> Server:
    return Server(
        name,
        "/predict",
        lambda _: ["mlserver", "start", "."],
        ("mlserver==1.7.1", "uvloop<0.22", "-e", "."),  # a newer uvloop makes no event loop
        PEERS / "mlserver",
        lambda p: {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(p[0]),
            "MLSERVER_GRPC_PORT": str(p[1]),
            "MLSERVER_METRICS_PORT": str(p[2]),
            **variables,
        },
    )


def _bentoml(name: str, variables: Mapping[str, str]) -> Server:
    serve = ("bentoml", "serve", "bento:Recordings", "--host", "127.0.0.1", "--port")
    return Server(
        name,
        "/predict",
        lambda p: [*serve, str(p[0])],
        ("bentoml==1.4.40", "-e", "."),
        PEERS,
        lambda _: {
            "BENTOML_HOME": str(BUILD / "bentoml-home"),
            "BENTOML_DO_NOT_TRACK": "True",
            **variables,
        },
    )


def prepare_tutorial(server: Server) -> None:
    """Train the tutorial's model, unless it is."""
    path = Path(server.variables([0])["MODEL_PATH"])
    if not path.exists():
        python = str(server.environment / "bin" / "python")
        variables = {**os.environ, **server.variables([0])}
        subprocess.run([python, PEERS / "train_tutorial.py", path], check=True, env=variables)


@contextmanager
def running(server: Server, ask: Callable[[str], Any]) -> Iterator[tuple[str, int]]:
    """A server in a process group of its own: its URL and the id of its first process.

    ask : raises OSError as long as the URL gives no prediction
    Raises RuntimeError if it gives none after START_S, with the end of what the server printed.
    """
    ports = free_ports(3)
    url = f"http://127.0.0.1:{ports[0]}{server.path}"
    log = BUILD / f"{server.name.replace(', ', '-').replace(' ', '-').lower()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    program, *arguments = server.command(ports)
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(server.environment / "bin" / program), *arguments],
            cwd=server.folder,
            env={
                **{k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"},
                **ONE_THREAD,
                "MODELS_CONFIG_PATH": str(ROOT / "models" / "models.json"),
                "PATH": f"{server.environment / 'bin'}:{os.environ['PATH']}",
                **server.variables(ports),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(server, process, lambda: ask(url), log)
        yield url, process.pid
    finally:
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(
    server: Server, process: subprocess.Popen[bytes], ask: Callable[[], Any], log: Path
) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            ask()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                text = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{server.name} gives no prediction ({error}): {text}") from None
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def post(url: str, form: bytes, content_type: str) -> Any:
    """The answer to a form. Raises OSError (a URLError is one) if it is not 200 and JSON."""
    request = urllib.request.Request(url, form, {"Content-Type": content_type})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  127.0.0.1
            return json.loads(response.read())
    except ValueError as error:
        raise OSError(f"{url} answered no JSON: {error}") from None


def memory_mb(pid: int) -> float:
    """Memory of a process and its descendants; pages that they share count once. Needs Linux."""
    return round(sum(map(_pss_kb, _tree(pid))) / 1000, 1)


def processor_s(pid: int) -> float:
    """Processor time of a process and its descendants so far. Needs Linux."""
    return sum(map(_processor_s, _tree(pid)))


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:  # it grows
        found += children.get(one, [])
    return found


def _processor_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
