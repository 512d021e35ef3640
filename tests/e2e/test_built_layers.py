"""The built layers for both architectures: the libraries they need, and their size."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from oddsound_workbench.deploy import sizes
from oddsound_workbench.files import PROJECT
from oddsound_workbench.local import emulator
from tests.e2e import elf

pytestmark = pytest.mark.slow

MAX_BYTES = 240_000_000
"""Ten million below the limit of the build, to leave room for new versions of the packages."""

SLIM = PROJECT / "layers" / "dependencies"
EXTENSION = "scipy/linalg/_flapack.cpython-313-{}-linux-gnu.so"
MACHINE_OF = {"x86_64": "x86_64", "arm64": "aarch64"}


def layer(architecture: str) -> Path:
    return PROJECT / "build" / f"layer-{architecture}" / "python"


@pytest.fixture(params=sizes.ARCHITECTURES)
def architecture(request: pytest.FixtureRequest, built: Path) -> str:
    return str(request.param)


def test_every_shared_object_finds_its_libraries_and_symbols(architecture: str) -> None:
    assert len(elf.shared_objects(layer(architecture))) > 150
    assert elf.faults(layer(architecture), architecture) == []


def test_the_layer_says_what_it_carries(architecture: str, built: Path) -> None:
    folder = layer(architecture)
    notice = (folder / "NOTICE").read_text(encoding="utf-8")
    document = json.loads((folder / "sbom.cdx.json").read_text(encoding="utf-8"))
    installed = sorted(info.name for info in folder.glob("*.dist-info"))
    assert len(installed) == len(document["components"]) == notice.count("\n  Licence: ")
    for path in re.findall(r"^  (?:Text|SBOM): (.+)$", notice, re.MULTILINE):
        assert (folder / path).stat().st_size > 0
    own = list(folder.rglob("sboms/*"))
    assert len(own) == notice.count("\n  SBOM: ") >= 3
    for name in ("LICENSE", "NOTICE", "sbom.cdx.json"):
        assert (built / "DependenciesLayer" / "python" / name).is_file()


def test_the_shared_layer_is_pure_python(built: Path) -> None:
    assert elf.shared_objects(built / "SharedLayer") == []


def test_the_runtime_client_needs_only_the_base_libraries(built: Path) -> None:
    (client,) = elf.shared_objects(emulator.RUNTIME)[:1]
    assert {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6"} <= set(client.needed)
    assert set(client.needed) <= elf.BASE_LIBRARIES


def test_a_missing_library_is_a_fault(architecture: str, tmp_path: Path) -> None:
    path = EXTENSION.format(MACHINE_OF[architecture])
    copy(layer(architecture), tmp_path, path)
    (fault, *others) = elf.faults(tmp_path, architecture)
    assert fault.startswith(f"{path} needs libscipy_openblas")
    assert fault.endswith("neither in the layer nor in the runtime")
    assert any("needs scipy_dgesv_ of any library" in other for other in others)


def test_another_architecture_is_a_fault(built: Path, tmp_path: Path) -> None:
    path = EXTENSION.format("aarch64")
    copy(layer("arm64"), tmp_path, path)
    assert f"{path} is for EM_AARCH64, not for EM_X86_64" in elf.faults(tmp_path, "x86_64")


def test_a_newer_system_is_a_fault(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = EXTENSION.format(MACHINE_OF[architecture])
    copy(layer(architecture), tmp_path, path)
    monkeypatch.setitem(elf.NEWEST, "GLIBC", (2, 2))
    assert any("of libc.so.6" in fault for fault in elf.faults(tmp_path, architecture))


def test_the_same_packages_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Otherwise an unchanged layer would be published again."""
    first = layer("x86_64")
    python_alone = shutil.ignore_patterns("*.pyc", "*.so*")
    again = shutil.copytree(first, tmp_path / "python", ignore=python_alone)
    compiling = "import slim, sys; from pathlib import Path; slim.byte_compile(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", compiling, again], cwd=SLIM, check=True)
    compiled = sorted(path.relative_to(first) for path in first.rglob("*.pyc"))
    assert len(compiled) > 2000
    differing = [
        path for path in compiled if (first / path).read_bytes() != (again / path).read_bytes()
    ]
    assert differing == []


def copy(layer: Path, folder: Path, path: str) -> None:
    (folder / path).parent.mkdir(parents=True)
    shutil.copy(layer / path, folder / path)


def test_the_size_is_below_the_limit(architecture: str) -> None:
    assert sizes.parts(architecture).total() < MAX_BYTES


def test_the_measured_layer_is_the_one_that_sam_built(built: Path) -> None:
    assert sizes.parts() in [sizes.parts(architecture) for architecture in sizes.ARCHITECTURES]


def test_the_check_prints_the_free_bytes(built: Path) -> None:
    total = sizes.parts().total()
    free = sizes.LIMIT_BYTES - total
    assert sizes.check(sizes.parts()) == (
        f"Layers and function have {total:,} bytes; {free:,} are free."
    )


def test_a_build_over_the_limit_lists_the_largest_packages() -> None:
    counted = Counter({"scipy": 3000, "numpy": 1000, "ApiFunction": 10})
    with pytest.raises(
        SystemExit, match=r"(?s)4,010 bytes; at most 4,009 .*3,000  scipy\n.*numpy\n.*ApiFunction"
    ):
        sizes.check(counted, limit_bytes=4009)


def test_the_size_of_a_package_includes_libraries_and_metadata(tmp_path: Path) -> None:
    for name in ("numpy/a.so", "numpy.libs/b.so", "numpy-2.0.dist-info/METADATA"):
        (tmp_path / "python" / name).parent.mkdir(parents=True)
        (tmp_path / "python" / name).write_bytes(b"#" * 10)
    (tmp_path / "samconfig.toml").write_bytes(b"#")
    assert sizes.by_package(tmp_path) == {"numpy": 30, "samconfig": 1}


def test_the_table_accounts_for_every_byte() -> None:
    counted = {"x86_64": Counter(a=3, b=2000), "arm64": Counter(a=1, b=2, c=40)}
    assert sizes.table(counted).splitlines() == [
        "| Bytes | x86_64 | arm64 |",
        "| --- | ---: | ---: |",
        "| b | 2,000 | 2 |",
        "| a | 3 | 1 |",
        "| all others | 0 | 40 |",
        "| total | 2,003 | 43 |",
    ]
