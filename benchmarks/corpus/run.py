"""Every input of tests/corpus by every way in: the same answer, in bounded time and memory.

    make corpus
    python -m benchmarks.corpus.run [FOLDER ...] [--only WORD]

FOLDER : more recordings, each folder is a kind. Prints a table of inputs by kind and outcome, and
every input that breaks a limit, or is answered differently. Needs Linux.
"""

import argparse
import io
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from moto import mock_aws

from benchmarks.corpus import measure
from functions.api.app import app
from oddsound import runtime
from oddsound_workbench.files import PROJECT
from oddsound_workbench.synthesis import write_fan
from tests.cloud import ENVIRONMENT, Cloud, set_up
from tests.corpus import ways
from tests.corpus.kinds import KINDS, Inputs

MAX_TIME_S = 2
MAX_MEMORY_MB = 100
MODELS = PROJECT / "models" / "models.json"


@dataclass
class Row:
    """The outcomes of one kind of inputs."""

    kind: str
    inputs: int = 0
    scored: int = 0
    with_warnings: int = 0
    refused: int = 0
    slowest_s: float = 0
    most_mb: float = 0
    faults: list[str] = field(default_factory=list)

    def count(self, answer: ways.Answer) -> None:
        self.inputs += 1
        if "error" in answer:
            self.refused += 1
        elif answer["signal"]["warnings"]:
            self.with_warnings += 1
        else:
            self.scored += 1

    def text(self) -> str:
        cells = (self.kind, self.inputs, self.scored, self.with_warnings, self.refused)
        limits = f"{1000 * self.slowest_s:,.0f} | {self.most_mb:,.0f} | {len(self.faults)}"
        return f"| {' | '.join(map(str, cells))} | {limits} |"


COLUMNS = ("Inputs", "Number", "Scored", "With warnings", "Refused", "Slowest, ms", "Memory, MB")
HEADER = f"| {' | '.join(COLUMNS)} | Faults |\n| --- |{' ---: |' * len(COLUMNS)}"


class Meter:
    """A process in which costs are measured; a new one if it has died."""

    def __init__(self, sample: Path) -> None:
        self._sample = sample
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, measure.warm_up, (self._sample,))

    def cost(self, path: Path, *, as_bytes: bool) -> measure.Cost | None:
        """None if the process has died."""
        try:
            return self._pool.submit(measure.cost, path, as_bytes=as_bytes).result(timeout=300)
        except BrokenProcessPool:
            self._pool = self._started()
            return None

    def close(self) -> None:
        self._pool.shutdown()


@contextmanager
def cloud() -> Iterator[Cloud]:
    """A cloud in memory with the shipped models, and the environment of a function in it."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in (ENVIRONMENT | {"LOG_LEVEL": "ERROR"}).items():
            patch.setenv(name, value)
        runtime.clear()
        yield set_up(MODELS)
    runtime.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="kinds whose name contains this word")
    options = parser.parse_args(arguments)
    kinds = dict(KINDS) | {str(folder): _files_of(folder) for folder in options.folders}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, cloud() as made:
        sample = Path(name, "sample.wav")
        write_fan(sample, 1, faulty=False, duration_s=2)
        meter = Meter(sample)
        for kind, inputs in kinds.items():
            if options.only in kind:
                folder = Path(name, str(len(rows)))
                folder.mkdir()
                with redirect_stdout(io.StringIO()):  # what the function logs
                    rows.append(_row(kind, inputs(), folder, made, meter))
                print(rows[-1].text(), *rows[-1].faults, sep="\n", file=sys.stderr, flush=True)
        meter.close()
    print(HEADER, *(row.text() for row in rows), sep="\n")
    return any(row.faults for row in rows)


def _files_of(folder: Path) -> Callable[[], Inputs]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return lambda: ((path.name, path.read_bytes()) for path in paths)


def _row(kind: str, inputs: Inputs, folder: Path, made: Cloud, meter: Meter) -> Row:
    row = Row(kind)
    answers: dict[Path, ways.Answer] = {}
    client = TestClient(app, raise_server_exceptions=False)
    for number, (name, data) in enumerate(inputs):
        path = folder / f"{number:04}-{name}"
        path.write_bytes(data)
        answers[path] = expected = ways.by_call(data)
        row.count(expected)
        others = {
            "file": partial(ways.by_call, path),
            "HTTP": partial(ways.by_http, client, data),
            "S3": partial(ways.by_s3, made, path.name, data),
        }
        for way, answer in others.items():
            _compare(row, path, way, expected, answer)
        for as_bytes in (False, True):
            _limit(row, path, meter.cost(path, as_bytes=as_bytes))
    printed = ways.by_command(answers, MODELS) if answers else []
    for (path, expected), found in zip(answers.items(), printed, strict=True):
        _compare(row, path, "command line", expected, partial(dict, found))
    return row


def _compare(
    row: Row, path: Path, way: str, expected: ways.Answer, answer: Callable[[], ways.Answer]
) -> None:
    try:
        found = answer()
    # Whatever a way in raises, or does not store, is a fault of the input.
    except Exception as error:
        found = {"error": type(error).__name__, "detail": str(error)}
    if found != expected:
        different = {key for key in expected | found if expected.get(key) != found.get(key)}
        shown = "; ".join(f"{key}: {expected.get(key)!r} / {found.get(key)!r}" for key in different)
        row.faults.append(f"{path.name}: bytes / {way}: {shown[:500]}")


def _limit(row: Row, path: Path, cost: measure.Cost | None) -> None:
    if cost is None:
        row.faults.append(f"{path.name}: the process died")
        return
    row.slowest_s = max(row.slowest_s, cost.time_s)
    row.most_mb = max(row.most_mb, cost.memory_mb)
    if cost.time_s > MAX_TIME_S or cost.memory_mb > MAX_MEMORY_MB:
        row.faults.append(f"{path.name}: {cost.time_s:.1f} s, {cost.memory_mb:.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
