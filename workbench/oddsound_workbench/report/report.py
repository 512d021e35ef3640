"""What a report contains, whatever its form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oddsound_workbench.learn import robustness
from oddsound_workbench.learn.plan import Origin
from oddsound_workbench.learn.results import Summary, Table, metrics_table


@dataclass(frozen=True)
class Report:
    """What was measured, and on which recordings.

    method : a sentence: which model scored which recordings
    facts : names and values of the settings and the recordings
    robustness : metrics for each of robustness.TITLES; empty if not measured
    notes : how the command understood its input
    origins : for recordings that were cut from longer ones
    """

    title: str
    method: str
    facts: list[tuple[str, str]]
    summary: Summary
    robustness: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    origins: Mapping[Path, Origin] = field(default_factory=dict)


def robustness_text(report: Report) -> str:
    """What the table of robustness contains."""
    text = "The same models and recordings, degraded as by other devices and senders."
    if found := report.robustness.get("mp3_64_kbps"):
        text += f" The MP3 files have {found['kbit_per_s']:g} kbit/s, including headers."
    return text


def robustness_table(report: Report) -> Table:
    """A row for each condition."""
    rows = [(robustness.TITLES[name], metrics) for name, metrics in report.robustness.items()]
    return metrics_table(rows, report.summary.columns)
