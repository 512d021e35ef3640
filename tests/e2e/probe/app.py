"""A function that runs the action that its event names, and reports its environment."""

import base64
import importlib
import io
import os
import pkgutil
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

PROCESS = uuid4().hex


def handler(event: dict[str, Any], context: Any) -> Any:
    return globals()[event["do"]](context, *event.get("with", []))


def describe(context: Any) -> dict[str, Any]:
    return {
        "process": PROCESS,
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),  # noqa: PTH208
        "path": sys.path,
        "folder": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "home": Path.home().exists(),
        "shared_memory": Path("/dev/shm").exists(),
        "root": sorted(path.name for path in Path("/").iterdir()),
        "tmp": sorted(path.name for path in Path("/tmp").iterdir()),
        "memory_mb": int(context.memory_limit_in_mb),
        "remaining_ms": context.get_remaining_time_in_millis(),
    }


def write(_: Any, path: str) -> str:
    try:
        Path(path).write_text("here")
    except OSError as error:
        return str(error.strerror)
    return "written"


def sleep(_: Any, seconds: float) -> None:
    time.sleep(seconds)


def text(_: Any, length: int) -> str:
    """A text of this length; as JSON it is two bytes longer."""
    return length * "x"


def fail(_: Any) -> None:
    raise ValueError("requested by the test")


def die(_: Any) -> None:
    os._exit(3)


def import_all(_: Any, *packages: str) -> dict[str, str]:
    """Import every public module of the packages. Returns the errors by module."""
    warnings.simplefilter("ignore")
    failures = {}
    for name in packages:
        for public in _public(importlib.import_module(name)):
            try:
                importlib.import_module(public)
            except ImportError as error:
                failures[public] = str(error)
    return failures


def star_import(_: Any, package: str) -> list[str]:
    """The names of `from package import *`, which fails if one of them is missing."""
    names: dict[str, Any] = {}
    exec(f"from {package} import *", names)  # noqa: S102
    return sorted(names)


def _public(package: ModuleType) -> list[str]:
    modules = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [name for _, name, _ in modules if "._" not in name]


def listen(_: Any, name: str) -> str:
    """What librosa returns for a fixed signal, as a .npy file in base64; or its error."""
    import numpy as np
    from librosa_calls import CALLS

    try:
        answer = np.asarray(CALLS[name]())
    except NotImplementedError as error:  # the layer's CompilerMissingError is one
        return f"{type(error).__name__}: {error}"
    file = io.BytesIO()
    np.save(file, answer)
    return base64.b64encode(file.getvalue()).decode()


def compile_with_numba(_: Any) -> None:
    import numba

    @numba.njit
    def double(number: int) -> int:
        return 2 * number

    double(2)  # type: ignore[type-var]  # numba's stub reads a bare njit as njit(signature)
