"""A file that is read while a thread writes it."""

import io
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from oddsound.arriving import AbandonedError, ArrivingFile

CONTENT = os.urandom(5000)
NOT_YET_S = 0.05
"""How long a read is watched that must not return."""


@pytest.fixture
def file() -> Iterator[ArrivingFile]:
    with tempfile.TemporaryFile(buffering=0) as backing:
        yield ArrivingFile(backing.fileno())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def waits[T](future: "Future[T]") -> bool:
    return not wait([future], NOT_YET_S).done


def test_a_read_waits_for_its_bytes(file: ArrivingFile, pool: ThreadPoolExecutor) -> None:
    file.announce(len(CONTENT))
    reader = file.open()
    file.write(CONTENT[:1000])
    assert reader.read(1000) == CONTENT[:1000]
    late = pool.submit(reader.read, 1500)
    file.write(CONTENT[1000:2000])
    assert waits(late)
    file.write(CONTENT[2000:3000])
    assert late.result(10) == CONTENT[1000:2500]
    assert reader.tell() == 2500


def test_bytes_that_are_there_are_read_at_any_position(file: ArrivingFile) -> None:
    file.announce(len(CONTENT))
    file.write(CONTENT)
    first, second = file.open(), file.open()
    assert first.seek(-10, io.SEEK_END) == len(CONTENT) - 10
    assert first.read(100) == CONTENT[-10:]
    assert first.read(1) == b""
    assert second.seek(20) == 20
    assert second.seek(5, io.SEEK_CUR) == 25
    assert second.read(10) == CONTENT[25:35]
    with pytest.raises(ValueError, match="-1"):
        second.seek(-1)


def test_the_size_is_known_before_the_content(file: ArrivingFile, pool: ThreadPoolExecutor) -> None:
    opened = pool.submit(file.open)
    assert waits(opened)
    file.announce(7)
    assert opened.result(10).seek(0, io.SEEK_END) == 7


def test_bytes_that_are_written_again_stay_readable(file: ArrivingFile) -> None:
    file.announce(len(CONTENT))
    start = file.tell()
    file.write(CONTENT[:3000])
    file.seek(start)
    file.truncate()
    assert file.open().read(3000) == CONTENT[:3000]
    file.writelines([CONTENT[:2000], CONTENT[2000:]])
    assert file.open().readall() == CONTENT


def test_a_read_ends_early_if_the_rest_never_comes(
    file: ArrivingFile, pool: ThreadPoolExecutor
) -> None:
    file.announce(len(CONTENT))
    file.write(CONTENT[:1200])
    reader = file.open()
    late = pool.submit(reader.readall)
    assert waits(late)
    assert file.failure is None
    file.end(OSError("broken"))
    assert late.result(10) == CONTENT[:1200]
    assert str(file.failure) == "broken"
    reader.seek(4000)
    assert reader.read(10) == b""


def test_a_file_that_never_begins(file: ArrivingFile) -> None:
    file.end(OSError("refused"))
    with pytest.raises(OSError, match="refused"):
        file.open()


def test_a_sender_learns_that_nobody_reads(file: ArrivingFile) -> None:
    file.announce(len(CONTENT))
    file.write(CONTENT[:10])
    file.abandon()
    with pytest.raises(AbandonedError):
        file.write(CONTENT[10:20])
