"""The commands of docs/from-lookout-for-equipment.md, run in their order."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from oddsound import runtime
from oddsound_workbench.synthesis import write_fan
from tests.pages import blocks, page
from tests.workbench.command import read, run

MAX_LINES = 20


def lines() -> list[str]:
    return [
        line
        for block in blocks("sh", page("from-lookout-for-equipment"))
        for line in block.splitlines()
    ]


def test_there_are_at_most_twenty_lines() -> None:
    assert 10 < len(lines()) <= MAX_LINES


def execute(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a line: oddsound in this process, which has imported everything; others by a shell."""
    if found := re.fullmatch(r"export (\w+)=(\S+)", line):
        monkeypatch.setenv(*found.groups())
        runtime.clear()
        return ""
    words = shlex.split(line)
    if words[0] != "oddsound":
        subprocess.run(["bash", "-c", line], check=True)
        return ""
    done = run(*words[1:])
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.stdout


@pytest.mark.slow
def test_every_command_of_the_guide_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_plots: None
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, machine in enumerate(("fan-01", "fan-02")):
        for day in range(1, 15):
            path = tmp_path / "recordings" / "hall-1" / machine / f"2026-10-{day:02}T06-00-00.wav"
            faulty = machine == "fan-02" and day > 11
            write_fan(path, 100 * number + day, faulty=faulty, duration_s=2)
            os.utime(path, (0, 0))  # it is not waited for
    *commands, watch, serve = lines()
    printed = {line: execute(line, monkeypatch) for line in commands}
    assert "active" in printed["oddsound machines list"]
    assert "are anomalous" in printed["oddsound machines events hall-1/fan-02"]
    machines = {each["id"]: each for each in read(run("machines", "list", "--json"))["machines"]}
    assert machines["hall-1/fan-02"]["state"] == "acknowledged"
    assert machines["hall-1/fan-01"]["state"] in ("normal", "silent")
    assert run("watch", "recordings", "--once").stdout == ""  # everything has a row
    served(watch, serve)


def served(watch: str, serve: str) -> None:
    """Both run until they are stopped, and the page is there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "oddsound_workbench.cli"]
    started = [
        subprocess.Popen([*command, *shlex.split(line)[1:]], stderr=subprocess.PIPE)
        for line in (watch, f"{serve} --port {port}")
    ]
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = httpx2.get(f"http://127.0.0.1:{port}/ui/machines", timeout=30)
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline, "the service does not start"
                time.sleep(0.1)
        assert answer.status_code == 200
        found = httpx2.get(f"http://127.0.0.1:{port}/machines", timeout=30).json()["machines"]
        assert [each["id"] for each in found] == ["hall-1/fan-01", "hall-1/fan-02"]
        assert all(process.poll() is None for process in started)
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        assert [process.wait(timeout=60) for process in started] == [0, 0]
        for process in started:
            assert process.stderr is not None
            process.stderr.close()
