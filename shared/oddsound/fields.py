"""Types that fields of several schemas have, and the base of all schemas."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from oddsound.machines.naming import MAX_ID_LENGTH, fault_of_id, in_utc

Probability = Annotated[float, Field(ge=0, le=1)]


def _machine_id(value: str) -> str:
    """The id itself; the error, which may be logged, holds no part of it."""
    if reason := fault_of_id(value):
        raise ValueError(f"this is not the id of a machine: {reason}")
    return value


def _no_number(value: object) -> object:
    """Pydantic takes a number as seconds or milliseconds since 1970: 2026 would be in 1970."""
    is_number = isinstance(value, int | float)
    if is_number or (isinstance(value, str) and re.fullmatch(r"\s*[+-]?[\d.]+\s*", value)):
        raise ValueError("this is a number, not a time such as 2026-11-23T10:30:00Z")
    return value


MACHINE_ID_SCHEMA: dict[str, Any] = {"format": "machine-id", "maxLength": MAX_ID_LENGTH}
"""For the OpenAPI document; `fault_of_id` has the rules, and its texts are the better errors."""

MachineId = Annotated[str, AfterValidator(_machine_id), Field(json_schema_extra=MACHINE_ID_SCHEMA)]
Time = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(in_utc)]
"""A time in UTC; one without a zone is taken as UTC."""

Number = Annotated[float, Strict()]
"""A number of models.json. Pydantic would take true as 1, a threshold that nothing exceeds."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Schema(BaseModel):
    """Base class: instances cannot be changed."""

    # By default, pydantic reserves names that begin with "model_"; the API has model_name.
    model_config = ConfigDict(frozen=True, protected_namespaces=())
