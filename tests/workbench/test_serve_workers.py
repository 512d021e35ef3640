"""`oddsound serve --http-only --workers 2`: several processes, one service."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load.servers import post
from tests.cloud import NORMAL
from tests.workbench.command import run

pytestmark = pytest.mark.slow


@pytest.fixture
def service(configured: Path, tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--http-only", "--json"]
    command += ["--port", "0", "--workers", "2", "--data", "data", "--models", str(configured)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"], process
        finally:
            process.terminate()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  127.0.0.1
        return response.read().decode()


def total(metrics: str, series: str) -> float:
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(series))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_are_one_service_that_ends_as_a_whole(
    service: tuple[str, "subprocess.Popen[str]"], sent: signal.Signals
) -> None:
    url, process = service
    for _ in range(8):  # each on a connection of its own, which either of them accepts
        assert post(f"{url}/predict-anomaly", NORMAL, "audio/wav")["prediction"] == "normal"
    assert total(get(f"{url}/metrics"), "oddsound_predictions_total") == 8
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers: list[str] = children.read_text().split() if children.exists() else []
    if workers:
        assert len(workers) >= 2
    process.send_signal(sent)
    assert process.wait(30) == (0 if sent == signal.SIGTERM else -sent)
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_more_workers_than_one_need_http_only() -> None:
    result = run("serve", "--workers", "2")
    assert result.exit_code == 2
    assert "--http-only" in result.output
