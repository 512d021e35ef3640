"""`oddsound models`."""

from typing import Any

from oddsound.schemas import ModelInfo
from oddsound_workbench.cli.console import Json, Models, configure, out, print_json, reported_errors
from oddsound_workbench.cli.tables import Cell, print_facts, print_name

METRIC_NAMES = {
    "auc": "AUC",
    "pauc": "pAUC",
    "log_loss": "log-loss",
    "false_alarm_rate": "false alarms",
    "detection_rate": "detected",
}
"""Keys of metrics in models.json -> the name in the list of models, if it is another one."""

MORE_RECORDINGS = "more_recordings_to_halve_interval"


def list_models(models: Models = None, as_json: Json = False) -> None:
    """List the models."""
    from oddsound import runtime

    with reported_errors(as_json):
        configure(models)
        listed = runtime.registry().describe()
    if as_json:
        return print_json(listed.model_dump())
    for number, info in enumerate(listed.models):
        if number:
            out.print()
        print_name(out, info.name, " (default)" if info.name == listed.default else "")
        print_facts(out, _facts(info))
    return None


def _facts(info: ModelInfo) -> list[tuple[str, Cell]]:
    metrics = _metrics(info.metrics)
    facts = [
        ("version", info.version),
        ("classes", ", ".join(info.classes) if info.classes else "known after loading"),
        ("sample rate", f"{info.sample_rate} Hz"),
        ("threshold", "" if info.threshold is None else f"{info.threshold:g}"),
        *zip(["metrics", *[""] * len(metrics)], metrics, strict=False),
        ("certainty", _certainty(info.metrics) or ""),
        ("description", info.description),
    ]
    return [(name, Cell(value)) for name, value in facts if value]


def _metrics(metrics: dict[str, Any]) -> list[str]:
    """Each figure of an entry, with its interval if it has one."""
    found = []
    for key, value in metrics.items():
        if isinstance(value, float):
            limits = _interval(metrics, key)
            shown = "" if limits is None else f" ({limits[0]:.2g} to {limits[1]:.2g})"
            found.append(f"{METRIC_NAMES.get(key, key)} {value:.4g}{shown}")
    return found


def _certainty(metrics: dict[str, Any]) -> str | None:
    """How certain the rate of false alarms is; None for entries that do not say it."""
    limits = _interval(metrics, "false_alarm_rate")
    count, more = (metrics.get(key) for key in ("normal_recordings", MORE_RECORDINGS))
    if limits is None or not isinstance(count, int) or not isinstance(more, int):
        return None
    return (
        f"with {count} normal recordings, the rate of false alarms may be anything from"
        f" {100 * limits[0]:.0f} to {100 * limits[1]:.0f}%. With {more} more, this interval would"
        " be half as wide."
    )


def _interval(metrics: dict[str, Any], key: str) -> tuple[float, float] | None:
    """The ends of an interval in models.json, where anything may be written."""
    interval = metrics.get(f"{key}_interval")
    if not isinstance(interval, dict):
        return None
    low, high = interval.get("low"), interval.get("high")
    return (low, high) if isinstance(low, int | float) and isinstance(high, int | float) else None
