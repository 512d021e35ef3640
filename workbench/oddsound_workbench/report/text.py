"""A report as plain text."""

from oddsound_workbench.learn.results import KeyFigure, Result, Table
from oddsound_workbench.report.report import Report, robustness_table, robustness_text


def render(report: Report) -> str:
    """The report for a terminal or a text file."""
    lines = [report.title, "=" * len(report.title), "", report.method, ""]
    for note in report.notes:
        lines += [note, ""]
    lines += _key_figures(report.result.key_figures())
    for table in report.result.tables():
        lines += ["", *table.lines()]
    lines += _mistakes(report.result)
    if report.robustness:
        lines += ["", robustness_text(report), "", *robustness_table(report).lines()]
    return "\n".join([*lines, ""])


def _key_figures(figures: list[KeyFigure]) -> list[str]:
    return [f"{f.name:<17}  {f.value:>6}  {f.meaning}" for f in figures]


def _mistakes(result: Result) -> list[str]:
    mistakes = result.mistakes()
    if not mistakes:
        return []
    table = Table(result.mistakes_head, [each.cells() for each in mistakes])
    return ["", f"Wrong predictions: {len(mistakes)}", "", *table.lines()]
