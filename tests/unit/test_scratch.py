"""Memory that a thread uses again."""

import threading

import numpy as np
import pytest

from oddsound import scratch


def addresses(*shapes: tuple[int, ...]) -> list[int]:
    return [array.ctypes.data for array in scratch.floats(*shapes)]


def test_arrays_do_not_overlap_and_begin_at_cache_lines() -> None:
    shapes = [(3, 5), (7,), (2, 2, 2)]
    arrays = scratch.floats(*shapes)
    assert [array.shape for array in arrays] == shapes
    for number, array in enumerate(arrays):
        array[...] = number
    assert [set(array.ravel().tolist()) for array in arrays] == [{0}, {1}, {2}]
    assert all(array.ctypes.data % 64 == 0 for array in arrays)


def test_a_thread_uses_its_own_memory_again() -> None:
    scratch.floats((4096,))
    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.extend([addresses((64,)), addresses((64,))]))
    thread.start()
    thread.join()
    own = addresses((64,))
    assert own == addresses((64,))
    assert found[0] == found[1] != own


@pytest.mark.parametrize("kept", [True, False])
def test_only_so_much_memory_is_kept(kept: bool) -> None:
    size = scratch.MAX_KEPT if kept else scratch.MAX_KEPT + 1
    (array,) = scratch.floats((size,))
    assert np.shares_memory(array, scratch.floats((1,))[0]) == kept
