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
try:
    main()
except SystemExit as end:
    print(json.dumps([end.code or 0, sorted(sys.modules)]), file=sys.stderr)
"""
SCIENCE = {"sklearn", "joblib", "scipy.special", "scipy.linalg", "scipy.signal", "librosa", "numba"}
DRAWING = {"matplotlib", "PIL", "jinja2", "pandas"}
AWS = {"boto3", "botocore", "moto", "aws_lambda_powertools", "yaml"}
SERVING = {"fastapi", "starlette", "uvicorn", "mangum", "anyio"}
FORMATS = {"av"}
NEVER = SCIENCE | DRAWING | AWS | SERVING | FORMATS
PREDICTION = {"numpy", "soundfile", "soxr", "oddsound.pipeline", "oddsound.model"}


def imported(folder: Path, models: Path, *arguments: str) -> set[str]:
    """The modules that a command has imported, and that succeeded."""
    settings = {name.upper() for name in Settings.model_fields}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in settings}
        | {"MODELS_CONFIG_PATH": str(models)},
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["models"]])
def test_help_and_models_import_nothing_of_a_prediction(
    arguments: list[str], trained: Path, tmp_path: Path
) -> None:
    assert imported(tmp_path, trained, *arguments) & (NEVER | PREDICTION) == set()


@pytest.mark.parametrize("options", [[], ["--json"], ["--explain"]])
def test_a_prediction_imports_only_what_it_computes_with(
    options: list[str], trained: Path, tmp_path: Path
) -> None:
    """The trained model has a compiled file: it needs no scikit-learn."""
    recording = tmp_path / "fan.wav"
    recording.write_bytes(NORMAL)
    found = imported(tmp_path, trained, "predict", str(recording), *options)
    assert found >= PREDICTION - {"soxr"}
    assert found & NEVER == set()
