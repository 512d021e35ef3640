"""The wheel in an empty environment, as a user who installs it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from oddsound import __version__
from oddsound.settings import Settings
from oddsound_workbench.files import PROJECT
from oddsound_workbench.synthesis import write_fan

pytestmark = pytest.mark.slow

UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run without this project's packages and settings."""
    ours = {"PYTHONPATH", "VIRTUAL_ENV", *(name.upper() for name in Settings.model_fields)}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        command, cwd=cwd, env=kept | {"COLUMNS": "200"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", folder)
    run(*command, cwd=PROJECT)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and the tested versions of what it needs."""
    environment = tmp_path_factory.mktemp("environment")
    run(UV, "venv", "--quiet", "--python", sys.executable, environment / "venv", cwd=environment)
    pins = PROJECT / "requirements" / "dev.txt"
    python = environment / "venv" / "bin" / "python"
    run(
        *(UV, "pip", "install", "--quiet", "--python", python, "--constraint", pins, wheel),
        cwd=environment,
    )
    return python.parent


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder with one recording."""
    write_fan(tmp_path / "fan.wav", 601, faulty=True, duration_s=10)
    return tmp_path


def test_the_wheel_contains_the_two_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    shipped = json.loads((PROJECT / "models" / "models.json").read_text(encoding="utf-8"))
    assert top == {"oddsound", "oddsound_workbench", f"oddsound-{__version__}.dist-info"}
    assert {
        "oddsound/models/models.json",
        f"oddsound/models/{shipped['fan']['model_path']}",
        "oddsound/py.typed",
        "oddsound/http/page/ui.html",
        "oddsound/http/page/app.js",
        "oddsound/http/page/docs.html",
        "oddsound_workbench/project/template.yaml",
        "oddsound_workbench/project/functions/api/app.py",
    } <= set(names)


def test_help_models_and_predict_in_an_empty_folder(installed: Path, empty: Path) -> None:
    oddsound = installed / "oddsound"
    assert "predict" in run(oddsound, "--help", cwd=empty).stdout
    models = json.loads(run(oddsound, "models", "--json", cwd=empty).stdout)
    assert {"esc10", "fan"} <= {info["name"] for info in models["models"]}
    (found,) = json.loads(run(oddsound, "predict", "fan.wav", "--json", cwd=empty).stdout)
    assert found["model_name"] == "fan"
    assert found["prediction"] in ("normal", "anomaly")
    assert 0 <= found["anomaly_score"] <= 1


def test_five_lines_of_python(installed: Path, empty: Path) -> None:
    program = (
        "import oddsound; print(oddsound.predict('fan.wav', oddsound.load_model('fan')).model_name)"
    )
    assert run(installed / "python", "-c", program, cwd=empty).stdout == "fan\n"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", ".", "--name", "x"], "train"),
        (["evaluate", "."], "train"),
        (["predict", "fan.wav", "--html", "out.html"], "train"),
        (["watch", "."], "watch"),
        (["serve"], "local"),
        (["serve", "--http-only"], "serve"),
        (["worker", "--queue-url", "http://127.0.0.1:9/queue"], "aws"),
        (["push", "s3://bucket"], "aws"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_a_missing_package_names_the_extra(
    arguments: list[str], extra: str, installed: Path, empty: Path
) -> None:
    done = run(installed / "oddsound", *arguments, cwd=empty, code=3)
    assert f"Install it with: pip install 'oddsound[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
