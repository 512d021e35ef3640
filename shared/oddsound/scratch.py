"""Memory for intermediate results, which each thread uses again.

What a part of a recording needs, one or two megabytes, is larger than what the C library keeps
when it is freed: the system has to provide such memory again each time, page by page, which took a
quarter of the time of a prediction. Used again, it is also still in the processor's cache.
"""

import math
import threading

import numpy as np

from oddsound.descriptors import Array

ALIGNMENT = 16
"""Arrays begin at multiples of so many numbers: of 64 bytes, the width of a cache line."""


MAX_KEPT = 3 << 18
"""Numbers that a thread keeps, 3 MB: what takes longer to compute may take longer to allocate."""


class _Memory(threading.local):
    """The memory of one thread; it grows to what is needed at once."""

    floats: Array = np.empty(0, np.float32)


_memory = _Memory()


def floats(*shapes: tuple[int, ...]) -> list[Array]:
    """Arrays of these shapes, float32, with any content. They do not overlap.

    They may be used until the next call in the same thread: only by a function that meanwhile calls
    nothing else that needs some.
    """
    sizes = [math.prod(shape) for shape in shapes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    memory = _memory.floats
    if len(memory) < starts[-1]:
        memory = _aligned(starts[-1])
        if len(memory) <= MAX_KEPT:
            _memory.floats = memory
    return [
        memory[start : start + size].reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=False)
    ]


def _aligned(size: int) -> Array:
    memory = np.empty(size + ALIGNMENT, np.float32)
    first = -(memory.ctypes.data // memory.itemsize) % ALIGNMENT
    return memory[first : first + size]
