"""Measures new processes: every round runs every candidate once."""

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
    """What a new process runs.

    arguments : of cold_call.py
    path : the only folders from which Python imports packages
    environment : all variables except PATH, HOME, LANG, TMPDIR and those of Python and numba
    """

    arguments: tuple[str, ...]
    path: tuple[Path, ...]
    environment: Mapping[str, str]

    @classmethod
    def importing(cls, names: str, path: tuple[Path, ...], environment: Mapping[str, str]) -> Self:
        """A process that only imports these modules."""
        return cls(("--only", f"import {names}"), path, environment)


@dataclass(frozen=True)
class Run:
    """One run: wall-clock and processor seconds from the start of the process to the answer."""

    wall_s: float
    cpu_s: float
    answer: Any


def run(candidate: Candidate, *options: str, log: Path | None = None) -> Run:
    """Run one new process. options : of Python; log : file for its stderr

    Raises RuntimeError with the end of its stderr if it gives no answer.
    """
    with tempfile.TemporaryDirectory() as tmp, tempfile.TemporaryFile("w+") as stderr:
        environment = {
            **PATHS,
            **candidate.environment,
            "PYTHONPATH": ":".join(map(str, candidate.path)),
            # Layers are read-only on Lambda.
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": tmp,
            # numba needs a cache folder; on Lambda it is empty as well.
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
        answer, wall_s = "", 0.0
        for line in process.stdout:
            if line.startswith('{"cpu_s"'):
                answer, wall_s = line, time.perf_counter() - started
        process.wait()
        if not answer:
            stderr.seek(0)
            raise RuntimeError(f"{candidate.arguments} gave no answer: {stderr.read()[-2000:]}")
    found = json.loads(answer)
    return Run(wall_s, found["cpu_s"], *found["answers"] or [None])


def rounds(
    candidates: Mapping[str, Candidate], number: int, before: Callable[[], object] = lambda: None
) -> dict[str, list[Run]]:
    """`number` runs of each candidate, after an uncounted one that fills the page cache.

    before : called before every run
    """
    made: dict[str, list[Run]] = {name: [] for name in candidates}
    for _ in range(number + 1):
        for name, candidate in candidates.items():
            before()
            made[name].append(run(candidate))
    return {name: runs[1:] for name, runs in made.items()}


def ratio(runs: list[Run], base: list[Run], of: Callable[[Run], float]) -> float:
    """The median over the rounds of the ratio of one candidate's figure to another's."""
    return statistics.median(of(a) / of(b) for a, b in zip(runs, base, strict=True))
