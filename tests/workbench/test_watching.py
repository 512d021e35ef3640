"""`oddsound watch`: new recordings are scored once, and only when they are complete."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from oddsound_workbench.synthesis import write_fan
from oddsound_workbench.watching import Settling, being_written
from tests.workbench.command import read, run

PUMP = "hall-3/pump-07"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_file_is_complete_when_it_no_longer_changes(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "a.wav"
    settling = Settling(2, clock)
    file.write_bytes(b"RIFF")
    settling.add(file)
    assert settling.complete() == []
    clock.now = 1.9
    file.write_bytes(b"RIFF and more")  # without an event
    clock.now = 2.1
    assert settling.complete() == []
    clock.now = 4
    assert settling.complete() == []
    clock.now = 4.2
    assert settling.complete() == [file]
    assert settling.complete() == []


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "a.part"
    settling = Settling(1, clock)
    file.write_bytes(b"x")
    settling.add(file)
    settling.add(tmp_path / "never.wav")
    file.rename(tmp_path / "a.wav")
    clock.now = 2
    assert settling.complete() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes a file")
def test_a_file_that_a_process_has_open_for_writing_waits(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "a.wav"
    settling = Settling(1, clock)
    with file.open("wb") as writer:
        writer.write(b"RIFF")
        writer.flush()
        settling.add(file)
        clock.now = 100
        assert being_written(file)
        assert settling.complete() == []
    with file.open("rb"):
        assert not being_written(file)
    assert settling.complete() == [file]


@pytest.fixture
def watching(trained: Path, tmp_path: Path) -> Iterator[tuple[Path, "Queue[dict[str, Any]]"]]:
    """A watched folder, and the lines that the command prints."""
    folder = tmp_path / "recordings"
    (folder / PUMP).mkdir(parents=True)
    write_fan(folder / PUMP / "2026-11-23T10-00-00.wav", 1, faulty=False, duration_s=2)
    command = [sys.executable, "-m", "oddsound_workbench.cli", "watch", str(folder), "--json"]
    command += ["--models", str(trained), "--settle", "0.3"]
    lines: Queue[dict[str, Any]] = Queue()
    with subprocess.Popen(
        [*command, "--history", str(tmp_path / "history.sqlite")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def read() -> None:
            for line in process.stdout or ():
                lines.put(json.loads(line))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield folder, lines
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
            reader.join(timeout=5)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = read(run("watch", tmp_path / "gone", "--json"), code=3)
    assert missing["detail"].endswith("gone is not a folder")


@pytest.mark.slow
def test_recordings_are_scored_as_they_appear(
    watching: tuple[Path, "Queue[dict[str, Any]]"], tmp_path: Path
) -> None:
    folder, lines = watching
    first = lines.get(timeout=60)
    assert (first["machine"], first["prediction"], first["state"]) == (PUMP, "normal", "unknown")
    other = write_fan(tmp_path / "other.wav", 2, faulty=True, duration_s=2)
    content = other.read_bytes()
    half = folder / PUMP / "2026-11-23T11-00-00.wav"
    with half.open("wb") as writer:
        writer.write(content[: len(content) // 2])
        writer.flush()
        time.sleep(1)  # longer than a file needs to settle
        writer.write(content[len(content) // 2 :])
    (folder / ".hidden.wav").write_bytes(content)
    (folder / "notes.txt").write_text("no recording")
    (folder / "broken.wav").write_bytes(b"RIFF")
    shutil.copy(other, folder / "new.part")
    os.replace(folder / "new.part", folder / "new.wav")  # noqa: PTH105  as a recorder does
    found = {Path(line["file"]).name: line for line in (lines.get(timeout=30) for _ in range(3))}
    assert set(found) == {half.name, "broken.wav", "new.wav"}
    assert found[half.name]["prediction"] == "anomaly"
    assert found[half.name]["duration_s"] == 2
    assert found["new.wav"]["machine"] is None
    assert found["broken.wav"]["error"] == "InvalidAudioError"
    half.touch()
    assert lines.get(timeout=30)["file"] == str(half)  # scored again, and still one row
    assert lines.empty()
