"""False alarms and detection in other files, in noise, and at other lengths.

    make bench-conditions DATA=recordings/machines FAN=recordings/fan NOISES=recordings/noises
    python -m benchmarks.conditions.run recordings/machines [--fan ...] [--parts deliveries,lengths]

Seeded random halves of the normal recordings train; the other half and all anomalies test. Every
split is saved as soon as it is measured; the same command continues an interrupted run.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.conditions.measure import Figures, deliveries, in_noise, lengths
from benchmarks.conditions.tables import DELIVERIES, HEADS, LENGTHS, NOISE, tables
from benchmarks.detection import data
from benchmarks.detection.data import FAN, MachineSet
from benchmarks.detection.protocol import Split, split
from benchmarks.detection.results import Results
from benchmarks.detection.run import progress_bar
from oddsound_workbench.errors import FolderError
from oddsound_workbench.learn.recordings import audio_files

RESULTS = Path(__file__).parent / "results.json"
SPLITS = 2

type Measure = Callable[[Split, Sequence[int]], Figures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the results, and print the tables."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sets = data.machine_sets(options.data)
            if options.fan:
                sets.append(data.fan_set(options.fan, Path(scratch)))
            results = Results.open(options.results, options.seed)
            for machine in sets:
                results.enter(machine)
            for part in options.parts:
                measure = _measure(part, options.noises)
                chosen = [each for each in sets if part != NOISE or each.kind == FAN]
                run(part, measure, chosen, options.splits, options.seed, results, options.again)
    except FolderError as error:
        sys.exit(f"error: {error}")
    print(tables(results.content))


def run(
    part: str,
    measure: Measure,
    sets: Sequence[MachineSet],
    splits: int,
    seed: int,
    results: Results,
    again: bool,
) -> None:
    """Measure one part on every set, and save after every split.

    again : whether to measure again what the results contain
    """
    for machine in sets:
        if again:
            results.splits(machine.name, part).clear()
    jobs = [
        (machine, number)
        for machine in sets
        for number in range(len(results.splits(machine.name, part)), splits)
    ]
    with progress_bar() as progress, threadpool_limits(1):
        task = progress.add_task("", total=len(jobs))
        for machine, number in jobs:
            progress.update(task, description=f"{part}, {machine.name}")
            found = measure(split(machine, number, seed), [seed, number])
            results.splits(machine.name, part).append(found)
            results.save()
            progress.advance(task)


def _measure(part: str, noises: Sequence[Path]) -> Measure:
    """Raises FolderError if the noises are needed and missing."""
    if part == DELIVERIES:
        return lambda parts, _: deliveries(parts)
    if part == LENGTHS:
        return lengths
    if not noises:
        raise FolderError("noise needs --noises: folders of recordings that are mixed in")
    found = {_kind(folder): audio_files(folder) for folder in noises}
    return lambda parts, seed: in_noise(parts, found, seed)


def _kind(folder: Path) -> str:
    """The name of a noise: that of the machine, for the folder `normal` of a machine."""
    return folder.parent.name if folder.name == "normal" else folder.name


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in HEADS]:
        raise argparse.ArgumentTypeError(f"unknown: {unknown}; known: {', '.join(HEADS)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with one subfolder for each machine")
    parser.add_argument("--fan", type=Path, help="a folder of one fan; it is level-normalised")
    parser.add_argument(
        "--noises", type=Path, nargs="+", default=[], help="folders of noises that are mixed in"
    )
    parser.add_argument("--parts", type=_parts, default=[DELIVERIES, LENGTHS], help="or `noise`")
    parser.add_argument("--splits", type=int, default=SPLITS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="replace existing results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
