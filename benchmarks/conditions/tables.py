"""The figures as Markdown tables: one row for each condition, one column for each set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.detection.data import MACHINE

DELIVERIES, LENGTHS, NOISE = "deliveries", "lengths", "noise"
HEADS = {
    DELIVERIES: "False alarms / detected, delivered as",
    LENGTHS: "False alarms / detected, length",
    NOISE: "AUC, false alarms / detected, noise",
}

type Splits = list[dict[str, Any]]


def tables(content: dict[str, Any]) -> str:
    """content : of a Results whose methods are the keys of HEADS"""
    return "\n\n".join(text for part in HEADS if (text := _table(content, part)))


def _table(content: dict[str, Any], part: str) -> str:
    sets: dict[str, Splits] = {
        name: each["methods"][part]
        for name, each in sorted(content["sets"].items(), key=_order)
        if each["methods"].get(part)
    }
    if not sets:
        return ""
    conditions = list(dict.fromkeys(c for splits in sets.values() for s in splits for c in s))
    rows = []
    for condition in conditions:
        found = [[s[condition] for s in splits if condition in s] for splits in sets.values()]
        cells = [_cell(splits, auc=part == NOISE) for splits in found]
        rows.append([condition, *cells, *([_mean(found)] if len(sets) > 1 else [])])
    mean = ["mean"] if len(sets) > 1 else []
    lines = [[HEADS[part], *sets, *mean], ["---", *["---:"] * (len(sets) + len(mean))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _order(item: tuple[str, dict[str, Any]]) -> tuple[bool, str]:
    """Machines first."""
    return item[1]["kind"] != MACHINE, item[0]


def _cell(splits: Sequence[dict[str, Any]], *, auc: bool) -> str:
    """Counts are added over the splits; the AUC is their mean."""
    rates = " / ".join(_percent(rate(splits, key)) for key in ("normal", "faulty"))
    aucs = [each["auc"] for each in splits if "auc" in each]
    shown = f"{rates} %" if rates.strip(" /") else ""
    return f"{np.mean(aucs):.3f}, {shown}" if auc and aucs else shown


def _mean(sets: Sequence[Sequence[dict[str, Any]]]) -> str:
    """Means of the rates of the sets that have the condition, with one decimal place."""
    parts = []
    for key in ("normal", "faulty"):
        rates = [found for splits in sets if (found := rate(splits, key)) is not None]
        parts.append(f"{100 * np.mean(rates):.1f}" if rates else "")
    return f"{' / '.join(parts)} %"


def rate(splits: Sequence[dict[str, Any]], key: str) -> float | None:
    """The share of alarms, None without recordings.

    key : `normal` or `faulty`
    """
    alarms, count = (sum(each[key][index] for each in splits) for index in (0, 1))
    return alarms / count if count else None


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}"
