"""Whether the interval of the false-alarm rate is honest: the learning curve, and its coverage.

`python -m benchmarks.detection.coverage FOLDER`, with one subfolder per machine, as for
`make bench-detection`. For each machine and number of recordings, random normal recordings train a
detector and give its interval; all other normal recordings give the rate that it really has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from benchmarks.detection.data import machine_sets
from oddsound.schemas import ANOMALY, NORMAL
from oddsound_workbench.cli.console import progress_bars
from oddsound_workbench.learn import intervals
from oddsound_workbench.learn import plan as plans
from oddsound_workbench.learn.dataset import Rows
from oddsound_workbench.learn.detector import (
    EXTRACTOR,
    DetectorRecipe,
    anomaly_scores,
    fit_detector,
)
from oddsound_workbench.learn.plan import Plan, TrainingData, no_progress
from oddsound_workbench.learn.recordings import Labelled
from oddsound_workbench.learn.robustness import OGG

RECORDINGS = (4, 6, 10, 20, 40)
MIN_HELD_OUT = 10
SEED = 11


@dataclass(frozen=True)
class Draw:
    """One detector of `recordings` normal recordings.

    alarms, held_out : false alarms of the other normal recordings, and their number
    detection_rate : of all anomalies
    estimate : false-alarm rate in cross-validation
    """

    recordings: int
    alarms: int
    held_out: int
    detection_rate: float
    estimate: float

    @property
    def rate(self) -> float:
        return self.alarms / self.held_out

    @property
    def interval(self) -> intervals.Interval:
        return intervals.false_alarm_rate(self.estimate, self.recordings)

    @property
    def side(self) -> int:
        """-1 or 1 if the count is too low or too high for the interval, 0 if it is compatible.

        The rate of few recordings is itself uncertain: of 16 recordings, a rate of 3 % often gives
        none. The count is therefore compared with the beta-binomial distribution whose rate has
        the distribution of the interval.
        """
        a, b = intervals.false_alarm_distribution(self.estimate, self.recordings)
        tail = (1 - intervals.CONFIDENCE) / 2
        low, high = stats.betabinom(self.held_out, a, b).ppf([tail, 1 - tail])
        return int(self.alarms > high) - int(a > 1 and self.alarms < low)


def main(
    folder: Annotated[Path, typer.Argument(help="One subfolder for each machine.")],
    draws: Annotated[int, typer.Option(min=1, help="Random draws of each number.")] = 10,
) -> None:
    found = []
    with progress_bars(show=True) as progress:
        for machine in machine_sets(folder):
            advance = progress(machine.name, draws * len(RECORDINGS))
            data = _read(machine.normal, machine.anomalous)
            for draw in machine_draws(data, draws):
                found.append(draw)
                advance()
    print(table(found))


def machine_draws(data: TrainingData, draws: int) -> Iterator[Draw]:
    """Every draw of one machine; at least MIN_HELD_OUT recordings stay out of each."""
    total = len(data.rows.recordings)
    for recordings in RECORDINGS:
        for seed in range(draws if total >= recordings + MIN_HELD_OUT else 0):
            order = np.random.default_rng([SEED, seed]).permutation(total)
            yield _draw(data, order[:recordings], order[recordings:])


def table(draws: Sequence[Draw]) -> str:
    """The learning curve, in Markdown."""
    rows = ["| | " + " | ".join(f"{n} normal" for n in RECORDINGS) + " |"]
    rows.append("| --- |" + " ---: |" * len(RECORDINGS))
    groups = [[draw for draw in draws if draw.recordings == n] for n in RECORDINGS]

    def row(name: str, value: Any, form: str = "{:.0%}") -> None:
        cells = [form.format(value(group)) if group else "" for group in groups]
        rows.append(f"| {name} | {' | '.join(cells)} |")

    row("Draws", len, "{}")
    row("False alarms, mean", lambda group: np.mean([draw.rate for draw in group]))
    row(
        "False alarms, 90th percentile of the draws",
        lambda group: np.percentile([draw.rate for draw in group], 90),
    )
    row("Faults detected", lambda group: np.mean([draw.detection_rate for draw in group]))
    row("Interval, mean upper end", lambda group: np.mean([draw.interval.high for draw in group]))
    row("Interval, mean width", lambda group: np.mean([draw.interval.width for draw in group]))
    row("Count of held-out alarms compatible", lambda group: np.mean([d.side == 0 for d in group]))
    row("Count too high", lambda group: np.mean([draw.side > 0 for draw in group]))
    row(
        "Measured rate in the interval",
        lambda group: np.mean([d.interval.low <= d.rate <= d.interval.high for d in group]),
    )
    row(
        "Measured rate above the interval",
        lambda group: np.mean([draw.rate > draw.interval.high for draw in group]),
    )
    return "\n".join(rows)


def _read(normal: Sequence[Path], anomalous: Sequence[Path]) -> TrainingData:
    """Each recording is its own group."""

    def of(paths: Sequence[Path], label: str) -> list[Labelled]:
        return [Labelled(path, label, str(path)) for path in paths]

    plan = Plan(Path(), "benchmark", Path())
    return plans.read(
        plan,
        of(normal, NORMAL),
        no_progress,
        anomalies=of(anomalous, ANOMALY),
        feature_extractor=EXTRACTOR,
        check=lambda _: None,
        codec=OGG,
    )


def _draw(data: TrainingData, train: NDArray[np.intp], rest: NDArray[np.intp]) -> Draw:
    recipe = DetectorRecipe(Plan(Path(), "benchmark", Path()))
    coded = data.coded and _subset(data.coded, train)
    drawn = replace(data, rows=_subset(data.rows, train), coded=coded)
    result = recipe.evaluate(recipe.folds(drawn, no_progress), drawn).metrics()
    everything = np.ones(len(drawn.rows.recordings), dtype=bool)
    fitted = fit_detector(drawn, everything, recipe.plan.threshold)
    scores, _ = anomaly_scores(fitted, _subset(data.rows, rest), data.choice)
    return Draw(
        recordings=len(train),
        alarms=int((scores >= recipe.plan.threshold).sum()),
        held_out=len(rest),
        detection_rate=result["detection_rate"],
        estimate=result["false_alarm_rate"],
    )


def _subset(rows: Rows, chosen: NDArray[np.intp]) -> Rows:
    """The rows of the chosen recordings alone."""
    parts = [np.flatnonzero(rows.owner == recording) for recording in chosen]
    places = np.concatenate(parts)
    return Rows(
        values=rows.values[places],
        owner=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        copy=rows.copy[places],
        recordings=[rows.recordings[recording] for recording in chosen],
    )


if __name__ == "__main__":
    typer.run(main)
