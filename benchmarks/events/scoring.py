"""Compares the events that were found with the faults that were injected."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.events.inject import Fault
from oddsound.events.frames import DROPOUT, IMPACT
from oddsound.schemas import Event

ONSET_S = {IMPACT: 0.05, DROPOUT: 0.05}
OTHER_ONSET_S = 0.25
MIN_OVERLAP = 0.3
"""Of the other kinds: intersection over union that is enough if the starts differ by more."""

type Counts = dict[str, int]


def count(found: Sequence[Event], faults: Sequence[Fault]) -> Counts:
    """Hits, misses and false events of the faults' kind, and faults that any kind of event meets.

    Each event is the hit of one fault at most.
    """
    kind = faults[0].kind
    left = [event for event in found if event.kind == kind]
    hits = any_kind = 0
    for fault in faults:
        any_kind += any(_meets(event, fault) for event in found)
        for event in sorted(left, key=lambda event: abs(event.start_s - fault.start_s)):
            if _meets(event, fault):
                left.remove(event)
                hits += 1
                break
    misses = len(faults) - hits
    return {"hits": hits, "misses": misses, "false": len(left), "any_kind": any_kind}


def f1(counts: Counts) -> float:
    """Of events: 2 hits / (2 hits + misses + false events)."""
    hits = 2 * counts["hits"]
    return hits / max(hits + counts["misses"] + counts["false"], 1)


def add(parts: Sequence[Counts]) -> Counts:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def _meets(event: Event, fault: Fault) -> bool:
    late = abs(event.start_s - fault.start_s)
    if late <= ONSET_S.get(fault.kind, OTHER_ONSET_S):
        return True
    if fault.kind in ONSET_S:
        return False
    both = min(event.end_s, fault.end_s) - max(event.start_s, fault.start_s)
    either = max(event.end_s, fault.end_s) - min(event.start_s, fault.start_s)
    return both / either >= MIN_OVERLAP
