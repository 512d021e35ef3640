"""Memory that runs out: a reason to refuse one recording, and not the end of the process."""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oddsound.errors import AudioTooLargeError

logger = logging.getLogger(__name__)

STATUS = Path("/proc/self/status")

RESERVE_BYTES = 64_000_000
"""Of the memory of a function, for what is not counted: the runtime's own processes, libraries."""


@contextmanager
def refusing_when_exhausted() -> Iterator[None]:
    """Raises AudioTooLargeError where memory runs out; what was allocated inside is freed."""
    try:
        yield
    except MemoryError as error:
        # The frames of the traceback hold the arrays that filled the memory.
        traceback.clear_frames(error.__traceback__)
        raise AudioTooLargeError(
            "this process has too little memory for the recording; send a shorter one, or give the"
            " process more memory (on Lambda: the parameter WorkerMemoryMB or ApiMemoryMB)"
        ) from None


def reserve_for_blas() -> None:
    """Make OpenBLAS allocate its buffer now.

    It does so for the first large product of matrices, and if memory has run out then, it ends the
    process without an exception.
    """
    import numpy as np

    for dtype in (np.float32, np.float64):
        matrix = np.ones((256, 256), dtype)
        matrix @ matrix


def give_back() -> None:
    """Return freed memory to the system: after many uploads at once, glibc keeps most of it."""
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library, which has no such function
        return


def limit(total_bytes: int) -> None:
    """Let allocations of this process fail before its function has used its memory.

    Lambda kills a process that uses more than its memory; an allocation that fails is an exception.
    What is allocated but not used, such as stacks of threads, does not count.

    total_bytes : memory of the function
    """
    if not STATUS.exists():
        return
    import resource

    status = STATUS.read_text()
    allocated, used = (_bytes(status, name) for name in ("VmData", "RssAnon"))
    wanted = total_bytes - RESERVE_BYTES + allocated - used
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    logger.debug(
        "allocations are limited to %d MB, of %d MB", wanted // 10**6, total_bytes // 10**6
    )


def _bytes(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
