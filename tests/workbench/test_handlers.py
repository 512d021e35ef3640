"""Handlers are loaded from their files, wherever the project is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddsound_workbench.local import handlers


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder that is not on sys.path, as in an installed wheel."""
    monkeypatch.setattr(handlers, "PROJECT", tmp_path)
    (tmp_path / "functions" / "echo").mkdir(parents=True)
    yield tmp_path
    sys.modules.pop("functions.echo.app", None)


def test_a_handler_is_loaded_from_a_project_that_is_not_on_the_path(installed: Path) -> None:
    (installed / "functions/echo/app.py").write_text("def handler(event): return event\n")
    module = handlers.load("functions.echo.app")
    assert module.handler(3) == 3
    assert str(installed) not in sys.path
    assert handlers.load("functions.echo.app") is module


def test_a_missing_handler_is_named(installed: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"functions/echo/app\.py does not exist"):
        handlers.load("functions.echo.app")


def test_a_handler_that_fails_is_loaded_again_by_the_next_call(installed: Path) -> None:
    path = installed / "functions/echo/app.py"
    path.write_text("raise ValueError('not yet')\n")
    with pytest.raises(ValueError, match="not yet"):
        handlers.load("functions.echo.app")
    path.write_text("handler = 'second version, of another size'\n")
    assert handlers.load("functions.echo.app").handler == "second version, of another size"


def test_the_handlers_of_the_project_are_found() -> None:
    assert callable(handlers.load("functions.api.app").handler)
