"""The figures as Markdown tables."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.detection.data import ESC10, MACHINE
from benchmarks.detection.methods import METHODS
from benchmarks.detection.protocol import FIGURES, harmonic_mean

type Figures = dict[str, float]

ESC10_COLUMN = "ESC-10 classes"


def tables(content: dict[str, Any]) -> str:
    """Means over machines, then both pairs of figures for each machine.

    content : of a Results
    """
    parts = [overview(content), details(content, _aucs), details(content, _rates)]
    return "\n\n".join(part for part in parts if part)


def overview(content: dict[str, Any]) -> str:
    """Harmonic means of AUC and pAUC over machines, means of the two rates."""
    rows = []
    for name, method in METHODS.items():
        sets = [each for each in content["sets"].values() if each["kind"] == MACHINE]
        done = [each["methods"].get(name) for each in sets]
        if sets and all(done):
            found = combined([mean_over_splits(splits) for splits in done])
            splits = str(min(len(each) for each in done))
            rows.append([method.title, *_cells(found), splits])
        elif sets and name in content["not_installed"]:
            rows.append([method.title, "not installed", "", "", "", ""])
    if not rows:
        return ""
    return _markdown(["Method", "AUC", "pAUC", "False alarms", "Detected", "Splits"], rows)


def details(content: dict[str, Any], show: Callable[[Figures], str]) -> str:
    """One column for each set; the classes of ESC-10 share one."""
    columns: dict[str, list[dict[str, Any]]] = {}
    # Machines first; the classes of ESC-10 are too many for columns of their own.
    for name, each in sorted(content["sets"].items(), key=lambda item: item[1]["kind"] != MACHINE):
        columns.setdefault(ESC10_COLUMN if each["kind"] == ESC10 else name, []).append(each)
    rows = []
    for name, method in METHODS.items():
        cells = []
        for sets in columns.values():
            done = [mean_over_splits(s) for each in sets if (s := each["methods"].get(name))]
            cells.append(show(combined(done)) if len(done) == len(sets) else "")
        if any(cells):
            rows.append([method.title, *cells])
    return _markdown([_heading(show), *columns], rows) if rows else ""


def mean_over_splits(splits: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([each[name] for each in splits])) for name in FIGURES}


def combined(sets: Sequence[Figures]) -> Figures:
    """Over several sets: harmonic means of AUC and pAUC, arithmetic means of the rates.

    A harmonic mean would be 0 as soon as one machine has no false alarms.
    """
    if not sets:
        return {}
    means = {"auc": harmonic_mean, "pauc": harmonic_mean}
    return {
        name: float(means.get(name, np.mean)([each[name] for each in sets])) for name in FIGURES
    }


def _cells(found: Figures) -> list[str]:
    return [
        f"{found['auc']:.3f}",
        f"{found['pauc']:.3f}",
        f"{100 * found['false_alarm_rate']:.1f} %",
        f"{100 * found['detection_rate']:.1f} %",
    ]


def _aucs(found: Figures) -> str:
    return f"{found['auc']:.3f} / {found['pauc']:.3f}"


def _rates(found: Figures) -> str:
    return f"{100 * found['false_alarm_rate']:.0f} / {100 * found['detection_rate']:.0f} %"


def _heading(show: Callable[[Figures], str]) -> str:
    return "AUC / pAUC" if show is _aucs else "False alarms / detected"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
