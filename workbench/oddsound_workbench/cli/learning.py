"""`oddsound train` and `oddsound evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oddsound.formats import SAMPLE_RATES_HZ
from oddsound.settings import MODELS_CONFIG_PATH
from oddsound_workbench.cli.console import (
    Json,
    Models,
    err,
    models_file,
    out,
    print_json,
    progress_bars,
    reported_errors,
)

Seed = Annotated[int, typer.Option(help="The same seed gives the same result, bit for bit.")]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression on the file name. Recordings with the same first group (for"
        " example several takes of one machine) stay on the same side of every split."
    ),
]
FoldPattern = Annotated[
    str | None,
    typer.Option(
        help="Regular expression on the file name. Its first group is the fold: '^(\\d)-'."
    ),
]
Anomalies = Annotated[
    Path | None,
    typer.Option(help="Anomalous recordings. They only evaluate a detector, they never train it."),
]
FixedGain = Annotated[
    bool,
    typer.Option(
        "--fixed-gain",
        help="Use the loudness too. Only if every recording, now and later, comes from one"
        " microphone at one position and gain.",
    ),
]
Copies = Annotated[
    int,
    typer.Option(min=0, max=50, help="Augmented copies of each recording, for a classifier."),
]
SampleRate = Annotated[
    int,
    typer.Option(
        min=SAMPLE_RATES_HZ[0],
        max=SAMPLE_RATES_HZ[1],
        help="Sample rate of the model, in Hz. Recordings are resampled to it.",
    ),
]
WindowS = Annotated[
    float | None,
    typer.Option(
        min=0.1, help="Length of a window, in seconds. [default: the median recording, at most 10]"
    ),
]
Threshold = Annotated[
    float,
    typer.Option(min=0, max=1, help="Anomaly score at which a detector reports an anomaly."),
]
RecordingsPerDay = Annotated[
    float,
    typer.Option(
        min=0,
        help="Recordings of normal operation per day; the report gives false alarms per day.",
    ),
]
Links = Annotated[
    bool,
    typer.Option(
        "--links/--no-links",
        help="Link the recordings in the report, so that a browser can play them. --no-links only"
        " shows their names, for a report that is passed on without them.",
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out recordings that cannot be used, and list them."),
]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Label file (Audacity, Raven, CSV) with the normal and faulty stretches of the long"
        " recordings in FOLDER, or of the recording FOLDER. Repeat it, or name a folder, for more.",
    ),
]
NormalLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--normal-label",
        metavar="TEXT",
        help="Labels with this text are normal. Repeat it for more. [default: no text, normal,"
        " ok, good, healthy]",
        show_default=False,
    ),
]
FaultyLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--faulty-label",
        metavar="TEXT",
        help="Labels with this text are faulty, and only evaluate. Repeat it for more. [default:"
        " faulty, fault, anomaly, anomalous, abnormal, bad]",
        show_default=False,
    ),
]


def train(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A subfolder per class trains a classifier; normal recordings alone, a detector.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the model.", show_default=False)],
    anomalies: Anomalies = None,
    labels: LabelFiles = None,
    normal_labels: NormalLabels = None,
    faulty_labels: FaultyLabels = None,
    models: Annotated[Path, typer.Option(help="models.json to add to.")] = Path(MODELS_CONFIG_PATH),
    group_pattern: GroupPattern = None,
    fold_pattern: FoldPattern = None,
    sample_rate: SampleRate = 16000,
    window_s: WindowS = None,
    copies: Copies = 8,
    threshold: Threshold = 0.9,
    fixed_gain: FixedGain = False,
    recordings_per_day: RecordingsPerDay = 24,
    seed: Seed = 0,
    description: Annotated[str, typer.Option(help="One line that describes the model.")] = "",
    version: Annotated[
        str | None, typer.Option(help="[default: today and a short checksum]")
    ] = None,
    links: Links = True,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Train a model: its artifacts, its entry in models.json and a report."""
    from oddsound_workbench import training

    _check_labels(labels, normal_labels, faulty_labels)
    with reported_errors(as_json), progress_bars(show=not as_json) as progress:
        plan = training.Plan(
            folder=folder,
            name=name,
            models=models,
            anomalies=anomalies,
            group_pattern=group_pattern,
            fold_pattern=fold_pattern,
            sample_rate=sample_rate,
            window_s=window_s,
            copies=copies,
            threshold=threshold,
            fixed_gain=fixed_gain,
            recordings_per_day=recordings_per_day,
            seed=seed,
            description=description,
            version=version,
            links=links,
            skip_bad=skip_bad,
            label_files=tuple(labels or ()),
            normal_labels=tuple(normal_labels or ()),
            faulty_labels=tuple(faulty_labels or ()),
        )
        trained = training.train(plan, progress)
    if as_json:
        entry = trained.entry.model_dump(mode="json", exclude_none=True)
        metrics, notes = trained.result.metrics(), trained.notes
        return print_json({"name": name, "entry": entry, "metrics": metrics, "notes": notes})
    out.print(trained.report, highlight=False, soft_wrap=True, markup=False)
    out.print(
        f"Model:  {trained.folder}\n"
        f"Entry:  {name} in {models}\n"
        f"Report, with plots and the recordings: {trained.folder / 'report.html'}\n"
        f"Try it: oddsound predict FILE --model {name} --models {models}",
        highlight=False,
        soft_wrap=True,
    )
    return None


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A subfolder per class, or normal recordings alone.", show_default=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Evaluate this trained model, on recordings that are new to it."),
    ] = None,
    anomalies: Anomalies = None,
    labels: LabelFiles = None,
    normal_labels: NormalLabels = None,
    faulty_labels: FaultyLabels = None,
    each_class_as_normal: Annotated[
        bool,
        typer.Option(
            "--each-class-as-normal", help="Evaluate one detector per class, with it as normal."
        ),
    ] = False,
    models: Models = None,
    group_pattern: GroupPattern = None,
    fold_pattern: FoldPattern = None,
    sample_rate: SampleRate = 16000,
    window_s: WindowS = None,
    copies: Copies = 8,
    threshold: Threshold = 0.9,
    fixed_gain: FixedGain = False,
    recordings_per_day: RecordingsPerDay = 24,
    seed: Seed = 0,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Test again with altered recordings: gain, noise, low-pass, MP3, sample rates.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Also write the report, with plots, to this HTML file."),
    ] = None,
    links: Links = True,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Measure the training recipe by cross-validation, or a trained model with --model."""
    from oddsound_workbench import assessment, training
    from oddsound_workbench.learn.robustness import CONDITIONS
    from oddsound_workbench.report import page

    _check_labels(labels, normal_labels, faulty_labels)
    if labels and each_class_as_normal:
        raise typer.BadParameter("--each-class-as-normal needs a folder per class, not --labels")
    with reported_errors(as_json), progress_bars(show=not as_json) as progress:
        plan = training.Plan(
            folder=folder,
            name=model or "recipe",
            models=(models_file(models) if model else None) or Path(MODELS_CONFIG_PATH),
            anomalies=anomalies,
            group_pattern=group_pattern,
            fold_pattern=fold_pattern,
            sample_rate=sample_rate,
            window_s=window_s,
            copies=copies,
            threshold=threshold,
            fixed_gain=fixed_gain,
            recordings_per_day=recordings_per_day,
            seed=seed,
            links=links,
            skip_bad=skip_bad,
            label_files=tuple(labels or ()),
            normal_labels=tuple(normal_labels or ()),
            faulty_labels=tuple(faulty_labels or ()),
        )
        conditions = tuple(CONDITIONS) if robustness else ()
        if model is not None:
            assessed = assessment.of_model(plan, progress, conditions)
        elif each_class_as_normal:
            assessed = assessment.of_each_class(plan, progress, conditions)
        else:
            assessed = assessment.of_recipe(plan, progress, conditions)
    if as_json:
        for warning in assessed.report.warnings:
            err.print(f"[yellow]Warning:[/yellow] {warning}")
        print_json(assessed.metrics)
    else:
        out.print(assessed.text, highlight=False, soft_wrap=True, markup=False)
    if html is not None:
        with reported_errors(as_json=False):
            page.write(assessed.report, html, links=links)


def _check_labels(*options: list[Any] | None) -> None:
    """Raises BadParameter if the texts of labels are given without --labels."""
    if not options[0] and any(options[1:]):
        raise typer.BadParameter("--normal-label and --faulty-label need --labels")
