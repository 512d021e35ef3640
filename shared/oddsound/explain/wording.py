"""Names of features -> words for people who look after machines."""

import re

NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _more_or_less(phrase: str) -> tuple[str, str]:
    return f"{phrase} more", f"{phrase} less"


FEATURES = {
    "log_mel_#_mean": ("Louder", "Quieter"),
    "log_mel_#_std": _more_or_less("The loudness varies"),
    "mfcc_#_mean": (
        "The shape of the spectrum has a higher MFCC {0}",
        "The shape of the spectrum has a lower MFCC {0}",
    ),
    "mfcc_#_std": _more_or_less("The shape of the spectrum (MFCC {0}) varies"),
    "centroid_mean": ("The sound is brighter", "The sound is duller"),
    "centroid_std": _more_or_less("The brightness varies"),
    "bandwidth_mean": (
        "The sound covers a wider range of frequencies",
        "The sound covers a narrower range of frequencies",
    ),
    "bandwidth_std": _more_or_less("The range of frequencies varies"),
    "rolloff_#_mean": (
        "The lower {0} % of the sound reach higher up in frequency",
        "The lower {0} % of the sound end lower down in frequency",
    ),
    "rolloff_#_std": _more_or_less("How high the lower {0} % of the sound reach varies"),
    "mel_flatness_mean": ("The sound is more like noise", "The sound is less like noise"),
    "mel_flatness_std": _more_or_less("How much the sound is like noise varies"),
    "mel_entropy_mean": (
        "The sound is spread more evenly over the frequencies",
        "The sound is gathered in fewer frequencies",
    ),
    "mel_entropy_std": _more_or_less("How evenly the sound is spread over the frequencies varies"),
    "mel_crest_mean": _more_or_less("One band of frequencies stands out"),
    "mel_crest_std": _more_or_less("How far one band of frequencies stands out varies"),
    "energy_over_peak_mean": (
        "Less of the sound lies in a single tone",
        "More of the sound lies in a single tone",
    ),
    "energy_over_peak_std": _more_or_less("How much of the sound lies in a single tone varies"),
    "onset_strength_mean": ("Sounds begin more sharply", "Sounds begin less sharply"),
    "onset_strength_std": _more_or_less("How sharply sounds begin varies"),
    "offset_strength_mean": ("Sounds end more sharply", "Sounds end less sharply"),
    "offset_strength_std": _more_or_less("How sharply sounds end varies"),
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
        "Swings in loudness, {1} to {2} times a second, are stronger",
        "Swings in loudness, {1} to {2} times a second, are weaker",
    ),
    "modulation_share_#_#_hz": (
        "More of the swings in loudness come {0} to {1} times a second",
        "Fewer of the swings in loudness come {0} to {1} times a second",
    ),
    "onset_period_strength": ("The rhythm is more regular", "The rhythm is less regular"),
    "onset_period_s": ("The rhythm is slower", "The rhythm is faster"),
    "onsets_per_s": ("More sounds begin in a second", "Fewer sounds begin in a second"),
    "onset_gap_mean_s": (
        "The gaps between sounds are longer",
        "The gaps between sounds are shorter",
    ),
    "onset_gap_std_s": _more_or_less("The gaps between sounds vary"),
    "onset_crest": _more_or_less("The sharpest onset stands out"),
    "active_share_#_db": (
        "More of the time lies within {0} dB of the peak",
        "Less of the time lies within {0} dB of the peak",
    ),
    "active_segments_per_s": (
        "The sound starts and stops more often",
        "The sound starts and stops less often",
    ),
    "energy_p#_db": (
        "For {0} % of the time the loudness stays below a higher level",
        "For {0} % of the time the loudness stays below a lower level",
    ),
    "energy_mean_over_max_db": (
        "The mean power is closer to the peak",
        "The mean power is further below the peak",
    ),
    "energy_correlation_#_ms": _more_or_less("After {0} ms the loudness repeats itself"),
    "level_rms_dbfs": ("The recording is louder", "The recording is softer"),
    "level_max_dbfs": ("The loudest moment is louder", "The loudest moment is softer"),
}
"""What a larger and what a smaller value says. In a name, # stands for a number; the phrases
have these numbers as {0}, {1}, {2}."""

FAMILIES = {
    "log_mel": "spectrum",
    "mfcc": "shape of the spectrum",
    "shape": "brightness and tonality",
    "flux": "sharpness of beginnings and ends",
    "zero_crossing_rate": "zero-crossing rate",
    "energy": "course of the loudness",
    "contrast": "strength of tones over noise",
    "modulation": "swings in loudness",
}
"""The families whose name does not say what they describe."""


def comparison(name: str, more: bool, usual: str, band: tuple[float, float] | None = None) -> str:
    """One feature against what is usual: "Louder than normal between 1.1 and 1.3 kHz".

    more : whether its value is the larger one
    usual : what it is compared with: "normal", "average"
    band : in Hz, where it listens to one alone
    """
    where = f" {between(*band)}" if band else ""
    kind = NUMBER.sub("#", name)
    if kind not in FEATURES:
        return f"{name} is {'higher' if more else 'lower'} than {usual}{where}"
    larger, smaller = FEATURES[kind]
    phrase = (larger if more else smaller).format(*NUMBER.findall(name))
    return f"{phrase} than {usual}{where}"


def family(name: str) -> str:
    """What a family of features describes, as a noun."""
    return FAMILIES.get(name, name)


def between(low_hz: float, high_hz: float) -> str:
    """A band of frequencies: "between 2.8 and 3.3 kHz"."""
    low, high = _hz(low_hz), _hz(high_hz)
    if low_hz <= 0:
        return f"below {high}"
    unit = high.split()[1]
    return f"between {low.removesuffix(f' {unit}')} and {high}"


def _hz(hz: float) -> str:
    return f"{round(hz, -1):.0f} Hz" if hz < 995 else f"{hz / 1000:.2g} kHz"
