"""Runs the command line in the process of the tests."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from oddsound_workbench.cli import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)
