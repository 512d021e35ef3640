"""A `docker` command that answers `docker network inspect bridge --format ...`."""

import json
import shlex
from pathlib import Path
from typing import Any


def install(folder: Path, config: Any, error: str | None = None) -> None:
    """Write the command into `folder`, which must be on PATH.

    config : the value of IPAM.Config
    error : if given, the command prints it to stderr and fails
    The command writes its arguments to the file `arguments`.
    """
    lines = ["#!/bin/sh", f'echo "$@" > {shlex.quote(str(folder / "arguments"))}']
    if error is None:
        lines.append(f"echo {shlex.quote(json.dumps(config))}")
    else:
        lines += [f"echo {shlex.quote(error)} >&2", "exit 1"]
    path = folder / "docker"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
