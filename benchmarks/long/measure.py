"""Measures one prediction in a process of its own, on one core.

    python -m benchmarks.long.measure memory|time RECORDING

Prints JSON. `memory` predicts once in a process that has only loaded the model. Linux's high-water
mark of the resident memory (VmHWM) is reset before; ru_maxrss would be inherited from the process
that started this one. `time` predicts a short recording first, so that everything is imported.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from oddsound import pipeline, runtime
from oddsound.formats import AudioLimits
from oddsound.model import Model

MODEL = "fan"
LIMITS = AudioLimits(10**10, 24 * 3600, 10**11, names=None)
MIN_SECONDS = 1.0
"""A short recording is predicted as often as this takes."""

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_new_process(what: str, recording: Path) -> dict[str, Any]:
    """The figures of `memory` or `seconds` from a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.long.measure", what, recording],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def memory(recording: Path, model: Model) -> dict[str, Any]:
    """MB of resident memory: before the prediction, and the most during it."""
    CLEAR_REFS.write_text("5")
    idle_mb = _resident_mb("VmRSS")
    prediction = pipeline.predict(recording, model, LIMITS)
    found = {"idle_mb": idle_mb, "peak_mb": _resident_mb("VmHWM")}
    return found | {
        "windows": len(prediction.windows or []),
        "events": len(prediction.events or []),
    }


def seconds(recording: Path, model: Model, warm_up: Path) -> dict[str, Any]:
    """Median seconds of processor time of a prediction."""
    pipeline.predict(warm_up, model, LIMITS)
    times: list[float] = []
    while sum(times) < MIN_SECONDS:
        started = time.process_time()
        pipeline.predict(recording, model, LIMITS)
        times.append(time.process_time() - started)
    return {"cpu_s": statistics.median(times)}


def _resident_mb(name: str) -> float:
    """A figure of /proc/self/status in MB."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    what, recording = sys.argv[1], Path(sys.argv[2])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    model = runtime.registry().get(MODEL)
    if what == "memory":
        found = memory(recording, model)
    else:
        found = seconds(recording, model, recording.with_name(WARM_UP))
    print(json.dumps(found))


WARM_UP = "warm-up.wav"
"""Name of a short recording in the same folder."""

if __name__ == "__main__":
    main()
