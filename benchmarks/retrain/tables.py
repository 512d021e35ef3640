"""The cases as a Markdown table: one row for each machine, counts added over its cases."""

from collections.abc import Sequence
from typing import Any

METHOD = "retrain"
HEADS = (
    "Machine",
    "Cases",
    "Promoted",
    "False alarms, reviewed as normal",
    "of them again afterwards",
    "False alarms of unseen normals, old / new",
    "Reviewed faults found, old / new",
    "Other faults found, old / new",
)


def table(content: dict[str, Any]) -> str:
    """content : of a Results whose method is METHOD"""
    sets = {
        name: each["methods"][METHOD]
        for name, each in sorted(content["sets"].items())
        if each["methods"].get(METHOD)
    }
    rows = [[name, *_cells(cases)] for name, cases in sets.items()]
    if len(sets) > 1:
        rows.append(["all", *_cells([case for cases in sets.values() for case in cases])])
    lines = [list(HEADS), ["---", *["---:"] * (len(HEADS) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(cases: Sequence[dict[str, Any]]) -> list[str]:
    def total(name: str) -> int:
        return sum(case.get(name, 0) for case in cases)

    return [
        str(len(cases)),
        str(total("promoted")),
        f"{total('false_alarms')} of {total('later')}",
        str(total("again")),
        f"{total('old_alarms')} / {total('new_alarms')} of {total('compared')}",
        f"{total('old_detected')} / {total('new_detected')} of {total('faults')}",
        f"{total('others_old')} / {total('others_new')} of {total('others')}",
    ]
