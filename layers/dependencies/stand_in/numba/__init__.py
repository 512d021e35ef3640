"""Stands where numba would: its compiler, LLVM, is too large for a Lambda layer.

librosa imports numba at import and compiles at the first call. What this service uses of
librosa calls nothing that is compiled; a test proves it. The rest says what is missing.
"""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

__version__ = "0+stand-in"

uint32 = np.uint32


class CompilerMissingError(NotImplementedError):
    """A function was called that numba would have compiled."""


def _decorator(*args: Any, **_: Any) -> Callable[..., Any]:
    """Works as `@jit`, `@jit(nopython=True)` and `@guvectorize("(n)->(n)")` alike."""
    if len(args) == 1 and callable(args[0]):
        return _refusing(args[0])
    return _refusing


def _refusing(function: Callable[..., Any]) -> Callable[..., NoReturn]:
    @functools.wraps(function)
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise CompilerMissingError(
            f"{function.__module__}.{function.__qualname__} is compiled by numba, and numba is"
            " not in the Lambda layer: use another function, or a container image with numba"
        )

    return refuse


jit = njit = stencil = vectorize = guvectorize = _decorator
