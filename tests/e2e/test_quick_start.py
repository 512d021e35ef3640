"""The first screen of the README, run as a newcomer does."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oddsound_workbench import synthesis
from oddsound_workbench.cli import app
from tests.pages import README, blocks

pytestmark = pytest.mark.slow

QUICK_START = blocks("sh", README)[0]


def test_the_quick_start_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs the first screen of the README: recordings, training, prediction, Python."""
    monkeypatch.chdir(tmp_path)
    ((folder, entered),) = re.findall(
        r"^python -m oddsound_workbench.synthesis (\w+) && cd (\w+)", QUICK_START, re.MULTILINE
    )
    monkeypatch.setattr("sys.argv", ["synthesis", folder])
    synthesis.main()
    monkeypatch.chdir(entered)
    output = ""
    for line in QUICK_START.splitlines():
        if line.startswith("oddsound "):
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            assert result.exit_code == 0, result.output
            output = result.output
    shown, printed = rows(blocks("text", README)[0]), rows(output)
    assert shown[0] == printed[0]
    for (*words, score, duration, _), (*found, found_score, found_duration, _) in zip(
        shown[1:], printed[1:], strict=True
    ):
        assert (words[:2], duration) == (found[:2], found_duration)
        assert float(score) == pytest.approx(float(found_score), abs=0.05)
    assert blocks("text", README)[0].splitlines()[-1] == output.splitlines()[-1]

    (program,) = blocks("python", README)
    capsys.readouterr()
    exec(program, {})  # noqa: S102  the README's own program
    (promised,) = re.findall(r"^print.*# (.*)$", program, re.MULTILINE)
    assert capsys.readouterr().out == f"{promised}\n"


def rows(text: str) -> list[list[str]]:
    """The cells of the table at the start of the text; those without a value are left out."""
    lines = itertools.takewhile(str.strip, text.splitlines())
    return [re.split(" {2,}", line.strip()) for line in lines if "──" not in line]
