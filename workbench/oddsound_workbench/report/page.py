"""A report as one HTML page: plots included, no scripts, readable without a network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import replace_file
from oddsound_workbench.learn.plan import Origin
from oddsound_workbench.learn.results import Mistake, Summary, Table
from oddsound_workbench.report import plots
from oddsound_workbench.report.rendering import rendered
from oddsound_workbench.report.report import Report, robustness_table, robustness_text

PLAYABLE = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".webm"}
"""Suffixes of recordings that browsers can play."""

MAX_MISTAKES = 100
WITH_LINKS = (
    "Each name links to the recording, relative to this page: the links work as long as the page"
    " and the recordings keep their places relative to each other."
)
WITHOUT_LINKS = "Recordings are not linked, so that this page can be shared without them."


def write(report: Report, path: Path, *, links: bool) -> None:
    """Write the page to a file. Raises FolderError if it cannot be written."""
    try:
        replace_file(path, render(report, path.parent, links=links).encode())
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror}") from None


def render(report: Report, folder: Path, *, links: bool, readme: Path | None = None) -> str:
    """The page as HTML. All names are escaped.

    folder : where the page will be
    links : whether it links to the recordings
    readme : describes the recordings if they are not linked; README.md in `folder` by default
    """
    readme = readme or folder / "README.md"
    summary = report.summary
    parts = summary.parts or {"": summary}
    links_from = _Links(folder, report.origins) if links else None
    sections = [_section(name, part, links_from) for name, part in parts.items()]
    return rendered(
        "report.html",
        report=report,
        key_figures=summary.key_figures,
        tables=_tables(summary),
        has_parts=bool(summary.parts),
        sections=sections,
        has_mistakes=any(section["mistakes"] for section in sections),
        robustness=robustness_table(report) if report.robustness else None,
        robustness_text=robustness_text(report),
        link_text=WITH_LINKS if links else WITHOUT_LINKS,
        readme=link(readme, folder) if not links and readme.exists() else None,
    )


def link(path: Path, folder: Path) -> str:
    """The URL of a file, relative to a page in `folder`, so that both can be moved together."""
    return quote(os.fsencode(Path(os.path.relpath(path, folder)).as_posix()))


def _tables(summary: Summary) -> list[Table]:
    """The tables that no plot replaces."""
    return [table for table in summary.tables if not table.has_plot]


@dataclass(frozen=True)
class _Links:
    """How a page links to recordings.

    folder : where the page will be
    """

    folder: Path
    origins: Mapping[Path, Origin]

    def to(self, recording: Path) -> dict[str, Any]:
        """The URL, and whether a browser can play it; that of a piece plays only this part."""
        origin = self.origins.get(recording)
        path = recording if origin is None else origin.recording
        part = "" if origin is None else f"#t={origin.start_s:.2f},{origin.end_s:.2f}"
        return {
            "href": link(path, self.folder) + part,
            "playable": path.suffix.lower() in PLAYABLE,
        }


def _section(name: str, summary: Summary, links: _Links | None) -> dict[str, Any]:
    return {
        "name": name,
        "plots": [
            {"title": chart.title, "text": chart.text, "svg": plots.svg(chart)}
            for chart in summary.charts
        ],
        "tables": _tables(summary),
        "head": summary.mistakes_head,
        "mistakes": [_row(mistake, links) for mistake in summary.mistakes[:MAX_MISTAKES]],
        "omitted": max(0, len(summary.mistakes) - MAX_MISTAKES),
    }


def _row(mistake: Mistake, links: _Links | None) -> dict[str, Any]:
    target = {"href": None, "playable": False} if links is None else links.to(mistake.path)
    return {"cells": mistake.cells(), **target}
