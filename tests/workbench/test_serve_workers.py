"""`oddsound serve --http-only --workers 2`: several processes, one service."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException as Refused

from oddsound.http.app import create_app
from oddsound.http.workers import STARTUP_FAILURE
from oddsound_workbench.cli.serving import MAX_WORKERS, default_workers
from tests.cloud import NORMAL
from tests.workbench.command import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux"),
]

TIMEOUT_S = 30


class Service:
    """A service of two processes, and what the system knows of them."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", models: Path) -> None:
        self.url, self.process, self.models = url, process, models
        self.port = int(url.rpartition(":")[2])

    def workers(self) -> list[int]:
        """The processes that serve: children of the fork server, which is a child of the first."""
        return [
            grandchild for child in children(self.process.pid) for grandchild in children(child)
        ]

    def connections(self) -> list[int]:
        """Connections of each process that serves."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = {
            f"socket:[{row[9]}]" for row in rows if int(row[1].partition(":")[2], 16) == self.port
        }
        return [len(ours & set(files(pid))) for pid in self.workers()]

    def connect(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        connection.connect()
        return connection


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:  # it has ended
        return []


def files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            found.append(str(link.readlink()))
    return found


@contextmanager
def started(trained: Path, folder: Path) -> Iterator[Service]:
    models = shutil.copytree(trained.parent, folder / "models") / trained.name
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--http-only", "--json"]
    command += ["--port", "0", "--workers", "2", "--data", "data", "--models", str(models)]
    environment = {**os.environ, "MODELS_REFRESH_S": "0"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            service = Service(json.loads(process.stdout.readline())["url"], process, models)
            until(lambda: len(service.workers()) == 2)
            with closing(service.connect()) as one, closing(service.connect()) as other:
                for connection in (one, other):  # both processes serve
                    assert get(connection, "/health/ready")[0] == 200
            yield service
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(trained, tmp_path_factory.mktemp("service")) as made:
        yield made


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def get(connection: HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def score(connection: HTTPConnection, query: str = "") -> Any:
    headers = {"Content-Type": "audio/wav"}
    connection.request("POST", f"/predict-anomaly{query}", NORMAL, headers)
    return json.loads(connection.getresponse().read())


def total(metrics: str, series: str) -> float:
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(series))


def test_a_connection_goes_to_the_process_that_has_the_fewest(service: Service) -> None:
    until(lambda: service.connections() == [0, 0])
    with ExitStack() as opened:
        of: list[list[HTTPConnection]] = [[], []]
        for number in range(1, 9):
            connection = opened.enter_context(closing(service.connect()))
            until(lambda number=number: sum(service.connections()) == number)  # type: ignore[misc]
            now = service.connections()
            of[0 if now[0] > len(of[0]) else 1].append(connection)
        assert service.connections() == [4, 4]
        for connection in of[0][:3]:
            connection.close()
        until(lambda: service.connections() == [1, 4])
        for _ in range(3):
            opened.enter_context(closing(service.connect()))
        until(lambda: service.connections() == [4, 4])


def test_the_processes_count_together(service: Service) -> None:
    with closing(service.connect()) as one, closing(service.connect()) as other:
        name = "oddsound_predictions_total"
        before = total(get(one, "/metrics")[1], name)
        for connection in (one, other, one, other, other):
            assert score(connection)["prediction"] == "normal"
        texts = [get(connection, "/metrics")[1] for connection in (one, other)]
        assert [total(text, name) - before for text in texts] == [5, 5]


def test_all_processes_write_the_same_history(service: Service) -> None:
    with closing(service.connect()) as one, closing(service.connect()) as other:
        for number, connection in enumerate((one, other, one, other)):
            score(connection, f"?machine=hall-3/pump-07&recorded_at=2026-11-01T00:00:0{number}Z")
        for connection in (one, other):
            history = json.loads(get(connection, "/machines/hall-3/pump-07/history")[1])
            assert [row["recorded_at"][-3:-1] for row in history["rows"]] == [
                "03",
                "02",
                "01",
                "00",
            ]


def test_a_new_models_json_is_live_in_all_processes(service: Service) -> None:
    text = json.loads(service.models.read_text())
    text["renamed"] = text.pop("bearing")
    with closing(service.connect()) as one, closing(service.connect()) as other:
        for connection in (one, other):
            assert "bearing" in get(connection, "/models")[1]
        service.models.write_text(json.dumps(text))
        for connection in (one, other):
            until(lambda connection=connection: "renamed" in get(connection, "/models")[1])  # type: ignore[misc]


def test_a_process_that_ends_is_replaced(service: Service) -> None:
    before = service.workers()
    with closing(service.connect()) as one, closing(service.connect()) as other:
        scored = total(get(one, "/metrics")[1], "oddsound_predictions_total")
        os.kill(before[0], signal.SIGKILL)
        answers = []
        for connection in (one, other):
            try:
                answers.append(get(connection, "/")[0])
            except (OSError, HTTPException):  # the connections of the other process stay
                answers.append(0)
        assert sorted(answers) == [0, 200]
    until(lambda: len(service.workers()) == 2 and before[0] not in service.workers())
    with ExitStack() as opened:  # the new one serves, and what was counted before is not lost

        def all_serve() -> bool:
            opened.enter_context(closing(service.connect()))
            return min(service.connections()) > 0

        until(all_serve)
    with closing(service.connect()) as connection:
        text = get(connection, "/metrics")[1]
    assert total(text, "oddsound_predictions_total") == scored
    assert total(text, "oddsound_http_requests_in_progress") == 1


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_together(
    sent: signal.Signals, service: Service, trained: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if sent == signal.SIGKILL:
            service = stack.enter_context(started(trained, tmp_path))
        process = service.process
        with closing(service.connect()) as idle:  # which holds up nobody
            get(idle, "/")
            pids = [pid for child in children(process.pid) for pid in (child, *children(child))]
            assert len(pids) >= 3
            process.send_signal(sent)
            assert process.wait(TIMEOUT_S) == (0 if sent == signal.SIGTERM else -sent)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(service.url)  # noqa: S310  127.0.0.1


def test_a_service_whose_processes_cannot_start_ends(tmp_path: Path) -> None:
    package = tmp_path / "fastapi" / "__init__.py"
    package.parent.mkdir()
    package.write_text("raise RuntimeError('this package is broken')")
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--http-only"]
    done = subprocess.run(
        [*command, "--in-memory", "--port", "0", "--workers", "2"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=TIMEOUT_S,
    )
    assert done.returncode == STARTUP_FAILURE
    assert "this package is broken" in done.stderr
    assert "cannot be started" in done.stderr


def test_processes_share_the_limits_of_the_service(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_PREDICTIONS", "5")
    monkeypatch.setenv("MAX_WAITING_REQUESTS", "3")
    predictions = create_app(2).state.predictions
    assert (predictions.computing, predictions.places) == (3, 5)
    with ExitStack() as taken:
        for _ in range(5):
            taken.enter_context(predictions.place())
        with pytest.raises(Refused) as refused:
            taken.enter_context(predictions.place())
    assert "no more than 2 may wait in one of 2 processes" in refused.value.detail


def test_by_default_there_is_a_process_for_each_core() -> None:
    assert default_workers() == min(os.process_cpu_count() or 1, MAX_WORKERS)


def test_more_workers_than_one_need_http_only() -> None:
    result = run("serve", "--workers", "2")
    assert result.exit_code == 2
    assert "--http-only" in result.output
