"""Work by several processes: in order, with the results of one, and whatever happens to them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oddsound_workbench import parallel
from oddsound_workbench.files import PROJECT
from oddsound_workbench.parallel import Processes, in_order
from tests.cloud import FAULTY, NORMAL
from tests.workbench.command import run

pytestmark = pytest.mark.slow

_name = "this process"


def begin(name: str) -> None:
    global _name
    _name = name


def work(item: int) -> tuple[int, str, int]:
    time.sleep(0.001)
    return item, _name, os.getpid()


def ends_its_process(parent: int, item: int) -> int:
    if os.getpid() != parent:
        os._exit(1)
    return item


def fails(item: int) -> int:
    raise ZeroDivisionError(item)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "FROM_S", 0.0)
    monkeypatch.setattr(parallel, "CHUNK_S", 0.01)


def until_others_have_helped(processes: Processes) -> Iterator[tuple[int, str, int]]:
    """Work on enough items that the other processes have started meanwhile."""
    names = set[str]()
    for result in in_order(range(20_000), work, work, processes):
        names.add(result[1])
        yield result
        if len(names) == 2 and result[0] > 200:
            return


def test_results_are_in_order_and_by_all_processes() -> None:
    processes = Processes(3, begin, ("another process",))
    found = list(until_others_have_helped(processes))
    assert [item for item, _, _ in found] == list(range(len(found)))
    assert {name for _, name, _ in found} == {"this process", "another process"}
    own = {pid for _, name, pid in found if name == "this process"}
    others = {pid for _, name, pid in found if name == "another process"}
    assert own == {os.getpid()}
    assert 1 <= len(others) <= 2


@pytest.mark.parametrize("items", [0, 1, 5])
@pytest.mark.parametrize("count", [1, 2])
def test_a_short_list_is_complete(items: int, count: int) -> None:
    found = list(in_order(range(items), work, work, Processes(count, begin, ("another",))))
    assert [item for item, _, _ in found] == list(range(items))


def test_short_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "FROM_S", 1000.0)
    monkeypatch.setattr(Processes, "start", lambda _: pytest.fail("a process was started"))
    assert len(list(in_order(range(50), work, work, Processes(2, begin, ("another",))))) == 50


def test_this_process_does_what_one_that_ended_had_begun() -> None:
    task = partial(ends_its_process, os.getpid())

    def slowly(item: int) -> int:
        time.sleep(0.001)
        return task(item)

    found = list(in_order(range(500), slowly, task, Processes(2, begin, ("another",))))
    assert found == list(range(500))


def test_an_error_of_another_process_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in in_order(range(20_000), work, fails, Processes(2, begin, ("x",))):
            pass


ENDLESS = """
from oddsound_workbench import parallel
from tests.workbench import test_parallel as t
parallel.FROM_S, parallel.CHUNK_S = 0.0, 0.01
processes = parallel.Processes(2, t.begin, ("another process",))
for _, name, pid in parallel.in_order(range(100_000), t.work, t.work, processes):
    print(name, pid, flush=True)
"""


def test_the_others_end_with_the_first_even_if_it_is_killed() -> None:
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        try:
            other = next(line for line in first.stdout if line.startswith("another process"))
        finally:
            first.kill()
        try:
            # The other process holds the same standard output, which ends with the last of them.
            first.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.kill(int(other.split()[-1]), signal.SIGKILL)
            raise


def results(folder: Path, *options: str) -> Any:
    found = json.loads(run("predict", folder, "--json", *options).stdout)
    return [{key: each[key] for key in each if key != "latency_ms"} for each in found]


def test_predict_has_the_same_results_with_all_cores(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths, settings of the environment, and recordings that cannot be scored."""
    monkeypatch.setenv("MAX_DURATION_S", "100")
    monkeypatch.chdir(tmp_path)
    folder = Path("recordings")
    folder.mkdir()
    for number in range(60):
        content = (NORMAL, FAULTY, b"no recording")[number % 3]
        (folder / f"{number:03}.wav").write_bytes(content)
    taken: list[int] = []
    take = parallel._Run._take

    def counted(self: Any, future: Any) -> None:
        taken.extend(self._chunks[future])
        take(self, future)

    monkeypatch.setattr(parallel._Run, "_take", counted)
    with_all = results(folder, "--jobs", "2")
    assert taken
    taken.clear()
    assert results(folder, "--jobs", "1") == with_all
    assert not taken
    assert len(with_all) == 60
