"""Events: what is found when, in sound with known faults, and what is not found in normal sound."""

import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from oddsound.descriptors import Array
from oddsound.errors import ModelArtifactError
from oddsound.events.candidates import Candidate
from oddsound.events.finder import MAX_EVENTS, EventFinder, find_events
from oddsound.events.frames import (
    DROPOUT,
    IMPACT,
    KINDS,
    LEVEL,
    MODULATION,
    TIMBRE,
    TONE,
    FrameAnalyser,
)
from oddsound.events.reference import EventReference
from oddsound.events.wording import frequency, sentence
from oddsound.schemas import Event
from oddsound_workbench.learn.events import Measured, reference_of
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

SECONDS = 6.0
ANALYSER = FrameAnalyser(SAMPLE_RATE)


def normal(seed: int, seconds: float = SECONDS) -> Array:
    return fan(seed, faulty=False, duration_s=seconds)


@pytest.fixture(scope="module")
def reference() -> EventReference:
    """Of 16 normal fans."""
    chunks = [Measured(str(seed), ANALYSER(normal(seed)).measures) for seed in range(16)]
    return reference_of(chunks, SAMPLE_RATE, SECONDS)


def part(start_s: float, end_s: float) -> slice:
    return slice(round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE))


def level(sound: Array | NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(sound).mean()))


def with_knock(sound: Array, at_s: float, decibels: float = 10.0) -> Array:
    """With decaying noise whose first 30 ms are so many dB over the sound."""
    changed = sound.copy()
    t = np.arange(round(0.1 * SAMPLE_RATE)) / SAMPLE_RATE
    knock = np.random.default_rng(1).normal(0, 1, len(t)) * np.exp(-t / 0.01)
    head = level(sound[part(at_s, at_s + 0.03)]) / level(knock[: round(0.03 * SAMPLE_RATE)])
    changed[part(at_s, at_s + 0.1)] += (10 ** (decibels / 20) * head * knock).astype(np.float32)
    return changed


def with_tone(sound: Array, hz: float, start_s: float, end_s: float) -> Array:
    changed = sound.copy()
    stretch = changed[part(start_s, end_s)]
    wave = np.sin(2 * np.pi * hz * np.arange(len(stretch)) / SAMPLE_RATE)
    stretch += (level(stretch) * np.sqrt(2) * wave).astype(np.float32)
    return changed


def only(events: list[Event], kind: str) -> Event:
    assert [event.kind for event in events] == [kind], events
    assert events[0].score >= 1
    return events[0]


@pytest.mark.parametrize("at_s", [0.4, 1.0, 2.503, 5.611])
def test_the_start_of_a_knock_is_exact_to_20_ms(reference: EventReference, at_s: float) -> None:
    event = only(find_events(with_knock(normal(50), at_s), ANALYSER, reference), IMPACT)
    assert event.start_s == pytest.approx(at_s, abs=0.02)
    assert at_s < event.end_s < at_s + 0.15
    assert event.says.startswith("a knock, ")


def test_a_knock_as_strong_as_the_sound_is_found(reference: EventReference) -> None:
    sound = with_knock(normal(50), 2.5, decibels=0)
    assert only(find_events(sound, ANALYSER, reference), IMPACT).start_s == pytest.approx(
        2.5, abs=0.03
    )


def test_a_stronger_knock_has_a_larger_score(reference: EventReference) -> None:
    scores = [
        only(find_events(with_knock(normal(50), 2.5, db), ANALYSER, reference), IMPACT).score
        for db in (0, 10, 20, 30)
    ]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] * 2


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.12, 0.5])
@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_the_start_and_end_of_a_drop_out(
    reference: EventReference, seconds: float, gain: float
) -> None:
    sound = normal(51)
    sound[part(2.2, 2.2 + seconds)] *= gain
    event = only(find_events(sound, ANALYSER, reference), DROPOUT)
    assert event.start_s == pytest.approx(2.2, abs=0.012)
    assert event.end_s == pytest.approx(2.2 + seconds, abs=0.012)


def test_a_mute_is_described_as_such_also_with_a_dc_offset(reference: EventReference) -> None:
    sound = normal(51) + np.float32(0.3)
    sound[part(2.2, 2.3)] = 0
    events = find_events(sound, ANALYSER, reference)
    (event,) = (event for event in events if event.kind == DROPOUT)
    assert event.says.endswith("the samples do not change")


@pytest.mark.parametrize("hz", [440.0, 1234.5, 3111.0, 6800.0])
def test_the_frequency_and_time_of_a_tone(reference: EventReference, hz: float) -> None:
    events = find_events(with_tone(normal(52), hz, 2, 4), ANALYSER, reference)
    event = only(events, TONE)
    assert event.start_s == pytest.approx(2, abs=0.15)
    assert event.end_s == pytest.approx(4, abs=0.25)
    number, unit = event.says.split(" for ")[0].removeprefix("a tone at ").split()
    assert float(number) * {"Hz": 1, "kHz": 1000}[unit] == pytest.approx(hz, abs=8)


def test_a_tone_that_lasts_for_the_whole_recording_is_found(reference: EventReference) -> None:
    event = only(find_events(with_tone(normal(52), 2500, 0, SECONDS), ANALYSER, reference), TONE)
    assert [event.start_s, event.end_s] == pytest.approx([0, SECONDS], abs=0.05)


@pytest.mark.parametrize(("gain_db", "change"), [(6, "rises by 6 dB"), (-6, "falls by 6 dB")])
def test_a_change_of_the_level(reference: EventReference, gain_db: float, change: str) -> None:
    sound = normal(53)
    sound[part(2, 4)] *= np.float32(10 ** (gain_db / 20))
    events = [event for event in find_events(sound, ANALYSER, reference) if event.kind == LEVEL]
    event = only(events, LEVEL)
    assert change in event.says
    assert event.start_s == pytest.approx(2, abs=0.2)
    assert event.end_s == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("hz", [2.5, 5.0, 11.0])
@pytest.mark.parametrize("depth", [0.5, 1.0])
def test_the_rate_and_time_of_a_modulation(
    reference: EventReference, hz: float, depth: float
) -> None:
    sound = normal(54)
    stretch = sound[part(2, 4.5)]
    stretch *= 1 + np.float32(depth) * np.sin(
        2 * np.pi * hz * np.arange(len(stretch)) / SAMPLE_RATE
    ).astype(np.float32)
    event = only(find_events(sound, ANALYSER, reference), MODULATION)
    assert event.start_s == pytest.approx(2, abs=0.3)
    assert event.end_s == pytest.approx(4.5, abs=0.3)
    rate = float(event.says.split(" dB, ")[1].split(" times")[0])
    assert rate == pytest.approx(hz, abs=0.4)


def test_more_sound_in_some_bands_is_a_change_of_timbre(reference: EventReference) -> None:
    sound = fan(55, faulty=True, duration_s=SECONDS)
    events = find_events(sound, ANALYSER, reference)
    event = only(events, TIMBRE)
    # The resonance of the bearing is at 3.1 kHz.
    assert "more between 3.09 kHz and 3.69 kHz" in event.says
    assert [event.start_s, event.end_s] == pytest.approx([0, SECONDS], abs=0.1)


@pytest.mark.parametrize("seconds", [0.5, 1.0, SECONDS, 15.0])
def test_nine_of_ten_normal_recordings_have_no_event_at_any_length(
    reference: EventReference, seconds: float
) -> None:
    found = [
        bool(find_events(normal(1000 + seed, seconds), ANALYSER, reference)) for seed in range(30)
    ]
    assert sum(found) <= 3


@pytest.mark.parametrize("gain", [0.05, 1.0])
def test_the_gain_changes_nothing(reference: EventReference, gain: float) -> None:
    sound = with_knock(normal(56), 3)
    found = find_events(sound * np.float32(gain), ANALYSER, reference)
    assert [(e.kind, e.start_s) for e in found] == [
        (e.kind, e.start_s) for e in find_events(sound, ANALYSER, reference)
    ]


def test_blocks_of_any_size_give_the_events_of_the_whole(reference: EventReference) -> None:
    sound = with_knock(normal(57, 40), 17.3)
    sound[part(30, 30.1)] = 0
    whole = find_events(sound, ANALYSER, reference)
    assert [event.kind for event in whole] == [IMPACT, DROPOUT]
    finder = EventFinder(ANALYSER, reference)
    for block in np.split(sound, np.arange(7001, len(sound), 7001)):
        finder.feed(block)
    assert finder.finish() == whole


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.033, 0.064, 0.2])
def test_a_very_short_recording_has_no_event(reference: EventReference, seconds: float) -> None:
    assert find_events(normal(58, 1)[part(0, seconds)], ANALYSER, reference) == []


def test_a_knock_in_a_recording_of_a_second_is_found(reference: EventReference) -> None:
    event = only(find_events(with_knock(normal(59, 1), 0.5), ANALYSER, reference), IMPACT)
    assert event.start_s == pytest.approx(0.5, abs=0.02)


def test_many_events_are_limited_to_the_strongest_by_time(reference: EventReference) -> None:
    sound = normal(60, 60)
    for number in range(150):
        sound = with_knock(sound, 0.35 + 0.39 * number)
    events = find_events(sound, ANALYSER, reference)
    assert len(events) == MAX_EVENTS
    assert [e.start_s for e in events] == sorted(e.start_s for e in events)


def test_the_limit_grows_with_the_duration(reference: EventReference) -> None:
    for usual in reference.usual.values():
        assert usual.limit_of(0.1) == usual.limit_of(1) == usual.limit
        assert usual.limit_of(np.e) == pytest.approx(usual.limit + usual.growth)


def test_a_reference_is_the_same_after_it_was_stored(reference: EventReference) -> None:
    artifact = reference.to_artifact()
    stored = EventReference.of_artifact(artifact, ANALYSER, "model.joblib")
    sound = with_knock(normal(61), 3)
    assert find_events(sound, ANALYSER, stored) == find_events(sound, ANALYSER, reference)
    assert set(reference.usual) == set(KINDS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sample_rate": None}, "sample_rate is missing"),
        ({"sample_rate": 22050}, "sample_rate is 22050 Hz; the model has 16000 Hz"),
        ({"usual": {"impact": {"limit": 1}}}, "usual/impact/quantile is missing"),
        ({"usual": {"hum": {"limit": 1}}}, "usual/hum is not one of impact, "),
        ({"knocks": np.zeros((3, 5))}, "knocks has the shape (3, 5); (knocks, 17) is expected"),
        ({"knocks": np.zeros((0, 17))}, "knocks is empty"),
        ({"timbre_deviation": np.zeros(16)}, "timbre_deviation is 0.0 at [0]; above 0 is expected"),
    ],
)
def test_an_unusable_reference_is_reported_by_the_name_of_the_number(
    reference: EventReference, changes: dict[str, object], words: str
) -> None:
    artifact = reference.to_artifact() | changes
    with pytest.raises(ModelArtifactError, match=rf"^model\.joblib: {re.escape(words)}"):
        EventReference.of_artifact(artifact, ANALYSER, "model.joblib")


def test_the_knocks_of_the_machine_are_normal() -> None:
    """A press whose strokes are 30 dB above its other sound."""

    def press(seed: int) -> Array:
        rng = np.random.default_rng(seed)
        sound = rng.normal(0, 0.005, round(SECONDS * SAMPLE_RATE)).astype(np.float32)
        t = np.arange(4000) / SAMPLE_RATE
        for start in np.arange(rng.uniform(0.3, 1.2), SECONDS - 0.5, 1.1):
            ring = np.exp(-t / 0.03) * np.sin(2 * np.pi * 400 * t) * rng.uniform(0.25, 0.35)
            sound[round(start * SAMPLE_RATE) :][:4000] += ring.astype(np.float32)
        return sound

    chunks = [Measured(str(seed), ANALYSER(press(seed)).measures) for seed in range(16)]
    reference = reference_of(chunks, SAMPLE_RATE, SECONDS)
    found = [find_events(press(seed), ANALYSER, reference) for seed in range(100, 120)]
    assert sum(map(bool, found)) <= 2
    # The same stroke at another frequency is not.
    other = press(200)
    t = np.arange(4000) / SAMPLE_RATE
    other[part(3, 3.25)] += (0.05 * np.exp(-t / 0.03) * np.sin(2 * np.pi * 3000 * t)).astype(
        np.float32
    )
    assert IMPACT in {event.kind for event in find_events(other, ANALYSER, reference)}


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_sample_rates(rate: int) -> None:
    def sound(seed: int) -> Array:
        return np.random.default_rng(seed).normal(0, 0.1, 4 * rate).astype(np.float32)

    analyser = FrameAnalyser(rate)
    chunks = [Measured(str(seed), analyser(sound(seed)).measures) for seed in range(8)]
    reference = reference_of(chunks, rate, 4)
    changed = sound(20)
    changed[2 * rate : round(2.1 * rate)] = 0
    event = only(find_events(changed, analyser, reference), DROPOUT)
    assert event.start_s == pytest.approx(2, abs=0.012)


@pytest.mark.parametrize(
    ("candidate", "seconds", "text"),
    [
        (
            Candidate(IMPACT, 0, 1, 9, 14.2, 3, 800, 3000),
            0.03,
            "a knock, 14 dB over the usual level between 800 Hz and 3.00 kHz",
        ),
        (
            Candidate(DROPOUT, 0, 1, 9, 21.7),
            0.12,
            "the sound drops out for 120 ms, 22 dB below the usual level",
        ),
        (
            Candidate(TONE, 0, 1, 9, 18, 3.4, 2310, 2310),
            1.5,
            "a tone at 2.31 kHz for 1.5 s, 18 dB over the neighbouring frequencies (3 dB is usual)",
        ),
        (
            Candidate(LEVEL, 0, 1, 9, -6, 1.6),
            2,
            "the level falls by 6 dB for 2.0 s (2 dB is usual)",
        ),
        (
            Candidate(MODULATION, 0, 1, 9, 9, 1.1, rate_hz=5.0),
            2,
            "the level rises and falls by 9 dB, 5.0 times per second, for 2.0 s (1 dB is usual)",
        ),
        (
            Candidate(TIMBRE, 0, 1, 9, -7, 1, 2000, 2600),
            0.64,
            "the sound is different for 640 ms: mainly 7 dB less between 2.00 kHz and 2.60 kHz",
        ),
    ],
)
def test_an_event_is_described_in_a_sentence(
    candidate: Candidate, seconds: float, text: str
) -> None:
    assert sentence(replace(candidate), seconds) == text


def test_frequencies_have_three_digits() -> None:
    assert [frequency(hz) for hz in (50, 999.4, 1000, 12345)] == [
        "50 Hz",
        "999 Hz",
        "1.00 kHz",
        "12.3 kHz",
    ]
