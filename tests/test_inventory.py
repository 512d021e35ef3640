"""NOTICE and SBOM name every package of the layer, with its licence."""

import importlib.util
import json
import re
import sys
from importlib import resources
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from tests.pages import ROOT

pytestmark = pytest.mark.slow

DEPENDENCIES = ROOT / "layers" / "dependencies"


@pytest.fixture(scope="module")
def inventory() -> ModuleType:
    spec = importlib.util.spec_from_file_location("inventory", DEPENDENCIES / "inventory.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["inventory"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def installed(folder: Path, name: str, *fields: str, **files: str) -> None:
    """Metadata of a package, as pip leaves them. files : text of each file in its dist-info"""
    info = folder / f"{name}-1.0.dist-info"
    for path, text in files.items():
        (info / path).parent.mkdir(parents=True, exist_ok=True)
        (info / path).write_text(text)
    info.mkdir(parents=True, exist_ok=True)
    head = ("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", "Summary: Does things.")
    (info / "METADATA").write_text("\n".join([*head, *fields]) + "\n")


def schema() -> Draft7Validator:
    """The schema of CycloneDX 1.6, which the library has with it."""
    folder = resources.files("cyclonedx.schema") / "_res"

    def read(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    others = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry: Registry[Any] = Registry()
    for name in others:
        content = read(name)
        uri = f"http://cyclonedx.org/schema/{name}"
        registry = registry.with_resource(uri, Resource.from_contents(content))
    return Draft7Validator(read("bom-1.6.SNAPSHOT.schema.json"), registry=registry)


def packages_of(requirements: str) -> list[str]:
    """Names of the packages that the Makefile of the layer installs from these requirements."""
    text = (DEPENDENCIES / "Makefile").read_text(encoding="utf-8")
    if requirements == "server":
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (left_out,) = re.findall(r"LEFT_OUT(?: := |=')([^'\n]+)", text)
    pinned = "".join(
        (ROOT / "requirements" / f"{n}.txt").read_text() for n in (requirements, "page")
    )
    elsewhere = "win32|emscripten|wasi"
    names = re.findall(rf"^([a-z0-9._-]+)==(?!.*(?:{elsewhere}))", pinned, re.MULTILINE)
    return [name for name in names if name not in left_out.split("|")]


@pytest.mark.parametrize("requirements", ["runtime", "server"])
def test_every_package_of_the_layer_and_the_image_is_named_with_its_licence(
    inventory: ModuleType, tmp_path: Path, requirements: str
) -> None:
    folder = tmp_path / "python"
    folder.mkdir()
    wanted = packages_of(requirements)
    assert len(wanted) > 30
    for name in wanted:
        (metadata,) = [f for f in distribution(name).files or () if f.name == "METADATA"]
        info = Path(str(metadata.locate())).parent
        (folder / info.name).symlink_to(info)
    found = inventory.write(folder)
    assert len(found) == len(wanted)
    notice = (folder / "NOTICE").read_text()
    document = json.loads((folder / "sbom.cdx.json").read_text())
    components = {component["name"]: component for component in document["components"]}
    for package in found:
        assert f"\n{package.name} {package.version}\n  Licence: {package.licence}\n" in notice
        assert components[package.name]["version"] == package.version
        assert components[package.name]["licenses"]
        assert all(
            (folder / text).is_file() and f"  Text: {text}\n" in notice for text in package.texts
        )
    for part in ("libsndfile (LGPL-2.1-or-later)", "Swagger UI (Apache-2.0)", "wavesurfer.js"):
        assert f"  Contains {part}" in notice
    assert list(schema().iter_errors(document)) == []


def test_the_same_packages_give_the_same_bytes(inventory: ModuleType, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / str(number) / "python"
        for name in ("b", "a")[:: 3 - 2 * number]:
            installed(folder, name, "License-Expression: MIT", LICENSE="the text")
        inventory.write(folder)
    for name in ("NOTICE", "sbom.cdx.json"):
        assert len({(tmp_path / number / "python" / name).read_bytes() for number in "12"}) == 1


def test_the_sbom_of_a_wheel_is_kept_and_referred_to(inventory: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "python"
    files = {"licenses/LICENSE": "the text", "sboms/auditwheel.cdx.json": "{}"}
    installed(folder, "fast", "License-Expression: MIT OR Apache-2.0", **files)
    inventory.write(folder)
    (component,) = json.loads((folder / "sbom.cdx.json").read_text())["components"]
    path = "fast-1.0.dist-info/sboms/auditwheel.cdx.json"
    assert {"type": "bom", "url": path} in component["externalReferences"]
    assert component["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert f"  SBOM: {path}\n" in (folder / "NOTICE").read_text()


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (("License: BSD-3-Clause",), "BSD-3-Clause"),
        ((f"License: {'long text ' * 20}", "Classifier: License :: OSI :: BSD"), "BSD"),
        (("License: Copyright (c) 2001, Some.", "Classifier: License :: Free"), "Free"),
        (("License: old", "License-Expression: MIT"), "MIT"),
    ],
)
def test_the_licence_is_found_wherever_the_metadata_have_it(
    inventory: ModuleType, tmp_path: Path, fields: tuple[str, ...], licence: str
) -> None:
    installed(tmp_path, "some", *fields, COPYING="the text")
    (package,) = inventory.packages(tmp_path)
    assert package.licence == licence


@pytest.mark.parametrize(
    ("fields", "files"),
    [(("License-Expression: MIT",), {}), ((), {"LICENSE": "the text"})],
    ids=["no text", "no name"],
)
def test_a_package_without_a_licence_stops_the_build(
    inventory: ModuleType, tmp_path: Path, fields: tuple[str, ...], files: dict[str, str]
) -> None:
    installed(tmp_path, "fine", "License-Expression: MIT", LICENSE="the text")
    installed(tmp_path, "unclear", *fields, **files)
    with pytest.raises(SystemExit, match="is in the wheels of unclear"):
        inventory.write(tmp_path)
