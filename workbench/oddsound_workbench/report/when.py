"""When a recording is anomalous, in a few words: `3.2 to 3.4 s`, `from 12:40`, `throughout`."""

from collections.abc import Sequence

from oddsound.schemas import Event, Prediction, Window

THROUGHOUT = "throughout"
WHOLE = 0.95
"""Share of a recording from which a stretch is the whole recording."""

MIN_RUN = 3
"""Anomalous windows in a row that say more than one event: a knock reaches at most two windows."""

MINUTES_FROM_S = 60
"""Recordings of this length and longer have times in minutes."""


def when(prediction: Prediction) -> str:
    """The moment of the strongest event, or of the anomalous windows; empty if there is neither.

    A run of anomalous windows is named instead of its strongest event. A short event outside of
    the anomalous windows is not what made the recording an anomaly, and is not named.
    """
    duration_s = prediction.duration_s
    run = anomalous_run(prediction)
    if len(run) >= MIN_RUN:
        return stretch(run[0].start_s, run[-1].end_s, duration_s)
    if event := strongest_event(prediction, run):
        return span(event.start_s, event.end_s, duration_s)
    if run:
        return stretch(run[0].start_s, run[-1].end_s, duration_s)
    return THROUGHOUT if prediction.is_anomaly else ""


def about_verdict(prediction: Prediction) -> str:
    """What follows the name of the predicted class: `, from 12:40`, or where an event is."""
    moment = when(prediction)
    if not moment:
        return ""
    if prediction.is_anomaly:
        return f", {moment}"
    number = len(prediction.events or [])
    events = f"{number} events, the strongest" if number > 1 else "an event"
    return f", with {events} {moment}"


def anomalous_run(prediction: Prediction) -> Sequence[Window]:
    """The longest stretch of windows of an anomaly that are mostly over the threshold.

    Empty for a normal recording, in which single windows may be over the threshold by chance, and
    for one that is not divided into windows.
    """
    windows, threshold = prediction.windows or [], prediction.threshold
    if not prediction.is_anomaly or threshold is None:
        return []
    # The largest sum of +1 for each window over the threshold and -1 for each other one.
    best, first, last = 0, 0, 0
    total, start = 0, 0
    for index, window in enumerate(windows):
        if total <= 0:
            total, start = 0, index
        total += 1 if (window.anomaly_score or 0) >= threshold else -1
        if total > best:
            best, first, last = total, start, index + 1
    return windows[first:last]


def strongest_event(prediction: Prediction, run: Sequence[Window]) -> Event | None:
    """The event with the largest score, of those that overlap the run if there is one."""
    events = prediction.events or []
    if run:
        start_s, end_s = run[0].start_s, run[-1].end_s
        events = [each for each in events if each.start_s < end_s and each.end_s > start_s]
    return max(events, key=lambda event: event.score, default=None)


def stretch(start_s: float, end_s: float, duration_s: float) -> str:
    """As `span`, but without an end that is that of the recording."""
    if end_s - start_s < WHOLE * duration_s:
        if end_s >= duration_s - 0.5:
            return f"from {clock(start_s, duration_s)}"
        if start_s <= 0:
            return f"until {clock(end_s, duration_s)}"
    return span(start_s, end_s, duration_s)


def span(start_s: float, end_s: float, duration_s: float) -> str:
    """From start to end, with the precision that a recording of that length needs."""
    if end_s - start_s >= WHOLE * duration_s:
        return THROUGHOUT
    start, end = clock(start_s, duration_s), clock(end_s, duration_s)
    if start == end or end_s - start_s < (0.1 if duration_s < MINUTES_FROM_S else 1):
        return f"at {start}"
    return f"{start.removesuffix(' s')} to {end}"


def exact_span(start_s: float, end_s: float, duration_s: float) -> str:
    """From start to end: to 10 ms, and in a long recording to a second, as a player shows it."""
    if duration_s < MINUTES_FROM_S:
        return f"{start_s:.2f} to {end_s:.2f} s"
    return span(start_s, end_s, duration_s)


def clock(seconds: float, duration_s: float) -> str:
    """A time in a recording: `3.2 s`, in longer ones `12:40`, and from an hour on `1:12:40`."""
    if duration_s < MINUTES_FROM_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
