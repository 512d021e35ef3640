"""What is built, as it goes to Lambda."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddsound_workbench.local import built as deployment
from oddsound_workbench.local.built import Deployment

ROOT = Path(__file__).parents[2]
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "x86_64")


@pytest.fixture(scope="session")
def built() -> Path:
    """`sam build` for this machine, and the dependency layer for both architectures."""
    targets = ("build", "layers", "build/runtime", f"ARCHITECTURE={ARCHITECTURE}")
    done = subprocess.run(["make", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return deployment.BUILD


@pytest.fixture(scope="session")
def deployed(built: Path) -> Iterator[Deployment]:
    """The built functions and layers, with the shipped models on S3."""
    if sys.platform != "linux":
        pytest.skip(f"Lambda's emulator is a program for Linux; this is {sys.platform}")
    with deployment.running(build=built) as made:
        yield made
