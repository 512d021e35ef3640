"""The threads that NumPy, SciPy and scikit-learn compute with; each case is a new process."""

import json
import os
import subprocess
import sys

import pytest

from oddsound.threads import VARIABLES
from oddsound_workbench.files import PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway"),
]

UVICORN = "from uvicorn.importer import import_from_string as load; load('functions.api.app:app')"
LIBRARIES = """
import ctypes, importlib.util, numpy, pathlib
needed = {"scipy": "linalg/_fblas*.so", "sklearn": "utils/_openmp_helpers*.so"}
for package, extension in needed.items():
    (path,) = pathlib.Path(importlib.util.find_spec(package).origin).parent.glob(extension)
    ctypes.CDLL(str(path))
"""
"""Loads what NumPy, SciPy and scikit-learn compute with, which reads the variables then: by NumPy,
and by an extension of each of the others, because to import scikit-learn takes a second."""

EARLY_NUMPY = f"{LIBRARIES}\n{UVICORN}"
SERVE = "from oddsound_workbench.cli import serving; from oddsound.http.app import create_app"
SERVE += "; serving.configure(None); create_app()"
COMMAND = "import runpy, sys; sys.argv = ['oddsound', 'predict', 'missing.wav', '--json']"
COMMAND += (
    "\ntry: runpy.run_module('oddsound_workbench.cli', run_name='__main__')\nexcept SystemExit: ..."
)
WORKER = "import oddsound_workbench.local.worker"
WORKER += "; from oddsound_workbench.local import handlers"
WORKER += "; handlers.load('functions.sqs_trigger.app')"
UPLOADS = "import functions.s3_trigger.app"
TRAINING = "import oddsound_workbench.training"
WAYS = [UVICORN, EARLY_NUMPY, SERVE, COMMAND, WORKER, UPLOADS]

PRINT_POOLS = f"""
{LIBRARIES}
import json, threadpoolctl
pools = threadpoolctl.threadpool_info()
print(json.dumps([[pool["prefix"], pool["num_threads"]] for pool in pools]))
"""


def pools(code: str, **environment: str) -> dict[str, int]:
    """The threads of each library after `code`, in a process without variables of this one."""
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{PRINT_POOLS}"],
        cwd=PROJECT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("code", WAYS)
def test_a_service_and_a_command_compute_with_one_thread(code: str) -> None:
    found = pools(code)
    assert {"libscipy_openblas", "libgomp"} <= set(found) or sys.platform != "linux"
    assert set(found.values()) == {1}


@pytest.mark.parametrize("code", [EARLY_NUMPY, COMMAND])
def test_blas_threads_changes_the_number(code: str) -> None:
    settings = {"BLAS_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    found = pools(code, **settings)
    assert set(found.values()) == {2}


def test_a_program_that_imports_the_library_keeps_its_threads() -> None:
    code = "import oddsound; oddsound.load_model('fan')"
    assert pools(code, OPENBLAS_NUM_THREADS="2")["libscipy_openblas"] == 2


def test_training_may_use_more() -> None:
    assert pools(TRAINING, OPENBLAS_NUM_THREADS="2")["libscipy_openblas"] == 2
