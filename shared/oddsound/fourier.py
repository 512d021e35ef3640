"""SciPy's FFT, without the import of scipy.fft.

`import scipy.fft` also imports scipy.special, scipy.linalg and every submodule of NumPy. That took
a sixth of a cold start, and nothing of it is needed: the module of SciPy that computes the FFT is
compiled, and needs only NumPy. It is private, so where another version of SciPy does not have it,
scipy.fft is used. The results are the same, bit for bit.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODULE = "fft/_duccfft/pyduccfft"
"""The compiled module, in the folder of SciPy 1.18."""


def compiled_module(module: str = MODULE) -> Any:
    """SciPy's compiled FFT, or None if this version has none of that name.

    It gets a name of its own, so that scipy.fft can still be imported.
    """
    scipy = find_spec("scipy")
    folders = (scipy.submodule_search_locations if scipy else None) or []
    for path in (
        Path(folder, module + suffix) for folder in folders for suffix in EXTENSION_SUFFIXES
    ):
        spec = spec_from_file_location(path.name.partition(".")[0], path)
        if path.is_file() and spec and spec.loader:
            loaded = module_from_spec(spec)
            spec.loader.exec_module(loaded)
            return loaded
    return None


_fft: Any = compiled_module()


def rfft(
    rows: NDArray[Any],
    length: int | None = None,
    axis: int = -1,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The spectra of real signals, complex64 of float32 and complex128 of float64.

    length : to which the signals are padded with zeros, at least their own
    out : array that may be used for the result
    """
    if _fft is None:
        from scipy import fft

        return np.asarray(fft.rfft(rows, n=length, axis=axis))
    missing = 0 if length is None else length - rows.shape[axis]
    if missing:
        shape = list(rows.shape)
        shape[axis] = missing
        rows = np.concatenate([rows, np.zeros(shape, rows.dtype)], axis=axis)
    return np.asarray(_fft.r2c(rows, (axis,), True, 0, out, 1))


def irfft(spectra: NDArray[Any], length: int) -> NDArray[Any]:
    """The real signals of this length whose `rfft` over the last axis these spectra are."""
    if _fft is None:
        from scipy import fft

        return np.asarray(fft.irfft(spectra, n=length))
    return np.asarray(_fft.c2r(spectra, (spectra.ndim - 1,), length, False, 2, None, 1))


def fast_length(at_least: int, *, real: bool = False) -> int:
    """The next length from `at_least` on for which the FFT is fast.

    real : whether the signals are real
    """
    if _fft is None:
        from scipy import fft

        return int(fft.next_fast_len(at_least, real))
    return int(_fft.good_size(at_least, real))


def dct_matrix(size: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II: `rows @ dct_matrix(size)` transforms rows [shape=(size, size)]."""
    if _fft is None:
        from scipy import fft

        return np.asarray(fft.dct(np.eye(size), norm="ortho"))
    return np.asarray(_fft.dct(np.eye(size), 2, (-1,), 1, None, 1, None))
