"""The shared layer contains the whole library; its Makefile is run with make."""

import shutil
import subprocess
from pathlib import Path

import pytest

from oddsound_workbench.files import PROJECT

SHARED = PROJECT / "shared"


def sources(folder: Path) -> set[str]:
    """Every file of the library below `folder`, except bytecode."""
    found = (path for path in (folder / "oddsound").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found if path.suffix != ".pyc"}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_layer_has_every_file_of_the_library_and_its_bytecode(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "build-SharedLayer", f"ARTIFACTS_DIR={tmp_path}"],
        cwd=PROJECT / "layers" / "shared",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    python = tmp_path / "python"
    found = sources(python)
    assert found == sources(SHARED)
    for package in ("aws", "explain", "http"):
        assert f"oddsound/{package}/__init__.py" in found
        compiled = [path.name for path in (python / "oddsound" / package).rglob("*.pyc")]
        assert len(compiled) == len(list((SHARED / "oddsound" / package).glob("*.py")))
    assert (tmp_path / "samconfig.toml").is_file()
