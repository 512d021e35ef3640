"""What the quick commands must not import: each import is processor time of every call."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oddsound.settings import Settings
from tests.cloud import NORMAL

pytestmark = pytest.mark.slow

RUN = """
import json, sys
from oddsound_workbench.cli import main
commands, found = json.loads(sys.argv[1]), []
for command in commands:
    sys.argv[1:] = command
    try:
        main()
    except SystemExit as end:
        found.append([end.code or 0, sorted(sys.modules)])
print(json.dumps(found), file=sys.stderr)
"""
SCIENCE = {"sklearn", "joblib", "scipy.special", "scipy.linalg", "scipy.signal", "librosa", "numba"}
DRAWING = {"matplotlib", "PIL", "jinja2", "pandas"}
AWS = {"boto3", "botocore", "moto", "aws_lambda_powertools", "yaml"}
SERVING = {"fastapi", "starlette", "uvicorn", "mangum", "anyio"}
FORMATS = {"av"}
NEVER = SCIENCE | DRAWING | AWS | SERVING | FORMATS
PREDICTION = {"numpy", "soundfile", "soxr", "oddsound.pipeline", "oddsound.model"}


def imported(folder: Path, models: Path, *commands: list[str]) -> list[set[str]]:
    """The modules that one process has imported after each of the commands, which succeeded."""
    settings = {name.upper() for name in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in settings}
        | {"MODELS_CONFIG_PATH": str(models)},
    )
    found = json.loads(done.stderr.splitlines()[-1])
    assert [code for code, _ in found] == [0] * len(commands), done.stderr
    return [set(modules) for _, modules in found]


def test_help_and_models_import_nothing_of_a_prediction(trained: Path, tmp_path: Path) -> None:
    for found in imported(tmp_path, trained, ["--help"], ["predict", "--help"], ["models"]):
        assert found & (NEVER | PREDICTION) == set()


def test_a_prediction_imports_only_what_it_computes_with(trained: Path, tmp_path: Path) -> None:
    """The trained model has a compiled file: it needs no scikit-learn."""
    recording = tmp_path / "fan.wav"
    recording.write_bytes(NORMAL)
    command = ["predict", str(recording)]
    for found in imported(
        tmp_path, trained, command, [*command, "--json"], [*command, "--explain"]
    ):
        assert found >= PREDICTION - {"soxr"}
        assert found & NEVER == set()


def test_the_processes_of_the_local_stack_import_nothing_of_a_training() -> None:
    """Each would do so: AWS in memory, every function, and the command itself."""
    code = (
        "import json, sys, oddsound_workbench.local.cloud; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & (SCIENCE | DRAWING) == set()
