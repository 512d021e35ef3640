"""A report as plain text."""

import textwrap
from typing import TypedDict

from oddsound_workbench.learn.results import TEXT_WIDTH, KeyFigure, Summary, Table
from oddsound_workbench.report.report import Report, robustness_table, robustness_text


class _Wrapping(TypedDict):
    break_long_words: bool
    break_on_hyphens: bool


# Paths and names stay in one piece.
UNBROKEN: _Wrapping = {"break_long_words": False, "break_on_hyphens": False}
MIN_MEANING_WIDTH = 40
"""Characters for the meaning of a figure, beside a long name or value."""


def render(report: Report) -> str:
    """The report for a terminal or a text file."""
    lines = [report.title, "=" * len(report.title), ""]
    warnings = [f"Warning: {warning}" for warning in report.warnings]
    for paragraph in (report.method, *warnings):
        lines += [*textwrap.wrap(paragraph, TEXT_WIDTH, **UNBROKEN), ""]
    # Notes contain commands, which a reader copies: they are not wrapped.
    for note in report.notes:
        lines += [note, ""]
    lines += _key_figures(report.summary.key_figures)
    for table in report.summary.tables:
        lines += ["", *table.lines()]
    lines += _mistakes(report.summary)
    if report.robustness:
        lines += ["", robustness_text(report), "", *robustness_table(report).lines()]
    return "\n".join([*lines, ""])


def _key_figures(figures: list[KeyFigure]) -> list[str]:
    """The meaning begins on the line of its figure, and continues below itself."""
    lines = []
    for figure in figures:
        head = f"{figure.name:<17}  {figure.value:>6}  "
        indent = " " * len(head)
        lines += textwrap.wrap(
            figure.meaning,
            max(TEXT_WIDTH, len(head) + MIN_MEANING_WIDTH),
            initial_indent=head,
            subsequent_indent=indent,
            **UNBROKEN,
        )
    return lines


def _mistakes(summary: Summary) -> list[str]:
    if not summary.mistakes:
        return []
    table = Table(list(summary.mistakes_head), [each.cells() for each in summary.mistakes])
    return ["", f"Wrong predictions: {len(summary.mistakes)}", "", *table.lines()]
