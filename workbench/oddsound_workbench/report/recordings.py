"""Predictions as one HTML page with a section for each recording, readable without a network."""

import base64
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from oddsound.errors import AudioAnomalyError
from oddsound.formats import AudioLimits
from oddsound.schemas import BandEvidence, ErrorBody, Explanation, FeatureEvidence, Prediction
from oddsound_workbench.errors import FolderError
from oddsound_workbench.files import printable, replace_file
from oddsound_workbench.report import picture
from oddsound_workbench.report.overview import Overview, overview_of
from oddsound_workbench.report.rendering import rendered
from oddsound_workbench.report.when import about_verdict, clock, exact_span, when

MAX_SECTIONS = 100
"""Recordings with a section of their own: each takes about 0.2 MB."""

MAX_AUDIO_BYTES, MAX_ALL_AUDIO_BYTES = 2_000_000, 20_000_000
"""Largest recording, and all of them together, that a page contains."""

MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".wave": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp3": "audio/mpeg",
}
"""Suffixes of recordings that browsers play."""

MAX_NAMED_CLASSES = 3
MAX_TITLE = 60
"""Characters of a file name in the title of a picture."""

type Results = Sequence[tuple[Path, Prediction | ErrorBody]]


def write_plot(
    target: Path, recording: Path, prediction: Prediction, sample_rate: int, limits: AudioLimits
) -> None:
    """Write the picture of one recording; the suffix of `target` decides about the format.

    sample_rate : of the model, in Hz
    Raises FolderError if it cannot be written, or the recording cannot be read again.
    """
    overview = _overview(recording, prediction, sample_rate, limits)
    name = printable(Path(recording.name))
    if len(name) > MAX_TITLE:
        name = f"{name[: MAX_TITLE // 3]}…{name[-2 * MAX_TITLE // 3 :]}"
    title = f"{name}: {prediction.prediction}{about_verdict(prediction)}"
    kind = target.suffix.lower().removeprefix(".")
    _replace(target, picture.image(overview, prediction, title, kind))


def write_page(
    target: Path,
    results: Results,
    sample_rate: int,
    limits: AudioLimits,
    advance: Callable[[], Any] = lambda: None,
) -> None:
    """Write the page.

    advance : called after each section
    Raises FolderError if it cannot be written, or a recording cannot be read again.
    """
    _replace(target, render(results, sample_rate, limits, advance).encode())


def drawn(results: Results) -> list[tuple[Path, Prediction]]:
    """The recordings that get a section: all, or the most anomalous ones, in their order."""
    scored = [(file, each) for file, each in results if isinstance(each, Prediction)]
    order = sorted(range(len(scored)), key=lambda place: _rank(scored[place][1]), reverse=True)
    return [scored[place] for place in sorted(order[:MAX_SECTIONS])]


def render(
    results: Results,
    sample_rate: int,
    limits: AudioLimits,
    advance: Callable[[], Any] = lambda: None,
) -> str:
    """The page as HTML. All names are escaped."""
    chosen = drawn(results)
    ids = {
        id(prediction): f"recording-{number}" for number, (_, prediction) in enumerate(chosen, 1)
    }
    budget = MAX_ALL_AUDIO_BYTES
    sections = []
    for file, prediction in chosen:
        section = _section(file, prediction, sample_rate, limits)
        size = file.stat().st_size
        if size <= min(budget, MAX_AUDIO_BYTES) and file.suffix.lower() in MEDIA_TYPES:
            section["audio"] = _data_url(file)
            budget -= size
        else:
            section["no_audio"] = _no_audio(file, size)
        sections.append(section | {"id": ids[id(prediction)]})
        advance()
    scored = sum(isinstance(each, Prediction) for _, each in results)
    rows = [_row(file, each, ids.get(id(each))) for file, each in results]
    return rendered(
        "recordings.html",
        title=_title(results),
        about=_about(results),
        rows=rows,
        has_scores=_has(results, "anomaly_score"),
        has_times=any(row["when"] for row in rows),
        omitted=f"Only the {len(chosen)} most anomalous recordings are shown below."
        if len(chosen) < scored
        else "",
        sections=sections,
    )


def _section(
    file: Path, prediction: Prediction, sample_rate: int, limits: AudioLimits
) -> dict[str, Any]:
    overview = _overview(file, prediction, sample_rate, limits)
    return {
        "name": printable(file),
        "tone": _tone(prediction),
        "verdict": prediction.prediction,
        "about_verdict": about_verdict(prediction),
        "summary": _summary(prediction),
        "warnings": prediction.signal.warnings if prediction.signal else [],
        "svg": picture.svg(overview, prediction),
        "audio": None,
        "no_audio": None,
        "events": [
            {
                "when": exact_span(event.start_s, event.end_s, prediction.duration_s),
                "kind": event.kind,
                "says": event.says,
                "score": f"{event.score:.1f}",
            }
            for event in prediction.events or []
        ],
        "explanation": prediction.explanation.summary if prediction.explanation else "",
        "reasons": _reasons(prediction.explanation) if prediction.explanation else [],
    }


def _row(file: Path, result: Prediction | ErrorBody, section: str | None) -> dict[str, Any]:
    """The row of a recording in the table of all."""
    if isinstance(result, ErrorBody):
        return {"name": printable(file), "id": None, "reason": result.detail, "when": ""}
    score = result.anomaly_score
    return {
        "name": printable(file),
        "id": section,
        "reason": None,
        "tone": _tone(result),
        "verdict": result.prediction,
        "when": when(result),
        "score": "" if score is None else f"{score:.3f}",
        "duration": f"{result.duration_s:.1f} s",
    }


def _title(results: Results) -> str:
    if len(results) == 1:
        return printable(results[0][0])
    anomalies = sum(isinstance(each, Prediction) and bool(each.is_anomaly) for _, each in results)
    if not _has(results, "anomaly_score"):
        return f"{len(results)} recordings"
    noun = "anomaly" if anomalies == 1 else "anomalies"
    return f"{len(results)} recordings, {anomalies} {noun}"


def _has(results: Results, field: str) -> bool:
    """Whether a prediction has a value for a field."""
    return any(
        isinstance(each, Prediction) and getattr(each, field) is not None for _, each in results
    )


def _about(results: Results) -> str:
    """Which model scored the recordings, and when."""
    first = next((each for _, each in results if isinstance(each, Prediction)), None)
    if first is None:
        return "No recording could be scored."
    today = date.today().isoformat()
    return f"Scored on {today} by the model {first.model_name}, version {first.model_version}."


def _summary(prediction: Prediction) -> str:
    """The figures of a prediction, in one line."""
    rate = f"{prediction.sample_rate / 1000:g} kHz"
    parts = [f"{clock(prediction.duration_s, prediction.duration_s)} at {rate}"]
    if prediction.anomaly_score is not None:
        parts.append(f"anomaly score {prediction.anomaly_score:.3f}")
    if prediction.threshold is not None:
        parts.append(f"threshold {prediction.threshold:g}")
    if prediction.windows and prediction.threshold is not None:
        over = sum((w.anomaly_score or 0) >= prediction.threshold for w in prediction.windows)
        parts.append(f"{over} of {len(prediction.windows)} windows over the threshold")
    if len(prediction.all_probabilities) > 2:
        best = sorted(prediction.all_probabilities.items(), key=lambda pair: -pair[1])
        named = ", ".join(f"{name} {value:.2f}" for name, value in best[:MAX_NAMED_CLASSES])
        parts.append(f"probabilities: {named}")
    return "; ".join(parts) + "."


def _reasons(explanation: Explanation) -> list[str]:
    evidence: list[BandEvidence | FeatureEvidence] = [*explanation.bands, *explanation.features]
    return [f"{each.says} ({each.deviation:+.1f} standard deviations)" for each in evidence]


def _tone(prediction: Prediction) -> str:
    """The class of a verdict in the style sheet."""
    return {None: "other", True: "anomaly", False: "normal"}[prediction.is_anomaly]


def _rank(prediction: Prediction) -> tuple[bool, float]:
    level = prediction.anomaly_level or prediction.anomaly_score or 0.0
    return bool(prediction.is_anomaly), level


def _no_audio(file: Path, size: int) -> str:
    suffix = file.suffix.lower()
    if suffix not in MEDIA_TYPES:
        return f"Browsers do not play {suffix or 'such'} files."
    return f"The recording is not part of this page, because it has {size / 1e6:.1f} MB."


def _data_url(file: Path) -> str:
    content = base64.b64encode(file.read_bytes()).decode()
    return f"data:{MEDIA_TYPES[file.suffix.lower()]};base64,{content}"


def _overview(
    file: Path, prediction: Prediction, sample_rate: int, limits: AudioLimits
) -> Overview:
    try:
        return overview_of(file, sample_rate, prediction.duration_s, limits)
    except (AudioAnomalyError, OSError) as error:
        raise FolderError(f"{printable(file)} cannot be read again: {error}") from None


def _replace(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise FolderError(f"{printable(path)} cannot be written: {error.strerror}") from None
