"""Describes events in sentences for people who maintain machines."""

import math

from oddsound.events.candidates import Candidate
from oddsound.events.frames import (
    DIGITAL_SILENCE_DB,
    DROPOUT,
    IMPACT,
    LEVEL,
    MODULATION,
    TONE,
)


def sentence(candidate: Candidate, duration_s: float) -> str:
    """What changes, by how much, and at which frequencies."""
    amount = f"{abs(candidate.amount_db):.0f} dB"
    lasting = _duration(duration_s)
    if candidate.kind == IMPACT:
        return f"a knock, {amount} over the usual level {_band(candidate)}"
    if candidate.kind == DROPOUT:
        if candidate.amount_db >= DIGITAL_SILENCE_DB:
            return f"the sound drops out for {lasting}: the samples do not change"
        return f"the sound drops out for {lasting}, {amount} below the usual level"
    if candidate.kind == TONE:
        return (
            f"a tone at {frequency(candidate.low_hz)} for {lasting}, {amount} over the neighbouring"
            f" frequencies ({max(candidate.usual_db, 0):.0f} dB is usual)"
        )
    if candidate.kind == LEVEL:
        change = "rises" if candidate.amount_db > 0 else "falls"
        return (
            f"the level {change} by {amount} for {lasting}"
            f" ({max(candidate.usual_db, 0):.0f} dB is usual)"
        )
    if candidate.kind == MODULATION:
        return (
            f"the level rises and falls by {amount}, {candidate.rate_hz:.1f} times per second,"
            f" for {lasting} ({max(candidate.usual_db, 0):.0f} dB is usual)"
        )
    more = "more" if candidate.amount_db > 0 else "less"
    return f"the sound is different for {lasting}: mainly {amount} {more} {_band(candidate)}"


def _band(candidate: Candidate) -> str:
    return f"between {frequency(candidate.low_hz)} and {frequency(candidate.high_hz)}"


def frequency(hz: float) -> str:
    """Three significant digits: 123 Hz, 4.57 kHz."""
    if hz < 1000:
        return f"{hz:.0f} Hz"
    return f"{hz / 1000:.{max(0, 2 - int(math.log10(hz / 1000)))}f} kHz"


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 0.995 else f"{seconds:.1f} s"
