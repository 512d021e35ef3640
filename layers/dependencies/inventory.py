"""Say what a folder of installed packages carries: NOTICE, and a CycloneDX SBOM.

    python inventory.py FOLDER

Writes NOTICE and sbom.cdx.json into FOLDER, from the metadata of the wheels in it. The same
packages always give the same bytes. Fails if a package has no licence, or no text of one.
"""

import json
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

NAMESPACE = uuid.UUID("6f64a6d2-5bd4-4a9c-8f2e-1f6d0c1c7a55")
BUILT_AT = datetime(1980, 1, 1, tzinfo=UTC)
"""As the files of the layer: the present time would make each build another one."""

LICENCE_FILES = ("licen", "copying", "notice", "authors")
MAX_NAME = 80
"""Characters of a licence's name: the field License may hold its whole text instead."""

INSIDE = {
    "soundfile": (
        ("libsndfile", "LGPL-2.1-or-later"),
        ("FLAC", "BSD-3-Clause"),
        ("libogg", "BSD-3-Clause"),
        ("libvorbis", "BSD-3-Clause"),
        ("Opus", "BSD-3-Clause"),
        ("libmpg123", "LGPL-2.1-only"),
        ("LAME", "LGPL-2.0-or-later"),
    ),
    "fastapi-offline": (("Swagger UI", "Apache-2.0"),),
    "wavesurfer": (("wavesurfer.js", "BSD-3-Clause"),),
}
"""Name and licence of what these wheels carry of others, which their metadata do not say."""

HEADER = """\
This folder contains the packages below, as their authors published them, without tests,
sources of compiled modules and other files that are never read. numba is replaced by a stand-in.
The texts of their licences are in the files that are named; Apache-2.0 is also in LICENSE. What
the compiled modules of a package contain is in its own SBOM, where it has one.
"""


@dataclass(frozen=True)
class Package:
    """An installed package. texts, sboms : files below the folder"""

    name: str
    version: str
    licence: str
    summary: str
    url: str | None
    texts: tuple[str, ...]
    sboms: tuple[str, ...]

    @property
    def inside(self) -> tuple[tuple[str, str], ...]:
        """Name and licence of what the wheel carries of others."""
        return INSIDE.get(self.name.lower().replace("_", "-"), ())


def packages(folder: Path) -> list[Package]:
    """Every package in the folder, by name. Raises SystemExit naming one without a licence."""
    found = [_package(folder, info) for info in folder.glob("*.dist-info")]
    if missing := sorted(each.name for each in found if not (each.licence and each.texts)):
        raise SystemExit(f"no licence, or no text of it, is in the wheels of {', '.join(missing)}")
    return sorted(found, key=lambda package: package.name.lower())


def _package(folder: Path, info: Path) -> Package:
    found = Distribution.at(info)
    paths = sorted(path for path in info.rglob("*") if path.is_file())
    paths += sorted(folder.glob(f"_{found.name.lower()}_data/COPYING"))  # of soundfile
    names = [path.relative_to(folder).as_posix() for path in paths]
    in_sboms = [path.parent.name == "sboms" for path in paths]
    return Package(
        found.name,
        found.version,
        _licence(found),
        found.metadata.get("Summary", ""),
        _url(found),
        tuple(n for n, p in zip(names, paths, strict=True) if _is_licence(p)),
        tuple(n for n, is_sbom in zip(names, in_sboms, strict=True) if is_sbom),
    )


def _is_licence(path: Path) -> bool:
    return path.name.lower().startswith(LICENCE_FILES) or "licenses" in path.parts


def _licence(found: Distribution) -> str:
    """The licence of a package, as an expression of SPDX if it has one."""
    metadata = found.metadata
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License :: ")
    ]
    named = metadata.get("License", "").strip()
    short = named if named and "\n" not in named and len(named) < MAX_NAME else ""
    is_text = short.lower().startswith("copyright")
    return (
        metadata.get("License-Expression") or ("" if is_text else short) or "; ".join(classifiers)
    )


def _url(found: Distribution) -> str | None:
    urls = dict(
        value.split(", ", 1) for value in found.metadata.get_all("Project-URL", []) if ", " in value
    )
    preferred: dict[str, str] = {name.lower(): url for name, url in urls.items()}
    for name in ("homepage", "source", "repository", "source code", "documentation"):
        if name in preferred:
            return preferred[name]
    home: str | None = found.metadata.get("Home-page")
    return home or next(iter(urls.values()), None)


def notice(found: Sequence[Package]) -> str:
    """The text of NOTICE."""
    parts = [HEADER]
    for package in found:
        lines = [f"{package.name} {package.version}", f"  Licence: {package.licence}"]
        lines += [f"  {package.url}"] if package.url else []
        lines += [f"  Contains {name} ({licence})" for name, licence in package.inside]
        lines += [f"  Text: {text}" for text in package.texts]
        lines += [f"  SBOM: {sbom}" for sbom in package.sboms]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def sbom(found: Sequence[Package]) -> str:
    """The packages as a CycloneDX 1.6 document in JSON."""
    bom = Bom(components=map(_component, found))
    bom.serial_number = uuid.uuid5(NAMESPACE, notice(found))
    bom.metadata.timestamp = BUILT_AT
    bom.metadata.component = Component(
        name="oddsound-dependencies",
        type=ComponentType.APPLICATION,
        bom_ref="oddsound-dependencies",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _component(package: Package) -> Component:
    licences = LicenseFactory()
    purl = PackageURL("pypi", None, package.name.lower().replace("_", "-"), package.version)
    references = [
        ExternalReference(type=ExternalReferenceType.BOM, url=XsUri(path)) for path in package.sboms
    ]
    if package.url:
        references.append(
            ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(package.url))
        )
    return Component(
        name=package.name,
        version=package.version,
        description=package.summary,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        licenses=[licences.make_from_string(package.licence)],
        external_references=references,
        components=[
            Component(
                name=name,
                type=ComponentType.LIBRARY,
                bom_ref=f"{purl}#{name}",
                licenses=[licences.make_from_string(licence)],
            )
            for name, licence in package.inside
        ],
    )


def write(folder: Path) -> list[Package]:
    """Write both files into the folder; returns what is in it."""
    found = packages(folder)
    (folder / "NOTICE").write_text(notice(found), encoding="utf-8")
    (folder / "sbom.cdx.json").write_text(sbom(found), encoding="utf-8")
    return found


if __name__ == "__main__":
    counted = len(write(Path(sys.argv[1])))
    sys.stdout.write(f"NOTICE and sbom.cdx.json name {counted} packages.\n")
