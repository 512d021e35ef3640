"""The HTML templates of the reports."""

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def rendered(template: str, **values: Any) -> str:
    """A template of this package as HTML. All values are escaped."""
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    """It keeps the compiled templates."""
    return Environment(
        loader=PackageLoader("oddsound_workbench.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
