"""The words for the moment of an anomaly."""

from typing import Any

import pytest

from oddsound.schemas import Event, Prediction, Window
from oddsound_workbench.report.when import about_verdict, exact_span, when


def event(start_s: float, end_s: float, score: float = 2.0) -> Event:
    return Event(start_s=start_s, end_s=end_s, kind="impact", score=score, says="a knock")


def prediction(
    marks: str = "", *events: Event, duration_s: float = 10.0, anomaly: bool = True, **fields: Any
) -> Prediction:
    """A recording of windows of equal length: `x` is over the threshold, `.` is not."""
    size = duration_s / max(1, len(marks))
    return Prediction(
        prediction="anomaly" if anomaly else "normal",
        probability=0.9,
        all_probabilities={"normal": 0.1, "anomaly": 0.9},
        latency_ms=1,
        model_name="fan",
        model_version="1",
        is_anomaly=anomaly,
        anomaly_score=0.95 if anomaly else 0.2,
        threshold=0.9,
        duration_s=duration_s,
        sample_rate=16000,
        windows=[
            Window(
                start_s=place * size,
                end_s=(place + 1) * size,
                prediction="anomaly" if mark == "x" else "normal",
                anomaly_score=0.95 if mark == "x" else 0.5,
            )
            for place, mark in enumerate(marks)
        ]
        or None,
        events=list(events),
    ).model_copy(update=fields)


HOUR = 3600.0
CASES = {
    "an event": (prediction("", event(3.2, 3.4)), "3.2 to 3.4 s"),
    "a knock": (prediction("", event(3.21, 3.24)), "at 3.2 s"),
    "a knock at the border of two tenths": (prediction("", event(1.02, 1.07)), "at 1.0 s"),
    "the strongest event": (prediction("", event(1, 2, 1.5), event(5, 6, 3)), "5.0 to 6.0 s"),
    "an event of a normal recording": (prediction("", event(5, 6), anomaly=False), "5.0 to 6.0 s"),
    "an event as long as the recording": (prediction("", event(0, 9.9)), "throughout"),
    "nothing but the verdict": (prediction(), "throughout"),
    "a normal recording": (prediction(anomaly=False), ""),
    "windows of a normal recording": (prediction("..x..", anomaly=False), ""),
    "windows to the end": (prediction("." * 38 + "x" * 22, duration_s=HOUR), "from 38:00"),
    "nearly all windows to the end": (
        prediction("." * 38 + "xx.xxxx.xxxxxx.xxxxxxx", duration_s=HOUR),
        "from 38:00",
    ),
    "windows from the start": (prediction("xxxx" + "." * 56, duration_s=HOUR), "until 4:00"),
    "windows between": (prediction("....xxxx....", duration_s=120), "0:40 to 1:20"),
    "after an hour": (prediction("." * 11 + "x" * 9, duration_s=2 * HOUR), "from 1:06:00"),
    "all windows": (prediction("x" * 60, event(70, 71), duration_s=HOUR), "throughout"),
    "one window without an event": (prediction("..x..", duration_s=50), "20.0 to 30.0 s"),
    "an event in one window": (
        prediction("..x..", event(2, 3, 9), event(25, 26), duration_s=50),
        "25.0 to 26.0 s",
    ),
    "an event outside of the windows": (
        prediction("..xx.", event(2, 3, 9), duration_s=50),
        "20.0 to 40.0 s",
    ),
    "a run of windows with events": (
        prediction("." * 30 + "x" * 30, event(20, 21, 9), event(2000, 2001), duration_s=HOUR),
        "from 30:00",
    ),
    "a minute": (prediction("", event(12.3, 12.9), duration_s=60), "at 0:12"),
    "a classifier without a normal class": (
        prediction("..", is_anomaly=None, anomaly_score=None, threshold=None, events=None),
        "",
    ),
}


@pytest.mark.parametrize(("found", "words"), CASES.values(), ids=CASES)
def test_the_moment_of_an_anomaly(found: Prediction, words: str) -> None:
    assert when(found) == words


def test_the_words_after_a_verdict() -> None:
    knock = event(3, 4)
    sentences = {
        ", 3.0 to 4.0 s": prediction("", knock),
        ", with an event 3.0 to 4.0 s": prediction("", knock, anomaly=False),
        ", with 2 events, the strongest 3.0 to 4.0 s": prediction("", knock, knock, anomaly=False),
        "": prediction(anomaly=False),
    }
    for words, found in sentences.items():
        assert about_verdict(found) == words


def test_times_of_events_are_those_that_a_player_shows() -> None:
    assert exact_span(0, 4, 4) == "0.00 to 4.00 s"
    assert exact_span(3.212, 3.26, 59) == "3.21 to 3.26 s"
    assert exact_span(2290, 2300.01, 3600) == "38:10 to 38:20"
    assert exact_span(2290.2, 2290.3, 3600) == "at 38:10"
