"""Catches what the MP3 decoder in libsndfile writes to the standard error output."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
MAX_BYTES = 1 << 16

_one_at_a_time = threading.Lock()
"""The standard error output belongs to the process, not to a thread."""


@contextmanager
def caught() -> Iterator[list[str]]:
    """While the block runs, collect the decoder's lines; they are complete after it.

    mpg123 has no other way to report a damaged frame, and its lines would stand between the
    service's own. What other threads write meanwhile is written afterwards.
    """
    lines: list[str] = []
    with _one_at_a_time:
        try:
            saved = os.dup(STDERR)
        except OSError:  # a process without a standard error output
            yield lines
            return
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        os.dup2(writing, STDERR)
        try:
            yield lines
        finally:
            os.dup2(saved, STDERR)
            os.close(saved)
            os.close(writing)
            text = _read(reading)
            os.close(reading)
            others: list[str] = []
            for line in text.decode("utf-8", "replace").splitlines(keepends=True):
                is_decoder = "libmpg123" in line or line.startswith(("Note: ", "Warning: "))
                (lines if is_decoder else others).append(line)
            if others:
                os.write(STDERR, "".join(others).encode())


def _read(reading: int) -> bytes:
    try:
        return os.read(reading, MAX_BYTES)
    except BlockingIOError:
        return b""
