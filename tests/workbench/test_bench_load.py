"""The benchmark under load: its tables in the docs, and what it measures."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load import run, servers, table

PAGE = table.PAGE.read_text(encoding="utf-8")
FIGURES = json.loads(table.RESULTS.read_text(encoding="utf-8"))


def row(server: str, requests: int, **others: Any) -> table.Row:
    times = {"p50_ms": 10.0, "p95_ms": 20.0, "p99_ms": 1234.0}
    case = {"recording_s": 10, "connections": 8, "round": 0, "errors": 0, "refused": 0}
    found = {"server": server, "requests": requests, "seconds": 2.0, "memory_mb": 100.4}
    found["processor_s"] = requests * 0.0075
    return found | case | times | others


def figures(*rows: table.Row) -> table.Figures:
    machine = {"date": "2026-11-28", "cores": 2, "load": [0.5], "python": "3.13.0"}
    return {
        "machine": machine,
        "versions": {"MLServer": {"mlserver": "1.7.1", "numpy": "2.5"}},
        "missing": {},
        "rows": list(rows),
        "saturation": {},
    }


def test_the_documentation_has_the_tables_of_the_figures() -> None:
    assert table.tables(FIGURES) in PAGE
    assert table.replaced(PAGE, FIGURES) == PAGE


def test_a_row_has_medians_of_the_rounds_and_the_sum_of_the_errors() -> None:
    rounds = [
        row("oddsound", 100),
        row("oddsound", 300, round=1, errors=1),
        row("oddsound", 260, round=2, refused=40, memory_mb=120.0),
    ]
    text = table.tables(figures(*rounds))
    assert "3 rounds" in text
    assert "MLServer 1.7.1" in text
    assert "| oddsound | 8 | 110.0 | 10 | 20 | 1,234 | 7.5 | 41 | 120 |" in text


def test_the_ratios_are_those_of_the_throughputs() -> None:
    ours, one = row(servers.OURS, 500), row(servers.OURS_ONE, 300)
    text = table.tables(figures(ours, one, row("MLServer", 100), row("BentoML", 150)))
    assert "| MLServer | 5.0 | 3.0 | 2 |" in text
    assert "| BentoML | 3.3 | 2.0 | 3 |" in text
    assert "| tutorial |" not in text


def test_what_is_missing_and_what_was_saturated_is_said() -> None:
    found = figures(row("oddsound", 100))
    found["missing"]["BentoML"] = "no wheel"
    found["saturation"]["oddsound"] = {
        **{"seconds": 120.2, "requests": 12345, "errors": 0, "refused": 2},
        "memory_mb": [100.0, 130.4, 110.0],
    }
    text = table.tables(found)
    assert "BentoML is missing" in text
    assert "| oddsound | 120 | 12,345 | 2 | 100, 130, 110 |" in text


def test_without_wrk_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        run.main([])


class Answers(BaseHTTPRequestHandler):
    """Answers every second form with 503."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200 if len(self.bodies) % 2 else 503)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/predict"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_the_form_and_counts_what_is_refused(url: str, tmp_path: Path) -> None:
    form = run._form(1, tmp_path)
    found = run.wrk(url, form, connections=2, seconds=1)
    assert found["requests"] >= 2
    assert 0 < found["refused"] <= found["requests"]
    assert found["errors"] == 0
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert set(Answers.bodies) == {form.read_bytes()}


def test_memory_is_that_of_a_process_and_its_children() -> None:
    if Path("/proc/self/smaps_rollup").exists():
        assert servers.memory_mb(os.getpid()) > 10
        assert 0 < servers.processor_s(os.getpid()) >= time.process_time() - 0.1


@pytest.mark.slow
def test_a_server_that_does_not_start_is_named_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(servers, "BUILD", tmp_path)
    server = servers.Server("broken", "/predict", lambda _: ["python", "-c", "print(1 + 41); 1/0"])

    def ask(_: str) -> None:
        raise ConnectionRefusedError

    with (
        pytest.raises(RuntimeError, match=r"(?s)broken gives no prediction.*42.*ZeroDivision"),
        servers.running(server, ask),
    ):
        pass
