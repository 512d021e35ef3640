"""Settings and models.json in every encoding, as each command reads them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.workbench.command import read, run

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own with the two trained models."""
    shutil.copytree(trained.parent, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_models_json_with_a_byte_order_mark(
    folder: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = folder / "models" / "models.json"
    models.write_bytes(BOM + models.read_bytes())
    assert [info["name"] for info in read(run("models", "--json"))["models"]] == ["bearing", "fan"]
    read(run("predict", recordings / "normal" / "00.wav", "--json"))
    read(run("train", recordings / "normal", "--name", "pump", "--json"))
    assert set(json.loads(models.read_bytes())) == {"bearing", "fan", "pump"}


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@pytest.mark.parametrize("command", ["models", "predict", "train", "evaluate", "serve", "push"])
def test_models_json_in_another_encoding_is_one_line(
    command: str, encoding: str, folder: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    models = folder / "models" / "models.json"
    before = '{"für": {"model_path": "a"}}'.encode(encoding)
    models.write_bytes(before)
    arguments: dict[str, list[object]] = {
        "models": [],
        "predict": [recordings / "normal" / "00.wav"],
        "train": [recordings / "normal", "--name", "pump"],
        "evaluate": [recordings / "normal", "--model", "fan"],
        "serve": [],
        "push": ["s3://bucket"],
    }
    result = run(command, *arguments[command])
    assert result.exit_code == 3, result.output
    assert "models.json is not UTF-8 text: byte" in result.stderr
    assert "save it as UTF-8" in result.stderr
    assert models.read_bytes() == before


def test_a_dotenv_with_a_byte_order_mark_is_read(folder: Path) -> None:
    (folder / ".env").write_bytes(BOM + b"DEFAULT_MODEL_NAME=bearing\n")
    assert read(run("models", "--json"))["default"] == "bearing"


@pytest.mark.parametrize("command", [["models"], ["serve", "--http-only"], ["serve"]])
def test_a_dotenv_in_another_encoding_is_one_line(command: list[str], folder: Path) -> None:
    (folder / ".env").write_bytes("DEFAULT_MODEL_NAME=bearing\n".encode("utf-16"))
    result = run(*command)
    assert result.exit_code == 3, result.output
    assert ".env is not UTF-8 text: byte 0 is 0xff; save it as UTF-8" in result.stderr


def test_predict_uses_the_only_model(folder: Path, recordings: Path) -> None:
    """So does `oddsound serve`: tests/e2e/test_serve.py."""
    models = folder / "models" / "models.json"
    models.write_text(json.dumps({"pump": json.loads(models.read_bytes())["fan"]}))
    wav = recordings / "faulty" / "00.wav"
    assert read(run("predict", wav, "--json"))[0]["model_name"] == "pump"


def test_serve_with_env_vars_needs_docker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    result = run("serve", "--port", "0", "--env-vars", folder / "env.json")
    assert result.exit_code == 3, result.output
    assert "the command docker cannot be run (No such file or directory)" in result.stderr
    assert not (folder / "env.json").exists()
