"""Prepare a folder of installed packages for a Lambda layer: add stand-ins, slim, compile.

    python slim.py FOLDER

FOLDER becomes /opt/python. The same packages always give the same bytes, so that an unchanged
layer is not published again.
"""

import compileall
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from py_compile import PycInvalidationMode

STAND_INS = Path(__file__).parent / "stand_in"
EPOCH_S = 315_532_800
"""1980-01-01, the earliest time that a zip file can store."""

SURPLUS_FOLDERS = {"test", "tests", ".agents"}
BUILD_ONLY = {".h", ".hpp", ".c", ".cpp", ".pyx", ".pxd", ".pxi", ".tp", ".a", ".f", ".f90"}
NEVER_READ = {
    "RECORD",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
    "py.typed",
    ".lock",
    "conftest.py",
    "meson.build",
}

KEPT = {
    Path("numpy/_core/tests/_natype.py"),  # numpy.testing imports it
}
STUBS_READ_BY = {"librosa"}
"""These packages read their .pyi files to import their modules lazily."""

TESTS_ONLY = {
    "numpy/_core": (
        "_multiarray_tests",
        "_operand_flag_tests",
        "_rational_tests",
        "_simd",
        "_struct_ufunc_tests",
        "_umath_tests",
    ),
    "scipy/_lib": ("_test_ccallback", "_test_deprecation_call", "_test_deprecation_def"),
    "scipy/integrate": ("_test_multivariate",),
    "scipy/ndimage": ("_ctest", "_cytest"),
    "scipy/special": ("_test_internal",),
}
"""Compiled modules that only the tests of a package import, by folder."""

NEVER_CALLED = {"scipy/io/_fast_matrix_market": ("_fmm_core",)}
"""Compiled modules that are imported by a function which no model calls: scipy.io.mmread here."""

UNUSED_MODULES = {**TESTS_ONLY, **NEVER_CALLED}

UNUSED_FOLDERS = (
    "bin",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "numpy/_pyinstaller",
    "numpy/random/_examples",
    "scipy/odr",  # imported by no other package, and removed in the next SciPy
    "sklearn/datasets/data",
    "sklearn/datasets/descr",
    "sklearn/datasets/images",
    # soundfile needs only the compiled module of cffi, _cffi_backend.
    "cffi",
    "packaging/licenses",  # only packaging.metadata imports it, which no other package imports
)

UNUSED_FILES = {Path("fastapi_offline/static/redoc.standalone.js")}

ONLY_FILES_OF_THE_PAGE = {
    "wavesurfer": (
        "js/wavesurfer.min.js",
        "js/plugins/hover.min.js",
        "js/plugins/regions.min.js",
        "js/plugins/spectrogram.min.js",
        "js/plugins/timeline.min.js",
        "js/plugins/zoom.min.js",
        "js/vendor-licenses/wavesurfer.js.LICENSE",
    ),
}
"""Packages that are never imported, with the files of them that are served."""


def slim(folder: Path) -> None:
    """Remove files that are never read at run time, compile the rest, reset all file times."""
    shutil.copytree(STAND_INS, folder, dirs_exist_ok=True)
    for name in UNUSED_FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder comes after its content
        if path.is_file() and _is_surplus(path.relative_to(folder)):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for path in folder.glob("*.dist-info/sboms/*.json"):
        compact(path)
    byte_compile(folder)
    reset_times(folder)


def compact(path: Path) -> None:
    """Write a JSON file without spaces: the same values, in half the bytes."""
    with suppress(ValueError):  # what is not JSON stays as it is
        value = json.loads(path.read_bytes())
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        path.write_text(text, encoding="utf-8")


def _is_surplus(path: Path) -> bool:
    if path in KEPT:
        return False
    if path.parts[0] in ONLY_FILES_OF_THE_PAGE:
        return Path(*path.parts[1:]).as_posix() not in ONLY_FILES_OF_THE_PAGE[path.parts[0]]
    if path.suffix == ".pyi":
        return path.parts[0] not in STUBS_READ_BY
    return (
        path in UNUSED_FILES
        or not SURPLUS_FOLDERS.isdisjoint(path.parts[:-1])
        or path.suffix in BUILD_ONLY
        or path.name.partition(".")[0] in UNUSED_MODULES.get(path.parent.as_posix(), ())
        or path.name in NEVER_READ
        or path.suffix == ".pyc"
    )


def byte_compile(folder: Path) -> None:
    """Compile all modules: Lambda's /opt is read-only, so others are compiled at every start.

    Python loads `unchecked-hash` bytecode without comparing it with its source. One process
    compiles everything: with several, the bytes would depend on how the files were divided.
    """
    done = compileall.compile_dir(
        folder,
        quiet=1,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=folder,
        prependdir="/opt/python",
    )
    if not done:
        raise SystemExit(f"{folder} has a file that Python {sys.version.split()[0]} cannot compile")


def reset_times(folder: Path) -> None:
    """Give every file the same time in every build."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (EPOCH_S, EPOCH_S))


def size(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 13):
        raise SystemExit(
            f"Python 3.13 is required for its bytecode; this is {sys.version.split()[0]}"
        )
    slim(Path(sys.argv[1]))
    sys.stdout.write(f"The layer has {size(Path(sys.argv[1])):,} bytes.\n")
