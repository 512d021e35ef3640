"""Size of the layers and functions: `make sizes` by package; `make build` checks the limit.

Lambda allows 262,144,000 bytes for a function with its layers, unzipped. The build fails above
250,000,000 bytes, so that a new version of a package does not fail a deployment.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from oddsound_workbench.deploy import template
from oddsound_workbench.deploy.template import layers
from oddsound_workbench.files import BUILD, PROJECT

LIMIT_BYTES = 250_000_000
ARCHITECTURES = ("x86_64", "arm64")
DEPENDENCIES = "DependenciesLayer"
LARGEST = 12


def by_package(layer: Path) -> Counter[str]:
    """Bytes of each package in a layer, with its libraries and its metadata."""
    counted: Counter[str] = Counter()
    for path in layer.rglob("*"):
        if path.is_file():
            name = path.relative_to(layer).as_posix().removeprefix("python/").partition("/")[0]
            counted[re.split(r"[.-]", name)[0]] += path.stat().st_size
    return counted


def parts(architecture: str | None = None, build: Path = BUILD) -> Counter[str]:
    """Bytes of each package of the layers, and of the largest function by its logical id.

    architecture : of the dependency layer that `make layers` built; without it, the layer that
    `sam build` used
    Raises FileNotFoundError if something is not built.
    """
    counted = Counter(dict(_functions(build).most_common(1)))
    for layer in layers(build / "template.yaml"):
        separate = architecture is not None and layer.name == DEPENDENCIES
        folder = PROJECT / "build" / f"layer-{architecture}" / "python" if separate else layer
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} does not exist; run `make sizes`")
        counted += by_package(folder)
    return counted


def _functions(build: Path) -> Counter[str]:
    resources = template.load(build / "template.yaml")["Resources"]
    return Counter(
        {
            name: by_package(build / resource["Properties"]["CodeUri"]).total()
            for name, resource in resources.items()
            if resource["Type"] == template.FUNCTION_TYPE
        }
    )


def check(counted: Counter[str], limit_bytes: int = LIMIT_BYTES) -> str:
    """One line with the size. Over the limit, raises SystemExit with the largest packages."""
    total = counted.total()
    if total <= limit_bytes:
        return f"Layers and function have {total:,} bytes; {limit_bytes - total:,} are free."
    largest = "\n".join(f"{size:>14,}  {name}" for name, size in counted.most_common(LARGEST))
    raise SystemExit(
        f"Layers and function have {total:,} bytes; at most {limit_bytes:,} are allowed."
        f" The largest packages are:\n{largest}"
    )


def table(counted: dict[str, Counter[str]]) -> str:
    """A Markdown table: a row for each large package, a column for each architecture."""
    first = next(iter(counted.values()))
    names = [name for name, _ in first.most_common(LARGEST)]
    rows = {name: [one[name] for one in counted.values()] for name in names}
    rows["all others"] = [
        one.total() - sum(one[name] for name in names) for one in counted.values()
    ]
    rows["total"] = [one.total() for one in counted.values()]
    head = [f"| Bytes | {' | '.join(counted)} |", f"| --- |{' ---: |' * len(counted)}"]
    body = [f"| {name} | {' | '.join(f'{n:,}' for n in row)} |" for name, row in rows.items()]
    return "\n".join(head + body)


if __name__ == "__main__":
    if sys.argv[1:] == ["--built"]:
        print(check(parts()))
    else:
        print(table({architecture: parts(architecture) for architecture in ARCHITECTURES}))
