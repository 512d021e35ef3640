"""How a recording differs from the training recordings, in few numbers that a row can keep."""

from pydantic import BaseModel, ConfigDict, Field

BANDS = 16
"""Groups of neighbouring frequency bands, from the lowest to the highest."""


class Profile(BaseModel):
    """Differences of a recording from the mean of the training recordings, by group of features.

    Each number is a mean over the features of a group, in standard deviations over the training
    recordings; null if the model does not use any of them.
    """

    model_config = ConfigDict(frozen=True)

    trained_with: int = Field(description="number of training recordings")
    level: float | None = Field(description="loudness of the recording")
    bands: list[float | None] = Field(
        description=f"levels of {BANDS} groups of frequencies, from low to high, relative to the"
        " median of all: what a microphone, a room or a filter changes"
    )
    time: list[float | None] = Field(
        description="how levels vary over time, which neither gain nor filter changes: deviation"
        " of the levels in 4 groups of frequencies, of the timbre in 2, and strength of slow"
        " changes in 5 octaves from 0.5 Hz to 16 Hz"
    )
