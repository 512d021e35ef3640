"""The table of docs/performance.md."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

type Row = dict[str, Any]

HEAD = """\
| Recording | times real time | ms per s of sound: 1, 10, 60 min | MB over idle: 1, 10, 60 min |
| --- | ---: | ---: | ---: |"""


def table(figures: dict[str, Any]) -> str:
    """A line for each format and sample rate; its lengths are side by side."""
    lines = [HEAD]
    for (rate, channels, kind), group in groupby(figures["rows"], key=_recording):
        rows = sorted(group, key=lambda row: row["minutes"])
        name = f"{kind}, {rate / 1000:g} kHz {'mono' if channels == 1 else 'stereo'}"
        speed = f"{times_real_time(rows[-1]):,.0f}"
        costs, peaks = _side_by_side(rows, cost_ms, 2), _side_by_side(rows, over_idle_mb, 1)
        lines.append(f"| {name} | {speed} | {costs} | {peaks} |")
    return "\n".join(lines)


def times_real_time(row: Row) -> float:
    """Seconds of sound per second of processor time."""
    return float(60 * row["minutes"] / row["cpu_s"])


def cost_ms(row: Row) -> float:
    """ms of processor time per second of sound."""
    return 1000 / times_real_time(row)


def over_idle_mb(row: Row) -> float:
    """The most memory during a prediction, less the memory before it."""
    return float(row["peak_mb"] - row["idle_mb"])


def _recording(row: Row) -> tuple[int, int, str]:
    return row["sample_rate"], row["channels"], row["format"]


def _side_by_side(rows: list[Row], value: Callable[[Row], float], digits: int) -> str:
    return ", ".join(f"{value(row):.{digits}f}" for row in rows)
