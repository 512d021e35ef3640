"""The command line as a person and as a script use it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import soundfile
import typer.main

from oddsound_workbench.cli import app
from oddsound_workbench.synthesis import fan, write_fan
from tests.workbench.command import read, run


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with a normal recording, one with a fault, and a damaged file."""
    write_fan(tmp_path / "a-normal.wav", 600, faulty=False, duration_s=2)
    write_fan(tmp_path / "b" / "faulty.wav", 601, faulty=True, duration_s=2)
    (tmp_path / "c-broken.wav").write_bytes(b"RIFF")
    (tmp_path / "notes.txt").write_text("no recording")
    return tmp_path


def test_predict_prints_one_array_in_the_order_given(configured: Path, mixed: Path) -> None:
    files = [mixed / "c-broken.wav", mixed / "a-normal.wav", mixed / "b" / "faulty.wav"]
    found = read(run("predict", *files, "--json"), code=1)
    assert [entry["file"] for entry in found] == [str(file) for file in files]
    assert set(found[0]) == {"file", "error", "detail"}
    assert found[0]["error"] == "InvalidAudioError"
    assert [entry["prediction"] for entry in found[1:]] == ["normal", "anomaly"]
    assert {"probability", "all_probabilities", "latency_ms", "is_anomaly"} <= set(found[1])


def test_predict_prints_the_strongest_events_within_80_columns(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sound = fan(600, faulty=False, duration_s=4)
    for start in range(8000, 56000, 8000):
        sound[start : start + 800] = 0
    soundfile.write(tmp_path / "mute.wav", sound, 16000)
    events = read(run("predict", tmp_path / "mute.wav", "--json"))[0]["events"]
    assert [event["kind"] for event in events] == ["dropout"] * 6
    lines = run("predict", tmp_path / "mute.wav").stdout.splitlines()
    assert max(len(line) for line in lines if not line.endswith("mute.wav")) <= 80
    start = next(i for i, line in enumerate(lines) if line.endswith("mute.wav"))
    assert sum("the sound drops out for" in line for line in lines[start:]) == 5
    assert "  1 more with smaller scores; --json shows them" in lines


def test_a_missing_file_does_not_stop_the_others(configured: Path, mixed: Path) -> None:
    files = [mixed / "missing.wav", mixed / "a-normal.wav"]
    found = read(run("predict", *files, "--json"), code=1)
    assert found[0] == {
        "file": str(files[0]),
        "error": "FileNotFoundError",
        "detail": "No such file or directory",
    }
    assert found[1]["prediction"] == "normal"


def test_a_file_name_with_markup_is_printed_unchanged(
    configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    write_fan(tmp_path / "q[" / "b].wav", 600, faulty=False, duration_s=2)
    write_fan(tmp_path / "[red] 1.wav", 600, faulty=False, duration_s=2)
    result = run("predict", tmp_path)
    assert result.exit_code == 0
    assert "[red] 1.wav" in result.stdout
    assert "q[/b].wav" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker", "--queue-url", "http://127.0.0.1:9/queue"],
        ["push", "s3://bucket", "--endpoint-url", "nonsense"],
    ],
)
def test_an_error_of_aws_is_one_line(
    arguments: list[str], configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    result = run(*arguments)
    assert result.exit_code == 3, result.output
    assert "Error:" in result.stderr
    assert "Traceback" not in result.output


def test_predict_takes_every_recording_below_a_folder(configured: Path, mixed: Path) -> None:
    found = read(run("predict", mixed, "--json"), code=1)
    names = [Path(entry["file"]).name for entry in found]
    assert names == ["a-normal.wav", "faulty.wav", "c-broken.wav"]


def test_predict_prints_a_table_and_the_reason_of_each_failure(
    configured: Path, mixed: Path
) -> None:
    result = run("predict", mixed)
    assert result.exit_code == 1
    assert "2 of 3 scored, 1 anomaly" in result.stdout
    assert "c-broken.wav: the file begins like WAV but cannot be decoded" in result.stderr


def test_predict_warns_of_a_low_sample_rate(
    configured: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mixed)
    sound, rate = soundfile.read("a-normal.wav")
    soundfile.write("slow.wav", sound[::2], rate // 2)
    shutil.copy("slow.wav", "slow-2.wav")
    printed = run("predict", "a-normal.wav", "slow.wav", "slow-2.wav").stderr
    warning = " ".join(printed.split())
    expected = "Warning: slow.wav and 1 more: the recording contains nothing above 4.0 kHz"
    assert expected in warning
    assert "the model compares up to 7.2 kHz, and here only up to 3.6 kHz: record at" in warning
    assert "Warning" not in run("predict", "a-normal.wav").stderr


def test_predict_prints_what_the_recorder_did_in_80_columns(
    configured: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mixed)
    monkeypatch.setenv("COLUMNS", "80")
    sound, rate = soundfile.read("b/faulty.wav")
    soundfile.write("clipped.wav", (20 * sound).clip(-1, 1), rate, "PCM_16")
    warnings = run("predict", "clipped.wav").stderr
    assert max(map(len, warnings.splitlines())) <= 80
    share = 100 * (abs(20 * sound) >= 1).mean()
    assert " ".join(warnings.split()) == (
        f"Warning: clipped.wav: {share:.0f} % of the samples are clipped: turn the recorder down"
        " Warning: clipped.wav: the anomaly may come from the recorder, not from the machine:"
        " clipping"
    )
    (found,) = read(run("predict", "clipped.wav", "--json"))
    assert len(found["signal"]["warnings"]) == 2


def test_predict_with_another_model_and_models_file(trained: Path, mixed: Path) -> None:
    arguments = ("--model", "bearing", "--models", trained, "--json")
    (found,) = read(run("predict", mixed / "b" / "faulty.wav", *arguments))
    assert (found["model_name"], found["prediction"]) == ("bearing", "faulty")


def test_predict_explains_below_the_table(configured: Path, mixed: Path) -> None:
    result = run("predict", mixed / "a-normal.wav", mixed / "b" / "faulty.wav", "--explain")
    assert result.exit_code == 0
    *before, normal, faulty = result.stdout.split("\n\n")
    assert "than normal" not in "".join(before)
    assert "a-normal.wav" in normal
    assert "faulty.wav" in faulty
    assert re.search(r"^ +\+\d+\.\d sd  Louder than normal between ", faulty, re.MULTILINE)


def test_predict_explains_in_json(configured: Path, mixed: Path) -> None:
    faulty = mixed / "b" / "faulty.wav"
    (plain,) = read(run("predict", faulty, "--json"))
    (found,) = read(run("predict", faulty, "--explain", "--json"))
    assert list(found) == [*plain, "explanation"]
    assert found["explanation"]["bands"][0]["says"].startswith("Louder than normal")


def test_an_anomaly_can_fail_a_script(configured: Path, mixed: Path) -> None:
    assert run("predict", mixed / "a-normal.wav", "--fail-on-anomaly").exit_code == 0
    assert run("predict", mixed / "b", "--fail-on-anomaly").exit_code == 10
    assert run("predict", mixed / "b").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "--model", "pump", "."], "contains no recordings"),
        (["models", "--models", "missing.json"], "missing.json: No such file"),
        (["train", "missing", "--name", "x"], "missing is not a folder"),
        (["train", ".", "--name", "../x"], "cannot name a model"),
        (["evaluate", ".", "--model", "pump", "--models", "missing.json"], "missing.json"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 3
    assert words in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    body = read(run(*arguments, "--json"), code=3)
    assert set(body) == {"error", "detail"}
    assert words in body["detail"]


def test_an_unknown_model_lists_the_known(configured: Path, mixed: Path) -> None:
    body = read(run("predict", mixed, "--model", "pump", "--json"), code=3)
    assert body["error"] == "UnknownModelError"
    assert "bearing, fan" in body["detail"]


def test_wrong_usage_exits_with_2() -> None:
    assert run("predict").exit_code == 2
    assert run("train", ".").exit_code == 2


def test_models_are_listed(configured: Path) -> None:
    found = read(run("models", "--json"))
    assert found["default"] == "fan"
    assert [info["name"] for info in found["models"]] == ["bearing", "fan"]
    table = run("models").stdout
    assert "bearing" in table
    assert "(default)" in table


def test_the_projects_own_models_serve_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(run("models", "--json"))
    assert {"esc10", "fan"} <= {info["name"] for info in found["models"]}


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_train_then_predict(recordings: Path, tmp_path: Path) -> None:
    models = tmp_path / "models.json"
    options = ("--name", "fan", "--models", models, "--anomalies", recordings / "faulty", "--json")
    trained = read(run("train", recordings / "normal", *options))
    assert trained["metrics"]["auc"] > 0.9
    assert trained["entry"]["predictor"] == "mahalanobis_views"
    found = read(run("predict", recordings / "faulty", "--models", models, "--json"))
    assert all(entry["is_anomaly"] for entry in found)


def test_the_list_of_models_shows_intervals_and_entries_without_them(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    entries = json.loads(trained.read_text())
    metrics = entries["fan"]["metrics"]
    limits = metrics["false_alarm_rate_interval"]
    old = {"auc": 0.93, "false_alarm_rate": 0.125, "false_alarm_rate_interval": "unknown"}
    entries["bearing"]["metrics"] = old
    shutil.copytree(trained.parent, tmp_path / "models")
    models = tmp_path / "models" / "models.json"
    models.write_text(json.dumps(entries))
    found = run("models", "--models", models).stdout
    shown = f"({limits['low']:.2g} to {limits['high']:.2g})"
    assert f"false alarms {metrics['false_alarm_rate']:.4g} {shown}" in found
    more = metrics["more_recordings_to_halve_interval"]
    assert "certainty    with 24 normal recordings, the rate of false alarms may be" in found
    assert found.count("certainty") == 1
    assert f"With {more} more, this interval would be half as wide" in " ".join(found.split())
    assert "  metrics      AUC 0.93\n               false alarms 0.125\n" in found
    listed = read(run("models", "--models", models, "--json"))["models"]
    assert next(each for each in listed if each["name"] == "bearing")["metrics"] == old


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--json", "--workers", "1"], []])
def test_serve_answers_and_stops_at_ctrl_c(
    trained: Path, recordings: Path, arguments: list[str]
) -> None:
    command = [
        sys.executable,
        "-m",
        "oddsound_workbench.cli",
        "serve",
        "--http-only",
        "--in-memory",
        "--port",
        "0",
    ]
    with subprocess.Popen(
        [*command, "--models", str(trained), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = json.loads(line)["url"] if arguments else line.split()[1].removesuffix("/ui")
            assert url.startswith("http://127.0.0.1:")
            files = {"file": (recordings / "faulty" / "00.wav").read_bytes()}
            answer = httpx2.post(f"{url}/predict-anomaly", files=files, timeout=60)
            assert answer.json()["prediction"] == "anomaly"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_serve_listens_on_this_computer_only_by_default() -> None:
    group: Any = typer.main.get_command(app)
    (host,) = [param for param in group.commands["serve"].params if param.name == "host"]
    assert host.default == "127.0.0.1"


@pytest.mark.parametrize("mode", [[], ["--http-only"]])
def test_a_port_in_use_is_reported(trained: Path, mode: list[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", *mode, "--port", port, "--models", trained)
    assert result.exit_code == 3
    assert "Address already in use" in result.stderr


def test_help_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from oddsound_workbench.cli import app\n"
        "heavy = {'numpy', 'librosa', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported at start: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stereo_recording_at_another_rate_is_scored(configured: Path, tmp_path: Path) -> None:
    import numpy as np
    import soxr

    from oddsound_workbench.synthesis import fan

    mono = soxr.resample(fan(650, faulty=True, duration_s=2), 16000, 44100)
    path = tmp_path / "stereo.flac"
    soundfile.write(path, np.column_stack([mono, mono]), 44100)
    (found,) = read(run("predict", path, "--json"))
    assert found["is_anomaly"] is True
    assert found["sample_rate"] == 44100
