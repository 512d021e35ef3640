"""Why the state of a machine changed, in a sentence."""

from datetime import datetime, timedelta

from oddsound.machines.records import AlarmRule, HistoryRow, Machine, Status
from oddsound.machines.states import SILENT_INTERVALS, Change
from oddsound.schemas import Event


def strongest_event(row: HistoryRow | None) -> Event | None:
    """The most unusual event of a recording."""
    return max(row.events, key=lambda event: event.score) if row and row.events else None


def why(change: Change, machine: Machine, status: Status, row: HistoryRow | None) -> str:
    """The reason for a change. status : before the change; row : of the recording that decided."""
    rule = machine.alarm
    match change.cause:
        case "anomalies" | "relapse":
            again = " again, as part of the same alarm" if change.cause == "relapse" else ""
            return f"{_of(rule)} anomalous{again}{_heard(row)}."
        case "came and went":
            return (
                f"{_of(rule, 'recordings that arrived late')} anomalous{_heard(row)}; later ones"
                " are normal again."
            )
        case "normal again":
            seen = change.state != "returned"
            return f"{_of(rule)} normal again" + (
                "." if seen else "; nobody has acknowledged the alarm."
            )
        case "silence":
            interval = timedelta(seconds=machine.expected_every_s or 0)
            return (
                f"No recording has arrived for more than {SILENT_INTERVALS} intervals of"
                f" {_duration(interval)}."
            )
        case "heard again":
            since = status.silent_since or change.at
            return f"A recording has arrived again; the silence was noticed at {_time(since)}."
        case "snooze ended":
            return "The snooze is over."
        case "snoozed":
            return "A person does not want to be told about it for a while."
        case "acknowledged":
            return "A person has seen the alarm."
        case "model":
            return "The machine has got another model, or none."
        case "cleared":
            return "A person has ended the alarm."
        case "drift" | "drift over":
            return change.says


def _of(rule: AlarmRule, what: str = "recordings") -> str:
    if rule.of == 1:
        return "The last recording is"
    verb = "is" if rule.n == 1 else "are"
    last = "the last " if what == "recordings" else ""
    return f"{rule.n} of {last}{rule.of} {what} {verb}"


def _heard(row: HistoryRow | None) -> str:
    event = strongest_event(row)
    text = f"; in the newest of them, at {event.start_s:.1f} s: {event.says}" if event else ""
    if row and row.warnings:
        text += "; check the recorder, which may be the cause"
    return text


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _duration(interval: timedelta) -> str:
    seconds = interval.total_seconds()
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
