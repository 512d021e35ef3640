"""The tables of docs/performance.md.

    python -m benchmarks.load.table [--write]

prints the tables of benchmarks/load/results.json; with --write, it replaces those of the page.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.load.servers import (
    BENTOML,
    MLSERVER,
    OURS,
    OURS_ONE,
    PER_CORE,
    TUTORIAL,
    Server,
    servers,
)

type Figures = dict[str, Any]
type Row = dict[str, Any]

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- load: begin -->", "<!-- load: end -->"
TARGETS = {MLSERVER: 2, BENTOML: 3, TUTORIAL: 25}
"""Our throughput over that of a peer, with TARGET_CONNECTIONS."""

TARGET_CONNECTIONS = 8


def tables(figures: Figures) -> str:
    """All tables, with what they were measured on."""
    parts = [_measured_on(figures)]
    parts += [_of_recording(figures, seconds) for seconds in _values(figures, "recording_s")]
    parts += [_ratios(figures)] if _median_of(figures, OURS, 10, TARGET_CONNECTIONS) else []
    parts += [_saturation(figures)] if figures["saturation"] else []
    parts += [f"{name} is missing: it could not be started." for name in figures["missing"]]
    return "\n\n".join(parts)


def _measured_on(figures: Figures) -> str:
    machine = figures["machine"]
    versions = {
        name: of[name.lower()] for name, of in figures["versions"].items() if name.lower() in of
    }
    named = "".join(f", {name} {version}" for name, version in versions.items())
    rounds = len(_values(figures, "round"))
    return (
        f"Measured on {machine['date']}: {machine['cores']} cores, load average"
        f" {machine['load'][0]:g}, Python {machine['python']}{named}; {rounds} rounds."
    )


def _of_recording(figures: Figures, seconds: int) -> str:
    lines = [
        f"| Recordings of {seconds} s | connections | requests/s | p50 ms | p95 ms | p99 ms"
        " | processor ms | errors | MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for server in _in_order(figures):
        for connections in _values(figures, "connections"):
            rows = _rows(figures, server.name, seconds, connections)
            if rows:
                cells = [f"{_median(rows, throughput):.1f}"]
                cells += [
                    f"{_median(rows, lambda row, name=name: row[name]):,.0f}"
                    for name in ("p50_ms", "p95_ms", "p99_ms")
                ]
                cells.append(f"{_median(rows, _processor_ms):.1f}")
                cells.append(str(sum(row["errors"] + row["refused"] for row in rows)))
                cells.append(f"{max(row['memory_mb'] for row in rows):.0f}")
                lines.append(f"| {server.name} | {connections} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratios(figures: Figures) -> str:
    lines = [
        f"| Throughput with {TARGET_CONNECTIONS} connections, recordings of 10 s, over that of"
        f" | {OURS} | {OURS_ONE} | target |",
        "| --- | ---: | ---: | ---: |",
    ]
    for peer in (name for name in map(_name, servers()) if name.removesuffix(PER_CORE) in TARGETS):
        base = _median_of(figures, peer, 10, TARGET_CONNECTIONS)
        if base:
            ours = (_median_of(figures, name, 10, TARGET_CONNECTIONS) for name in (OURS, OURS_ONE))
            cells = (f"{value / base:.1f}" if value else "" for value in ours)
            target = TARGETS[peer.removesuffix(PER_CORE)]
            lines.append(f"| {peer} | {' | '.join(cells)} | {target} |")
    return "\n".join(lines)


def _name(server: Server) -> str:
    return server.name


def _saturation(figures: Figures) -> str:
    lines = [
        "| Saturated by 64 connections | seconds | requests | errors | MB: start, largest, end |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in figures["saturation"].items():
        memory = found["memory_mb"]
        lines.append(
            f"| {name} | {found['seconds']:.0f} | {found['requests']:,}"
            f" | {found['errors'] + found['refused']}"
            f" | {memory[0]:.0f}, {max(memory):.0f}, {memory[-1]:.0f} |"
        )
    return "\n".join(lines)


def throughput(row: Row) -> float:
    """Answered requests per second, without those that were refused."""
    return float((row["requests"] - row["refused"]) / row["seconds"])


def _processor_ms(row: Row) -> float:
    """Processor time of the server for each request, which depends less on other programs."""
    return 1000 * float(row["processor_s"]) / max(1, int(row["requests"]))


def _median_of(figures: Figures, server: str, seconds: int, connections: int) -> float | None:
    rows = _rows(figures, server, seconds, connections)
    return _median(rows, throughput) if rows else None


def _median(rows: Iterable[Row], value: Any) -> float:
    return float(statistics.median(value(row) for row in rows))


def _rows(figures: Figures, server: str, seconds: int, connections: int) -> list[Row]:
    wanted = {"server": server, "recording_s": seconds, "connections": connections}
    return [row for row in figures["rows"] if wanted.items() <= row.items()]


def _values(figures: Figures, name: str) -> list[int]:
    return sorted({row[name] for row in figures["rows"]})


def _in_order(figures: Figures) -> list[Server]:
    measured = {row["server"] for row in figures["rows"]}
    return [server for server in servers() if server.name in measured]


def replaced(page: str, figures: Figures) -> str:
    """The page with the tables of these figures between BEGIN and END."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{tables(figures)}\n\n{END}", page)


def main() -> None:
    """Print the tables, or write them into the page."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))
    if "--write" in sys.argv[1:]:
        page = replaced(PAGE.read_text(encoding="utf-8"), figures)
        PAGE.write_text(page, encoding="utf-8")
    print(tables(figures))


if __name__ == "__main__":
    main()
