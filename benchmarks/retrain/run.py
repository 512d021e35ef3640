"""What `oddsound retrain` does with reviewed recordings of real machines.

    make bench-retrain DATA=recordings/machines
    python -m benchmarks.retrain.run recordings/machines [--cases 4] [--again]

In each case a model of a few random normal recordings scores up to 30 others and 6 faults; all are
reviewed, and a new model is trained. Every case is saved as soon as it is measured; the same
command continues an interrupted run.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.detection import data
from benchmarks.detection.data import MachineSet
from benchmarks.detection.results import Results
from benchmarks.detection.run import progress_bar
from benchmarks.retrain.measure import Case, Figures, case, figures
from benchmarks.retrain.tables import METHOD, table
from oddsound_workbench.errors import FolderError

RESULTS = Path(__file__).parent / "results.json"
CASES = 4

type Measure = Callable[[Case], Figures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the results, and print the table."""
    options = _parser().parse_args(arguments)
    try:
        sets = data.machine_sets(options.data)
        results = Results.open(options.results, options.seed)
        run(sets, options.cases, options.seed, results, again=options.again)
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(table(results.content))


def run(
    sets: Sequence[MachineSet],
    cases: int,
    seed: int,
    results: Results,
    *,
    again: bool = False,
    measure: Measure = figures,
) -> None:
    """Measure the cases of every set, and save after each. again : also those that are there"""
    for machine in sets:
        results.enter(machine)
        if again:
            results.splits(machine.name, METHOD).clear()
    jobs = [
        (machine, number)
        for number in range(cases)
        for machine in sets
        if number >= len(results.splits(machine.name, METHOD))
    ]
    with progress_bar() as progress, threadpool_limits(1):
        task = progress.add_task("", total=len(jobs))
        for machine, number in jobs:
            progress.update(task, description=machine.name)
            found = measure(case(machine, [seed, number]))
            results.splits(machine.name, METHOD).append({**found})
            results.save()
            progress.advance(task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with one subfolder for each machine")
    parser.add_argument("--cases", type=int, default=CASES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="replace existing results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
