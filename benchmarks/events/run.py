"""Events that are found in normal sound with injected faults, and in clean normal sound.

    make bench-events DATA=recordings/machines
    python -m benchmarks.events.run recordings/machines [--fan recordings/fan] [--again]

Seeded random halves of the normal recordings train; faults are injected into the other half. Every
split is saved as soon as it is measured; the same command continues an interrupted run.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.detection import data
from benchmarks.detection.data import MachineSet
from benchmarks.detection.protocol import split
from benchmarks.detection.results import Results
from benchmarks.detection.run import progress_bar
from benchmarks.events.measure import measure
from benchmarks.events.tables import METHOD, tables
from oddsound_workbench.errors import FolderError

RESULTS = Path(__file__).parent / "results.json"
SPLITS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the results, and print the tables."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sets = data.machine_sets(options.data)
            if options.fan:
                sets.append(data.fan_set(options.fan, Path(scratch)))
            results = Results.open(options.results, options.seed)
            run(sets, options.splits, options.seed, results, again=options.again)
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(tables(results.content))


def run(
    sets: Sequence[MachineSet], splits: int, seed: int, results: Results, *, again: bool = False
) -> None:
    """Measure every set, and save after every split.

    again : whether to measure again what the results contain
    """
    for machine in sets:
        results.enter(machine)
        if again:
            results.splits(machine.name, METHOD).clear()
    jobs = [
        (machine, number)
        for machine in sets
        for number in range(len(results.splits(machine.name, METHOD)), splits)
    ]
    results.save()
    with progress_bar() as progress, threadpool_limits(1):
        task = progress.add_task("", total=len(jobs))
        for machine, number in jobs:
            progress.update(task, description=machine.name)
            found = measure(split(machine, number, seed), [seed, number])
            results.splits(machine.name, METHOD).append(found)
            results.save()
            progress.advance(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with one subfolder for each machine")
    parser.add_argument("--fan", type=Path, help="a folder of one fan; it is level-normalised")
    parser.add_argument("--splits", type=int, default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="replace existing results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
