"""Fresh processes, measured side by side: every candidate has its turn in every round."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
COLD_CALL = Path(__file__).parent / "cold_call.py"
PATHS = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Candidate:
    """What a fresh process does.

    arguments : of cold_call.py
    path : folders where Python finds packages; no other has any
    environment : all that there is, beside PATH, HOME and TMPDIR
    """

    arguments: tuple[str, ...]
    path: tuple[Path, ...]
    environment: Mapping[str, str]

    @classmethod
    def importing(cls, names: str, path: tuple[Path, ...], environment: Mapping[str, str]) -> Self:
        """A process that imports these modules and does nothing else."""
        return cls(("--only", f"import {names}"), path, environment)


@dataclass(frozen=True)
class Run:
    """One run: seconds on the clock and of the processor, from the start to the answer."""

    wall_s: float
    cpu_s: float
    answer: Any


def run(candidate: Candidate, *options: str, log: Path | None = None) -> Run:
    """One fresh process. options : of Python; log : where its stderr goes.

    Raises RuntimeError with what it wrote, where it gives no answer.
    """
    with tempfile.TemporaryDirectory() as tmp, tempfile.TemporaryFile("w+") as stderr:
        environment = {
            **PATHS,
            **candidate.environment,
            "PYTHONPATH": ":".join(map(str, candidate.path)),
            # Layers are read-only on Lambda.
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": tmp,
            # numba cannot do without a folder for what it compiled; on Lambda, too, it is empty.
            "NUMBA_CACHE_DIR": tmp,
        }
        started = time.perf_counter()
        process = subprocess.Popen(
            [PYTHON, "-S", *options, COLD_CALL, *candidate.arguments],
            cwd=tmp,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log.open("w") if log else stderr,
            text=True,
        )
        assert process.stdout  # noqa: S101  it is a pipe
        said, wall_s = "", 0.0
        for line in process.stdout:
            if line.startswith('{"cpu_s"'):
                said, wall_s = line, time.perf_counter() - started
        process.wait()
        if not said:
            stderr.seek(0)
            raise RuntimeError(f"{candidate.arguments} gave no answer: {stderr.read()[-2000:]}")
    found = json.loads(said)
    return Run(wall_s, found["cpu_s"], found["answer"])


def rounds(
    candidates: Mapping[str, Candidate], number: int, before: Callable[[], object] = lambda: None
) -> dict[str, list[Run]]:
    """`number` runs of each, after one that is not counted: it fills the page cache.

    before : is called before every run
    """
    made: dict[str, list[Run]] = {name: [] for name in candidates}
    for _ in range(number + 1):
        for name, candidate in candidates.items():
            before()
            made[name].append(run(candidate))
    return {name: runs[1:] for name, runs in made.items()}


def ratio(runs: list[Run], base: list[Run], of: Callable[[Run], float]) -> float:
    """The median, over the rounds, of one candidate's figure over another's."""
    return statistics.median(of(a) / of(b) for a, b in zip(runs, base, strict=True))
