"""The files that `oddsound predict` writes: label files, a plot, a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddsound.schemas import ErrorBody, Prediction
from oddsound_workbench.cli.predictions import Results
from oddsound_workbench.errors import WorkbenchError
from oddsound_workbench.files import printable
from oddsound_workbench.labels.formats import LabelFormat
from oddsound_workbench.labels.writing import LabelWriter

if TYPE_CHECKING:
    from oddsound.model import Model

Labels = Annotated[
    LabelFormat | None,
    typer.Option(
        help="Write the events of each recording beside it, as an Audacity label track (.txt), a"
        " Raven selection table (.selections.txt) or CSV (.csv)."
    ),
]
LabelsDir = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder for the files of --labels."),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        metavar="FILE.png",
        help="Draw one recording: waveform, spectrogram, score over time, events. Also .svg, .pdf.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        metavar="FILE.html",
        help="Write a page that shows every recording in the same way, and plays short ones.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of --labels that exist.")
]
PLOT_SUFFIXES = (".png", ".svg", ".pdf")
PAGE_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Outputs:
    """What to write; None for what was not asked for."""

    plot: Path | None
    html: Path | None
    labels: LabelWriter | None

    @classmethod
    def checked(
        cls,
        files: Sequence[tuple[Path, Path]],
        plot: Path | None,
        html: Path | None,
        labels: LabelFormat | None,
        labels_dir: Path | None,
        *,
        overwrite: bool,
    ) -> "Outputs":
        """Everything that can fail before a recording is scored.

        files : recordings, each with the folder that it was found in
        Raises BadParameter for options that do not fit, FolderError if a label file exists, and
        ModuleNotFoundError without the packages that draw.
        """
        if labels is None and (labels_dir is not None or overwrite):
            raise typer.BadParameter("--labels-dir and --overwrite need --labels")
        if plot is not None:
            _check_plot(plot, len(files))
        if html is not None and html.suffix.lower() not in PAGE_SUFFIXES:
            # A slip of the hand must not replace a recording.
            raise typer.BadParameter(
                f"{printable(html)} does not end in {', '.join(PAGE_SUFFIXES)}", param_hint="--html"
            )
        if plot is not None or html is not None:
            import oddsound_workbench.report.recordings  # noqa: F401
        if labels is None:
            return cls(plot, html, None)
        return cls(plot, html, LabelWriter(labels, files, labels_dir, overwrite=overwrite))

    def check_model(self, model: "Model") -> None:
        """Raises WorkbenchError if label files are asked for and the model finds no events."""
        finds = model.predictor.normal_label is not None and model.events_reference is not None
        if self.labels is not None and not finds:
            raise WorkbenchError(
                f"the model {model.name} finds no events for --labels: only detectors do that were"
                " trained with this version of `oddsound train`"
            )

    def write_labels(self, file: Path, result: Prediction | ErrorBody) -> None:
        """Write the label file of a recording that was scored."""
        if self.labels is not None and isinstance(result, Prediction):
            self.labels.write(file, result)

    @property
    def label_files(self) -> list[Path]:
        """Those that were written."""
        return [] if self.labels is None else self.labels.written

    def write_pictures(
        self,
        results: Results,
        model: "Model",
        progress: Callable[[str, int], Callable[[], Any]],
    ) -> WorkbenchError | None:
        """Write the plot and the page.

        Returns the error if a file cannot be written, so that the predictions are printed first.
        """
        if self.plot is None and self.html is None:
            return None
        from oddsound import runtime
        from oddsound_workbench.report import recordings

        limits, rate = runtime.limits(), model.sample_rate
        try:
            if self.plot is not None and isinstance(result := results[0][1], Prediction):
                recordings.write_plot(self.plot, results[0][0], result, rate, limits)
            if self.html is not None:
                advance = progress("Drawing", len(recordings.drawn(results)))
                recordings.write_page(self.html, results, rate, limits, advance)
        except WorkbenchError as error:
            return error
        return None


def _check_plot(plot: Path, recordings: int) -> None:
    """Raises BadParameter if a plot cannot be written: it has one recording."""
    if plot.suffix.lower() not in PLOT_SUFFIXES:
        raise typer.BadParameter(
            f"{printable(plot)} does not end in {', '.join(PLOT_SUFFIXES)}", param_hint="--plot"
        )
    if recordings > 1:
        raise typer.BadParameter(
            f"it draws one recording, not {recordings}; --html draws all", param_hint="--plot"
        )
