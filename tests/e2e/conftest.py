"""The built functions and layers, and the local stack."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from oddsound_workbench.files import BUILD, PROJECT, TEMPLATE
from oddsound_workbench.local import built as deployment
from oddsound_workbench.local import cloud
from oddsound_workbench.local.built import Deployment
from oddsound_workbench.local.cloud import LocalCloud
from oddsound_workbench.synthesis import write_fan

ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "x86_64")


@pytest.fixture(scope="session")
def built() -> Path:
    """Run `sam build` for this machine, and build the dependency layer for both architectures."""
    targets = ("build", "layers", "build/runtime", f"ARCHITECTURE={ARCHITECTURE}")
    # Not the jobs of the make that runs these tests: these targets run one after the other.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", *targets],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return BUILD


@pytest.fixture(scope="session")
def deployed(built: Path) -> Iterator[Deployment]:
    """The built functions and layers, with the shipped models on S3."""
    if sys.platform != "linux":
        pytest.skip(f"Lambda's emulator runs only on Linux; this is {sys.platform}")
    with deployment.running(build=built) as made:
        yield made


@pytest.fixture(scope="session")
def local_cloud(trained: Path) -> Iterator[LocalCloud]:
    """The local stack with the trained models; it checks models.json for changes often."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MODELS_REFRESH_S", "0.5")
            running = cloud.running(TEMPLATE, trained, visibility_timeout_s=1)
            started = stack.enter_context(running)
        yield started


@pytest.fixture(scope="session")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A normal recording and one with a fault, by the prediction that is expected."""
    folder = tmp_path_factory.mktemp("wavs")
    return {
        "normal": write_fan(folder / "normal.wav", 600, faulty=False, duration_s=2),
        "anomaly": write_fan(folder / "anomaly.wav", 601, faulty=True, duration_s=2),
    }
