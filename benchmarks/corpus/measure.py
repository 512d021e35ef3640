"""Time and memory of one prediction, in a process that has made another one before. Needs Linux."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import oddsound
from oddsound import runtime
from oddsound.errors import AudioAnomalyError

_idle: list[int] = []


@dataclass(frozen=True)
class Cost:
    """Of one prediction, whatever its outcome.

    memory_mb : highest resident memory, over that of the process before its first recording
    """

    time_s: float
    memory_mb: float


def warm_up(path: Path) -> None:
    """Called once in each process: loads the shipped model, and imports everything."""
    os.environ.pop("MODELS_CONFIG_PATH", None)
    runtime.clear()
    oddsound.predict(path)
    oddsound.predict(path.read_bytes())
    _idle[:] = [_status("VmRSS")]


def cost(path: Path, *, as_bytes: bool) -> Cost:
    """Of a file, read by the library or passed on as bytes, which then count too."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory is that of now
    start = time.perf_counter()
    with suppress(AudioAnomalyError):
        oddsound.predict(path.read_bytes() if as_bytes else path)
    time_s = time.perf_counter() - start
    return Cost(time_s, (_status("VmHWM") - _idle[0]) / 1024)


def _status(field: str) -> int:
    """A field of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)
