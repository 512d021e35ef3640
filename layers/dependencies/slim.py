"""Make a folder of installed packages fit for a Lambda layer: stand-ins, slimmed, compiled.

    python slim.py FOLDER

FOLDER is what becomes /opt/python. The same packages always give the same bytes, so that an
unchanged layer is not published again.
"""

import compileall
import os
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

STAND_INS = Path(__file__).parent / "stand_in"
EPOCH_S = 315_532_800
"""1980-01-01, the oldest time that a zip file can say."""

SURPLUS_FOLDERS = {"test", "tests", "sboms", ".agents"}
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
"""These packages read their own .pyi files, to import their parts when they are first used."""

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
"""Compiled modules that nothing but a package's tests imports, by their folder."""

NEVER_ASKED_FOR = (
    "bin",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "numpy/_pyinstaller",
    "numpy/random/_examples",
    "scipy/odr",  # imported by no other package, and gone from the next SciPy
    "sklearn/datasets/data",
    "sklearn/datasets/descr",
    "sklearn/datasets/images",
    # soundfile needs cffi's compiled half alone, _cffi_backend.
    "cffi",
)


def slim(folder: Path) -> None:
    """Remove what is never read at run time, then compile, then forget when it was made."""
    shutil.copytree(STAND_INS, folder, dirs_exist_ok=True)
    for name in NEVER_ASKED_FOR:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder comes after what is in it
        if path.is_file() and _is_surplus(path.relative_to(folder)):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    byte_compile(folder)
    forget_times(folder)


def _is_surplus(path: Path) -> bool:
    if path in KEPT:
        return False
    if path.suffix == ".pyi":
        return path.parts[0] not in STUBS_READ_BY
    return (
        not SURPLUS_FOLDERS.isdisjoint(path.parts[:-1])
        or path.suffix in BUILD_ONLY
        or path.name.partition(".")[0] in TESTS_ONLY.get(path.parent.as_posix(), ())
        or path.name in NEVER_READ
        or path.suffix == ".pyc"
    )


def byte_compile(folder: Path) -> None:
    """Lambda's /opt cannot be written: what is not compiled here is compiled at every start.

    `unchecked-hash` bytecode is taken as it is, without a look at its source's time. One process
    compiles all: what several made would depend on which of them had which files before.
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


def forget_times(folder: Path) -> None:
    """Every file is as old as any other, in every build."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (EPOCH_S, EPOCH_S))


def size(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 13):
        raise SystemExit(f"bytecode for Python 3.13 is needed; this is {sys.version.split()[0]}")
    slim(Path(sys.argv[1]))
    sys.stdout.write(f"The layer has {size(Path(sys.argv[1])):,} bytes.\n")
