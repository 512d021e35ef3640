"""A report as one HTML page: its plots inside, without a script, readable without a network."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import replace_file
from oddsound_workbench.report import plots
from oddsound_workbench.report import tables as report
from oddsound_workbench.report.tables import Mistake, Report, Result

PLAYABLE = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
"""How the names of recordings end that a browser can play."""

MOST_MISTAKES = 100
LINKED = (
    "Each name leads to the recording, from where this page lies to where the recordings lay"
    " when it was written."
)
NAMED = "The recordings are named and not linked: this page is made to be passed on without them."


def write(found: Report, path: Path, *, links: bool) -> None:
    """Write the page to a file. Raises FolderError where that cannot be done."""
    try:
        replace_file(path, render(found, path.parent, links=links).encode())
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror}") from None


def render(found: Report, folder: Path, *, links: bool) -> str:
    """The page. Whatever names hold is text in it.

    folder : where the page will lie
    links : whether it leads to the recordings, or names them alone
    """
    environment = Environment(
        loader=PackageLoader("oddsound_workbench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    single = found.results.get("")
    sections = [
        _section(name, result, folder if links else None) for name, result in found.results.items()
    ]
    return environment.get_template("report.html").render(
        report=found,
        key_figures=(
            report.key_figures(single) if single else report.summary_figures(found.results)
        ),
        summary=None if single else report.summary_table(found.results),
        sections=sections,
        sections_wrong=any(section["mistakes"] for section in sections),
        robustness=report.robustness_table(found) if found.robustness else None,
        robustness_told=report.robustness_told(found),
        listening=LINKED if links else NAMED,
        readme=not links and (folder / "README.md").exists(),
    )


def link(path: Path, folder: Path) -> str:
    """The URL of a file for a page in `folder`, relative, so that both may be moved together."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def _section(name: str, result: Result, folder: Path | None) -> dict[str, Any]:
    wrong = report.mistakes(result)
    return {
        "name": name,
        "plots": [
            {"title": panel.title, "told": panel.told, "svg": plots.svg(panel)}
            for panel in plots.panels(result)
        ],
        "head": report.mistakes_head(result),
        "mistakes": [_row(mistake, folder) for mistake in wrong[:MOST_MISTAKES]],
        "omitted": max(0, len(wrong) - MOST_MISTAKES),
    }


def _row(mistake: Mistake, folder: Path | None) -> dict[str, Any]:
    return {
        "cells": mistake.cells(),
        "href": None if folder is None else link(mistake.path, folder),
        "playable": folder is not None and mistake.path.suffix.lower() in PLAYABLE,
    }
