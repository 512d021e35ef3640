"""Detection of anomalous sound, beside other methods, on folders of recordings.

    make bench-detection DATA=recordings/machines
    python -m benchmarks.detection.run recordings/machines [--methods oddsound,gmm] [--again]

Five seeded random halves of the normal recordings train; the rest and all anomalies test. Every
split is saved as soon as it is measured; the same command continues an interrupted run.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from benchmarks.detection import data
from benchmarks.detection.data import MachineSet
from benchmarks.detection.methods import METHODS
from benchmarks.detection.protocol import SPLITS, measure, split
from benchmarks.detection.results import Results
from benchmarks.detection.tables import tables
from oddsound_workbench.errors import FolderError

RESULTS = Path(__file__).parent / "results.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the results, and print the tables."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sets = _sets(options, Path(scratch))
            results = Results.open(options.results, options.seed)
            run(sets, options.methods, options.splits, options.seed, results, again=options.again)
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(tables(results.content))


def run(
    sets: Sequence[MachineSet],
    methods: Sequence[str],
    splits: int,
    seed: int,
    results: Results,
    *,
    again: bool = False,
) -> None:
    """Measure each method on each set, and save after every split.

    methods : keys of METHODS; those that are not installed are recorded as such
    again : whether to measure again what the results contain
    """
    for machine in sets:
        results.enter(machine)
    missing = [name for name in methods if not METHODS[name].installed]
    known = set(results.content["not_installed"]) - set(methods)
    results.content["not_installed"] = sorted(known | set(missing))
    methods = [name for name in methods if name not in missing]
    if again:
        for machine in sets:
            for method in methods:
                results.splits(machine.name, method).clear()
    jobs = [
        (method, machine, number)
        for method in methods
        for machine in sets
        for number in range(len(results.splits(machine.name, method)), splits)
    ]
    results.save()
    # One thread: the last bits of sums by several threads differ from run to run.
    with progress_bar() as progress, threadpool_limits(1):
        task = progress.add_task("", total=len(jobs))
        for method, machine, number in jobs:
            progress.update(task, description=f"{METHODS[method].title}, {machine.name}")
            parts = split(machine, number, seed)
            figures = measure(METHODS[method].fit(parts.train), parts)
            results.splits(machine.name, method).append(figures)
            results.save()
            progress.advance(task)


def _sets(options: argparse.Namespace, scratch: Path) -> list[MachineSet]:
    """The chosen sets. Raises FolderError if a folder or a name does not fit."""
    sets = data.machine_sets(options.data)
    if options.fan:
        sets.append(data.fan_set(options.fan, scratch))
    if options.esc10:
        sets += data.esc10_sets(options.esc10, scratch)
    names = [each.name for each in sets]
    if unknown := set(options.sets or ()) - set(names):
        raise FolderError(f"no set is called {', '.join(sorted(unknown))}; there are {names}")
    return [each for each in sets if not options.sets or each.name in options.sets]


def _methods(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in METHODS]:
        raise argparse.ArgumentTypeError(f"unknown: {unknown}; known: {', '.join(METHODS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with one subfolder for each machine")
    parser.add_argument("--fan", type=Path, help="a folder of one fan; it is level-normalised")
    parser.add_argument("--esc10", type=Path, help="a folder of classes, each in turn as normal")
    parser.add_argument("--methods", type=_methods, default=list(METHODS), help="comma-separated")
    parser.add_argument("--sets", type=lambda text: text.split(","), help="comma-separated")
    parser.add_argument("--splits", type=int, default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="replace existing results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    return Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)


if __name__ == "__main__":
    main()
