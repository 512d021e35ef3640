"""Make a folder of installed packages fit for a Lambda layer: stand-ins, slimmed, compiled.

    python slim.py FOLDER

FOLDER is what becomes /opt/python. The same packages always give the same bytes, so that an
unchanged layer is not published again. Fails, naming the largest packages, over the limit.
"""

import compileall
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from py_compile import PycInvalidationMode

LIMIT_BYTES = 250_000_000
"""Lambda takes 262,144,000 bytes unzipped; the rest is for the function and its other layer."""

STAND_INS = Path(__file__).parent / "stand_in"
EPOCH_S = 315_532_800
"""1980-01-01, the oldest time that a zip file can say."""

SURPLUS_FOLDERS = {"test", "tests", "sboms"}
BUILD_ONLY = {".h", ".hpp", ".c", ".cpp", ".pyx", ".pxd", ".pxi", ".tp", ".a", ".f", ".f90"}
NEVER_READ = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "py.typed", ".lock"}

KEPT = {
    Path("numpy/_core/tests/_natype.py"),  # numpy.testing imports it
}
STUBS_READ_BY = {"librosa"}
"""These packages read their own .pyi files, to import their parts when they are first used."""

NEVER_ASKED_FOR = (
    "bin",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "numpy/random/_examples",
    "sklearn/datasets/data",
    "sklearn/datasets/descr",
    "sklearn/datasets/images",
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
        or path.name in NEVER_READ
        or path.suffix == ".pyc"
    )


def byte_compile(folder: Path) -> None:
    """Lambda's /opt cannot be written: what is not compiled here is compiled at every start.

    `unchecked-hash` bytecode is taken as it is, without a look at its source's time.
    """
    done = compileall.compile_dir(
        folder,
        quiet=1,
        workers=0,
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


def sizes(folder: Path) -> Counter[str]:
    """Bytes of each package of `folder`."""
    counted: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file():
            counted[path.relative_to(folder).parts[0]] += path.stat().st_size
    return counted


def report(folder: Path, limit_bytes: int = LIMIT_BYTES) -> str:
    """One line, where the layer is within its limit. Raises SystemExit where it is not."""
    counted = sizes(folder)
    total = counted.total()
    if total <= limit_bytes:
        return f"The layer has {total:,} bytes; {limit_bytes - total:,} more are free."
    largest = "\n".join(f"{size:>14,}  {name}" for name, size in counted.most_common(10))
    raise SystemExit(
        f"The layer has {total:,} bytes; at most {limit_bytes:,} are allowed."
        f" The largest packages are:\n{largest}"
    )


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 13):
        raise SystemExit(f"bytecode for Python 3.13 is needed; this is {sys.version.split()[0]}")
    slim(Path(sys.argv[1]))
    sys.stdout.write(report(Path(sys.argv[1])) + "\n")
