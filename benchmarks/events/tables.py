"""The figures as Markdown tables, one row for each machine."""

from collections.abc import Sequence
from typing import Any

from benchmarks.detection.data import MACHINE
from benchmarks.events import scoring
from benchmarks.events.inject import INJECT, LEVELS
from benchmarks.events.measure import LONG_S, PIECE_S

METHOD = "oddsound"
LENGTHS = {"piece": f"{PIECE_S:g} s", "recording": "recording", "minute": f"{LONG_S:g} s"}


def tables(content: dict[str, Any]) -> str:
    """F1 of events for each kind and level, then the events of clean normal sound.

    content : of a Results
    """
    sets = {
        name: each["methods"][METHOD]
        for name, each in sorted(content["sets"].items(), key=_order)
        if each["methods"].get(METHOD)
    }
    return f"{faults(sets)}\n\n{clean(sets)}" if sets else ""


def _order(item: tuple[str, dict[str, Any]]) -> tuple[bool, str]:
    """Machines first, whatever the order in the file."""
    return item[1]["kind"] != MACHINE, item[0]


def faults(sets: dict[str, list[dict[str, Any]]]) -> str:
    """F1 of events; hits, misses and false events are summed over recordings and splits.

    A cell is empty if the recordings are too short for the fault.
    """
    head = [f"{kind}, {level}" for kind in INJECT for level in LEVELS]
    rows = []
    for name, splits in sets.items():
        cells = []
        for kind in INJECT:
            for level in LEVELS:
                counts = scoring.add([each["faults"][kind][level] for each in splits])
                cells.append(f"{scoring.f1(counts):.2f}" if counts else "")
        rows.append([name, *cells])
    return _markdown(["F1 of events", *head], rows)


def clean(sets: dict[str, list[dict[str, Any]]]) -> str:
    """Share of clean normal sounds without an event, and false events per minute."""
    head = [f"{length} without event" for length in LENGTHS.values()]
    rows = []
    for name, splits in sets.items():
        cells = [
            _without([s["clean"][key] for s in splits if key in s["clean"]]) for key in LENGTHS
        ]
        whole = [each["clean"]["recording"] for each in splits]
        events = sum(sum(each["events"].values()) for each in whole)
        minutes = sum(each["seconds"] for each in whole) / 60
        rows.append([name, *cells, f"{events / minutes:.2f}"])
    return _markdown(["Clean normal sound", *head, "false events per minute"], rows)


def _without(parts: Sequence[dict[str, Any]]) -> str:
    if not parts:
        return ""
    share = sum(each["without"] for each in parts) / sum(each["recordings"] for each in parts)
    return f"{100 * share:.0f} %"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
