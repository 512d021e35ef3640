"""The kinds of drift as a Markdown table: one row for each condition, one column for each set."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.drift.measure import CONDITIONS

METHOD = "drift"
KINDS = ("none", "part", "everything", "unknown")


def table(content: dict[str, Any]) -> str:
    """content : of a Results whose method is METHOD; each split is {condition: kind}"""
    sets = {
        name: each["methods"][METHOD]
        for name, each in sorted(content["sets"].items())
        if each["methods"].get(METHOD)
    }
    splits = min((len(each) for each in sets.values()), default=0)
    lines = [
        [f"Recent recordings (none / part / everything, of {splits})", *sets, "all"],
        ["---", *["---:"] * (len(sets) + 1)],
    ]
    for condition in CONDITIONS:
        counts = [_counted(each[:splits], condition) for each in sets.values()]
        lines.append([condition, *map(_cell, [*counts, sum(counts, Counter[str]())])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counted(splits: Sequence[dict[str, str]], condition: str) -> Counter[str]:
    return Counter(split[condition] for split in splits)


def _cell(counts: Counter[str]) -> str:
    """How often each kind was named; `unknown` only if it was."""
    return " / ".join(str(counts[kind]) for kind in KINDS if counts[kind] or kind != "unknown")
