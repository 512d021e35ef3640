"""The numbers of a model, nested and named, and their form in an `.npz` file without pickles.

A file holds one array for each array of the model, named by its path such as
`detector/views/0/whiten`, and the array `header`: a JSON text with the single numbers and texts by
the same kind of path. Reading it runs no code. Everything is checked when it is used, so that the
error names the number that is wrong.
"""

import io
import json
from collections.abc import Mapping
from typing import Any, Self
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from oddsound.errors import ModelArtifactError

HEADER = "header"

MAX_BYTES = 2**30
"""Of all arrays: a file of a megabyte may hold a gigabyte of zeros, and a small one far more."""

type Size = int | str
"""A length, or the name of a length that several arrays share."""


class Numbers:
    """A part of the numbers of a model. Every method raises ModelArtifactError with path and name.

    Arrays that name the same length must agree, within one object.

    path : of the file, for error texts
    """

    def __init__(self, values: Mapping[str, Any], path: str, prefix: str = "") -> None:
        self.path = path
        self._values = values
        self._prefix = prefix
        self._sizes: dict[str, int] = {}

    @classmethod
    def of(cls, nested: Any, path: str) -> Self:
        """Nested dictionaries and lists of numbers, texts and arrays."""
        if not isinstance(nested, Mapping):
            raise ModelArtifactError(
                f"{path} contains {type(nested).__name__}; a dictionary of numbers is expected"
            )
        return cls(flat(nested), path)

    @classmethod
    def load(cls, data: bytes, path: str) -> Self:
        """The numbers of a file that `packed` wrote. Unpickles nothing."""
        try:
            _check_size(data)
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            header = json.loads(str(values.pop(HEADER)))
            if not isinstance(header, dict):
                raise TypeError("the header is not a JSON object")
        # NumPy, zipfile and zlib raise many kinds of errors for a damaged file.
        except Exception as error:
            raise ModelArtifactError(
                f"{path} is not a compiled model: {type(error).__name__}: {error}"
            ) from None
        return cls({**values, **header}, path)

    @property
    def size_bytes(self) -> int:
        """Of all arrays."""
        return sum(value.nbytes for value in self._values.values() if hasattr(value, "nbytes"))

    def part(self, name: str) -> "Numbers":
        """The numbers below a name."""
        prefix = f"{self._prefix}{name}/"
        if not any(key.startswith(prefix) for key in self._values):
            raise self.fault(name, "is missing")
        return Numbers(self._values, self.path, prefix)

    def names(self, name: str) -> list[str]:
        """The names directly below a name, in the order of the file."""
        prefix = f"{self._prefix}{name}/"
        below = [key.removeprefix(prefix) for key in self._values if key.startswith(prefix)]
        return list(dict.fromkeys(key.partition("/")[0] for key in below))

    def parts(self, name: str) -> "list[Numbers]":
        """The members of a list; it may be empty."""
        found = self.names(name)
        if found != [str(number) for number in range(len(found))]:
            raise self.fault(name, f"has the members {', '.join(found)}; expected 0, 1, 2, ...")
        return [self.part(f"{name}/{number}") for number in found]

    def has(self, name: str) -> bool:
        """Whether there is a number or a part of that name."""
        return f"{self._prefix}{name}" in self._values or bool(self.names(name))

    def array(self, name: str, *sizes: Size, positive: bool = False) -> NDArray[Any]:
        """A float array of that shape, finite; with `positive`, every number is above 0."""
        found = self._shaped(name, sizes, "f", "floating-point numbers")
        if not np.isfinite(found).all():
            place = np.argwhere(~np.isfinite(found))[0].tolist()
            raise self.fault(name, f"is {found[tuple(place)]} at {place}; a number is expected")
        if positive and (found <= 0).any():
            place = np.argwhere(found <= 0)[0].tolist()
            raise self.fault(name, f"is {found[tuple(place)]} at {place}; above 0 is expected")
        return found

    def indices(self, name: str, *sizes: Size, stop: int, start: int = 0) -> NDArray[np.intp]:
        """An array of integers from `start` up to, and without, `stop`."""
        found = self._shaped(name, sizes, "iu", "integers")
        if found.size and (found.min() < start or found.max() >= stop):
            raise self.fault(
                name,
                f"has numbers from {found.min()} to {found.max()};"
                f" {start} to {stop - 1} are possible",
            )
        return found.astype(np.intp)

    def number(self, name: str, *, positive: bool = False) -> float:
        """A single finite number; with `positive`, above 0."""
        value = self._value(name)
        if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(name, f"is {_shown(value)}; a number is expected")
        if not np.isfinite(value) or (positive and value <= 0):
            raise self.fault(
                name, f"is {value}; {'above 0' if positive else 'a number'} is expected"
            )
        return float(value)

    def integer(self, name: str, *, minimum: int = 1) -> int:
        value = self.number(name)
        if value != int(value) or value < minimum:
            raise self.fault(name, f"is {value:g}; an integer from {minimum} on is expected")
        return int(value)

    def text(self, name: str) -> str:
        value = self._value(name)
        if not isinstance(value, str):
            raise self.fault(name, f"is {_shown(value)}; a text is expected")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value(name)
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.fault(name, f"is {_shown(value)}; a list of texts is expected")
        return tuple(value)

    def fault(self, name: str, what: str) -> ModelArtifactError:
        """The error for a number that cannot be used."""
        return ModelArtifactError(f"{self.path}: {self._prefix}{name} {what}")

    def _value(self, name: str) -> Any:
        try:
            return self._values[f"{self._prefix}{name}"]
        except KeyError:
            raise self.fault(name, "is missing") from None

    def _shaped(self, name: str, sizes: tuple[Size, ...], kinds: str, noun: str) -> NDArray[Any]:
        found = self._value(name)
        if not isinstance(found, np.ndarray):
            raise self.fault(name, f"is {_shown(found)}; an array of {noun} is expected")
        if found.dtype.kind not in kinds:
            raise self.fault(name, f"contains {found.dtype}; {noun} are expected")
        known = [self._sizes.get(size, size) if isinstance(size, str) else size for size in sizes]
        fits = found.ndim == len(sizes) and all(
            isinstance(size, str) or size == length
            for size, length in zip(known, found.shape, strict=True)
        )
        if not fits:
            expected = ", ".join(map(str, known))
            shape = ", ".join(map(str, found.shape))
            raise self.fault(name, f"has the shape ({shape}); ({expected}) is expected")
        self._sizes.update(
            {s: n for s, n in zip(sizes, found.shape, strict=True) if isinstance(s, str)}
        )
        return found


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists of dictionaries as one dictionary, by path.

    The result is the same for numbers of a joblib file and of a compiled model. Lists of texts
    stay as they are; None is left out.
    """
    found: dict[str, Any] = {}
    for name, value in nested.items():
        where = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{where}/")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            found |= flat({str(number): each for number, each in enumerate(value)}, f"{where}/")
        elif value is not None:
            found[where] = list(value) if isinstance(value, tuple) else value
    return found


def packed(nested: Mapping[str, Any]) -> bytes:
    """The content of the file with these numbers; the same numbers give the same bytes."""
    values = flat(nested)
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    header = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
        if name not in arrays
    }
    text = np.array(json.dumps(header, allow_nan=False))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{HEADER: text}, **arrays)
    return file.getvalue()


def _shown(value: Any) -> str:
    """A value in an error text, shortened."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with the shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_size(data: bytes) -> None:
    """Raises ValueError if the arrays of an .npz file have more than MAX_BYTES."""
    with ZipFile(io.BytesIO(data)) as archive:
        # Of each member, no more than this is unpacked, whatever it contains.
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"its arrays have {size:,} bytes; at most {MAX_BYTES:,} are read")
