"""Warnings for people: what the recorder did to a recording, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass

from oddsound.quality.meter import SignalQuality
from oddsound.schemas import DropOut, Signal

MIN_CLIPPED_SHARE = 1e-4
MIN_DC_OFFSET = 0.02
MIN_DC_SHARE = 0.1
"""Of the level: the mean of a loud and slow sound is not exactly 0 either."""

MIN_SILENCE_SHARE, MIN_SILENCE_S = 0.05, 0.1
MIN_SILENCE_STEPS = 64
"""With a smaller range, slow and quiet sounds are constant for a while."""

MIN_LEVEL_DB = -80.0
MIN_STEPS = 8
MIN_BAND_SHARE = 0.9
"""Of the highest frequency that a model compares: with less, its highest bands are missing."""


@dataclass(frozen=True)
class Fault:
    """A fault of the recorder.

    kind : a few words, for lists: "clipping"
    text : what was found and what to do; a sentence without a capital and a full stop
    may_cause_anomaly : false if the fault is left out of the comparison
    """

    kind: str
    text: str
    may_cause_anomaly: bool = True


def signal(
    quality: SignalQuality,
    top_hz: float,
    *,
    is_anomaly: bool | None,
    compared_hz: float | None = None,
) -> Signal:
    """The measured quality as it is published, with its warnings.

    top_hz : highest frequency that the model compares
    compared_hz : the same for this recording, if the rest is left out of the comparison
    """
    found = list(faults(quality, top_hz, compared_hz))
    texts = [fault.text for fault in found]
    causes = [fault.kind for fault in found if fault.may_cause_anomaly]
    if is_anomaly and causes:
        kinds = ", ".join(causes)
        texts.append(f"the anomaly may come from the recorder, not from the machine: {kinds}")
    return Signal(
        clipped_share=quality.clipped_share,
        dc_offset=quality.dc_offset,
        dropouts=[DropOut(start_s=start, end_s=end) for start, end in quality.dropouts],
        silent_channels=sorted(quality.silent_from_s),
        channels_used=quality.channels_used,
        bandwidth_hz=quality.bandwidth_hz,
        warnings=texts,
    )


def faults(
    quality: SignalQuality, top_hz: float, compared_hz: float | None = None
) -> Iterator[Fault]:
    """Every fault of the recorder. top_hz, compared_hz : see `signal`."""
    for note in quality.notes:
        yield Fault("an incomplete file", note, may_cause_anomaly=False)
    yield from _level(quality)
    yield from _time(quality)
    yield from _channels(quality)
    if quality.bandwidth_hz < MIN_BAND_SHARE * top_hz:
        compared = top_hz if compared_hz is None else compared_hz
        is_missing = quality.bandwidth_hz < MIN_BAND_SHARE * compared
        text = _bandwidth(quality, top_hz, compared)
        yield Fault("missing high frequencies", text, may_cause_anomaly=is_missing)


def _level(quality: SignalQuality) -> Iterator[Fault]:
    if quality.clipped_share >= MIN_CLIPPED_SHARE:
        share = _percent(quality.clipped_share)
        yield Fault("clipping", f"{share} of the samples are clipped: turn the recorder down")
    level = 10 ** (quality.level_db / 20)
    limit = max(MIN_DC_OFFSET, MIN_DC_SHARE * level)
    if abs(quality.dc_offset) >= limit and quality.has_full_scale:
        yield Fault(
            "DC offset",
            f"the samples have a DC offset of {quality.dc_offset:+.2f} of full scale: check the"
            " recorder's input",
        )
    if quality.has_full_scale and quality.level_db < MIN_LEVEL_DB:
        yield Fault(
            "almost silent",
            f"the recording is almost silent ({quality.level_db:.0f} dB of full scale): check the"
            " microphone, or turn the recorder up",
        )
    elif quality.steps is not None and quality.steps <= MIN_STEPS:
        yield Fault(
            "almost silent",
            f"the samples have only {quality.steps + 1:.0f} different values: turn the recorder up",
        )


def _time(quality: SignalQuality) -> Iterator[Fault]:
    if count := quality.dropout_count:
        start = quality.dropouts[0][0]
        found = f"{count:,} drop-outs, the first" if count > 1 else "a drop-out"
        yield Fault(
            "drop-outs",
            f"the recording has {found} at {start:.2f} s: check the recorder's connection and"
            " storage",
        )
    share = quality.silence_s / quality.duration_s
    is_fine = quality.steps is None or quality.steps >= MIN_SILENCE_STEPS
    if is_fine and share >= MIN_SILENCE_SHARE and quality.silence_s >= MIN_SILENCE_S:
        yield Fault(
            "digital silence",
            f"{quality.silence_s:.1f} s of the {quality.duration_s:.1f} s are digital silence:"
            " send only the part with sound",
        )


def _channels(quality: SignalQuality) -> Iterator[Fault]:
    always = [channel for channel, start in quality.silent_from_s.items() if start == 0]
    if always:
        yield Fault(
            "a silent channel",
            f"{_names(always)} silent and left out: check the cable and the microphone",
        )
    for channel, start in quality.silent_from_s.items():
        if start > 0:
            yield Fault(
                "a silent channel",
                f"channel {channel} became silent before {start:.0f} s and is left out from there:"
                " check the cable",
            )
    if quality.inverted_channels:
        yield Fault(
            "an inverted channel",
            f"{_names(quality.inverted_channels)} inverted, which was corrected: check the wiring",
        )
    for channel, below_db in quality.weak_channels.items():
        yield Fault(
            "a weak channel",
            f"channel {channel} is {below_db:.0f} dB weaker than the others: check its cable and"
            " gain",
        )


def _bandwidth(quality: SignalQuality, top_hz: float, compared_hz: float) -> str:
    text = (
        f"the recording contains nothing above {quality.bandwidth_hz / 1000:.1f} kHz; the model"
        f" compares up to {top_hz / 1000:.1f} kHz"
    )
    if compared_hz < top_hz:
        text += f", and here only up to {compared_hz / 1000:.1f} kHz"
    if quality.sample_rate / 2 < MIN_BAND_SHARE * top_hz:
        return f"{text}: record at {2 * top_hz / 1000:.1f} kHz or more"
    return f"{text}: record without a codec or telephone line that removes high frequencies"


def _names(channels: list[int]) -> str:
    if len(channels) == 1:
        return f"channel {channels[0]} is"
    *first, last = map(str, channels)
    return f"channels {', '.join(first)} and {last} are"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
