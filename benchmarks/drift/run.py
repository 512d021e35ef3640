"""How often drift is named: for unchanged recordings, other recorders, noise, rooms and faults.

    make bench-drift DATA=recordings/machines
    python -m benchmarks.drift.run recordings/machines [--splits 20] [--again]

Seeded random halves of the normal recordings train a model; the recent recordings are of the other
half, or faults. Every split is saved as soon as it is measured; the same command continues an
interrupted run.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.detection import data
from benchmarks.detection.data import MachineSet
from benchmarks.detection.protocol import Split, split
from benchmarks.detection.results import Results
from benchmarks.detection.run import progress_bar
from benchmarks.drift.measure import kinds
from benchmarks.drift.tables import METHOD, table
from oddsound.machines.drift import MIN_RECENT
from oddsound_workbench.errors import FolderError

RESULTS = Path(__file__).parent / "results.json"
SPLITS = 20

type Measure = Callable[[Split, Sequence[int]], dict[str, str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the results, and print the table."""
    options = _parser().parse_args(arguments)
    try:
        sets = machine_sets(options.data)
        results = Results.open(options.results, options.seed)
        run(sets, options.splits, options.seed, results, again=options.again)
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(table(results.content))


def machine_sets(folder: Path) -> list[MachineSet]:
    """The machines with enough recordings. Raises FolderError if there are none."""
    found = data.machine_sets(folder)
    large = [each for each in found if _is_large_enough(each)]
    if left_out := [each.name for each in found if not _is_large_enough(each)]:
        text = (
            f"left out: {', '.join(left_out)}, with fewer than {MIN_RECENT} recordings to compare"
        )
        if not large:
            raise FolderError(text)
        print(text, file=sys.stderr)
    return large


def _is_large_enough(machine: MachineSet) -> bool:
    half = len(machine.normal) - len(machine.normal) // 2
    return half >= MIN_RECENT and len(machine.anomalous) >= MIN_RECENT


def run(
    sets: Sequence[MachineSet],
    splits: int,
    seed: int,
    results: Results,
    *,
    again: bool = False,
    measure: Measure = kinds,
) -> None:
    """Measure the splits of every set, and save after each. again : also those that are there"""
    for machine in sets:
        results.enter(machine)
        if again:
            results.splits(machine.name, METHOD).clear()
    jobs = [
        (machine, number)
        for number in range(splits)
        for machine in sets
        if number >= len(results.splits(machine.name, METHOD))
    ]
    with progress_bar() as progress, threadpool_limits(1):
        task = progress.add_task("", total=len(jobs))
        for machine, number in jobs:
            progress.update(task, description=machine.name)
            found = measure(split(machine, number, seed), [seed, number])
            results.splits(machine.name, METHOD).append(found)  # type: ignore[arg-type]
            results.save()
            progress.advance(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with one subfolder for each machine")
    parser.add_argument("--splits", type=int, default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="replace existing results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
