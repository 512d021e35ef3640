"""A report as plain text."""

from oddsound_workbench.learn.results import KeyFigure, Summary, Table
from oddsound_workbench.report.report import Report, robustness_table, robustness_text


def render(report: Report) -> str:
    """The report for a terminal or a text file."""
    lines = [report.title, "=" * len(report.title), "", report.method, ""]
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
    return [f"{f.name:<17}  {f.value:>6}  {f.meaning}" for f in figures]


def _mistakes(summary: Summary) -> list[str]:
    if not summary.mistakes:
        return []
    table = Table(list(summary.mistakes_head), [each.cells() for each in summary.mistakes])
    return ["", f"Wrong predictions: {len(summary.mistakes)}", "", *table.lines()]
