"""The file for `sam local invoke --env-vars`: a function's environment in the local stack."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from oddsound_workbench.deploy.template import Function
from oddsound_workbench.files import replace_file


def of_functions(
    functions: Iterable[Function], endpoint_url: str
) -> Mapping[str, Mapping[str, str]]:
    """The environment of each function by its logical id.

    endpoint_url : of the local AWS, as a container reaches it
    """
    return {
        function.name: function.environment | {"AWS_ENDPOINT_URL": endpoint_url}
        for function in functions
    }


def write(path: Path, functions: Iterable[Function], endpoint_url: str) -> None:
    """Write the file as JSON. Raises OSError."""
    text = json.dumps(of_functions(functions, endpoint_url), indent=2)
    replace_file(path, f"{text}\n".encode())
