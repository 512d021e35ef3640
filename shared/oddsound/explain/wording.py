"""Describes the deviations of features in words for people who maintain machines."""

import re

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _more_or_less(phrase: str) -> tuple[str, str]:
    return f"{phrase} more", f"{phrase} less"


FEATURES = {
    "log_mel_#_mean": ("Louder", "Quieter"),
    "log_mel_#_std": _more_or_less("The loudness varies"),
    "band_#_mean": (
        "The level stays closer to its peak",
        "The level stays further below its peak",
    ),
    "band_#_std": _more_or_less("The level varies"),
    "mfcc_#_mean": (
        "The shape of the spectrum has a higher MFCC {0}",
        "The shape of the spectrum has a lower MFCC {0}",
    ),
    "mfcc_#_std": _more_or_less("The shape of the spectrum (MFCC {0}) varies"),
    "centroid_mean": ("The sound is brighter", "The sound is duller"),
    "centroid_std": _more_or_less("The brightness varies"),
    "bandwidth_mean": (
        "The sound covers a wider frequency range",
        "The sound covers a narrower frequency range",
    ),
    "bandwidth_std": _more_or_less("The frequency range varies"),
    "rolloff_#_mean": (
        "The lower {0} % of the sound extend to higher frequencies",
        "The lower {0} % of the sound end at lower frequencies",
    ),
    "rolloff_#_std": _more_or_less("The upper limit of the lower {0} % of the sound varies"),
    "mel_flatness_mean": ("The sound is more like noise", "The sound is less like noise"),
    "mel_flatness_std": _more_or_less("The similarity to noise varies"),
    "mel_entropy_mean": (
        "The sound is spread more evenly over the frequencies",
        "The sound is concentrated in fewer frequencies",
    ),
    "mel_entropy_std": _more_or_less("How evenly the sound is spread over the frequencies varies"),
    "mel_crest_mean": _more_or_less("One frequency band stands out"),
    "mel_crest_std": _more_or_less("How far one frequency band stands out varies"),
    "energy_over_peak_mean": (
        "Less of the sound lies in a single tone",
        "More of the sound lies in a single tone",
    ),
    "energy_over_peak_std": _more_or_less("How much of the sound lies in a single tone varies"),
    "onset_strength_mean": ("Sounds start more suddenly", "Sounds start less suddenly"),
    "onset_strength_std": _more_or_less("How suddenly sounds start varies"),
    "offset_strength_mean": ("Sounds end more suddenly", "Sounds end less suddenly"),
    "offset_strength_std": _more_or_less("How suddenly sounds end varies"),
    "zero_crossing_rate_mean": (
        "The strongest frequencies are higher",
        "The strongest frequencies are lower",
    ),
    "zero_crossing_rate_std": _more_or_less("The strongest frequencies vary"),
    "energy_db_mean": (
        "The loudness stays closer to its peak",
        "The loudness stays further below its peak",
    ),
    "energy_db_std": _more_or_less("The loudness varies"),
    "contrast_#_mean": _more_or_less("Tones stand out from the noise"),
    "contrast_#_std": _more_or_less("How far tones stand out from the noise varies"),
    "modulation_#_#_#_hz": (
        "Loudness fluctuations ({1} to {2} per second) are stronger",
        "Loudness fluctuations ({1} to {2} per second) are weaker",
    ),
    "modulation_share_#_#_hz": (
        "More of the loudness fluctuations are at {0} to {1} per second",
        "Fewer of the loudness fluctuations are at {0} to {1} per second",
    ),
    "onset_period_strength": ("The rhythm is more regular", "The rhythm is less regular"),
    "onset_period_s": ("The rhythm is slower", "The rhythm is faster"),
    "onsets_per_s": ("More sounds start per second", "Fewer sounds start per second"),
    "onset_gap_mean_s": (
        "The gaps between sounds are longer",
        "The gaps between sounds are shorter",
    ),
    "onset_gap_std_s": _more_or_less("The gaps between sounds vary"),
    "onset_crest": _more_or_less("The strongest onset stands out"),
    "active_share_#_db": (
        "The sound is within {0} dB of its peak for more of the time",
        "The sound is within {0} dB of its peak for less of the time",
    ),
    "active_segments_per_s": (
        "The sound starts and stops more often",
        "The sound starts and stops less often",
    ),
    "energy_p#_db": (
        "The level that is not exceeded for {0} % of the time is higher",
        "The level that is not exceeded for {0} % of the time is lower",
    ),
    "energy_mean_over_max_db": (
        "The mean power is closer to the peak",
        "The mean power is further below the peak",
    ),
    "energy_correlation_#_ms": (
        "The loudness repeats more strongly after {0} ms",
        "The loudness repeats less strongly after {0} ms",
    ),
    "level_rms_dbfs": ("The recording is louder", "The recording is quieter"),
    "level_max_dbfs": ("The loudest moment is louder", "The loudest moment is quieter"),
}
"""Name of a feature -> texts for a larger and for a smaller value. In a name, # stands for a
number; the texts contain these numbers as {0}, {1}, {2}."""

FAMILIES = {
    "log_mel": "spectrum",
    "bands": "levels over time",
    "mfcc": "shape of the spectrum",
    "shape": "brightness and tonality",
    "flux": "suddenness of starts and ends",
    "zero_crossing_rate": "zero-crossing rate",
    "energy": "loudness over time",
    "contrast": "strength of tones over noise",
    "modulation": "loudness fluctuations",
}
"""Name of a family -> text. Families that are not listed are described by their name."""


def comparison(
    name: str, more: bool, reference: str, band: tuple[float, float] | None = None
) -> str:
    """Text for the deviation of a feature: "Louder than normal between 1.1 and 1.3 kHz".

    more : whether its value is larger than that of the training recordings
    reference : name of the training recordings: "normal" or "average"
    band : limits in Hz, if the feature describes one frequency band
    """
    where = f" {between(*band)}" if band else ""
    kind = NUMBER.sub("#", name)
    if kind not in FEATURES:
        return f"{name} is {'higher' if more else 'lower'} than {reference}{where}"
    larger, smaller = FEATURES[kind]
    phrase = (larger if more else smaller).format(*NUMBER.findall(name))
    return f"{phrase} than {reference}{where}"


def family(name: str) -> str:
    """Noun phrase for a family of features."""
    return FAMILIES.get(name, name)


def between(low_hz: float, high_hz: float) -> str:
    """Text for a frequency band: "between 2.8 and 3.3 kHz"."""
    low, high = _hz(low_hz), _hz(high_hz)
    if low_hz <= 0:
        return f"below {high}"
    unit = high.split()[1]
    return f"between {low.removesuffix(f' {unit}')} and {high}"


def _hz(hz: float) -> str:
    return f"{round(hz, -1):.0f} Hz" if hz < 995 else f"{hz / 1000:.2g} kHz"
