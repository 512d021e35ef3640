"""Replaces numba, whose compiler (LLVM) is too large for a Lambda layer.

librosa imports numba when it is imported, and compiles functions at their first call. This
service uses no compiled function of librosa, which a test verifies. All compiled functions raise
CompilerMissingError here.
"""

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

__version__ = "0+stand-in"

uint32 = np.uint32


class CompilerMissingError(NotImplementedError):
    """Raised by a call of a function that numba would have compiled."""


def _decorator(*args: Any, **_: Any) -> Callable[..., Any]:
    """Used as `@jit`, as `@jit(nopython=True)` and as `@guvectorize("(n)->(n)")`."""
    if len(args) == 1 and callable(args[0]):
        return _raising(args[0])
    return _raising


def _raising(function: Callable[..., Any]) -> Callable[..., NoReturn]:
    @functools.wraps(function)
    def raise_error(*_: Any, **__: Any) -> NoReturn:
        raise CompilerMissingError(
            f"{function.__module__}.{function.__qualname__} is compiled by numba, and numba is"
            " not in the Lambda layer: use another function, or a container image with numba"
        )

    return raise_error


jit = njit = stencil = vectorize = guvectorize = _decorator
