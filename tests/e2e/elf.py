"""The requirements of a shared object, read from the file.

So the layer for the other architecture is checked as well, although it cannot be loaded here.
"""

import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elftools.elf.dynamic import DynamicSection, DynamicTag
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection
from elftools.elf.sections import SymbolTableSection

MACHINE_OF = {"x86_64": "EM_X86_64", "arm64": "EM_AARCH64"}
LOADER_OF = {"x86_64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}

GLIBC_LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libmvec.so.1",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
}
BASE_LIBRARIES = {
    *GLIBC_LIBRARIES,
    "libgcc_s.so.1",  # Lambda's own Python client needs these two
    "libstdc++.so.6",
    "libz.so.1",  # Python's zlib does
}
NEWEST = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11,)}
"""Amazon Linux 2023 has glibc 2.34 and the libraries of gcc 11."""

IN_LIBC_SINCE_2_34 = {
    *("dlopen", "dlclose", "dlerror", "dlsym", "dladdr"),
    *("pthread_create", "pthread_join"),
}
"""Required without a library or version by objects that were built with glibc 2.34 or newer."""


@dataclass(frozen=True)
class SharedObject:
    """The parts of a shared object that the loader uses.

    undefined : symbol that must be found -> the library that must have it, if one is named
    versions : library -> the versions of its symbols that are needed
    """

    path: Path
    machine: str
    needed: list[str]
    search: list[Path]
    exported: set[str]
    undefined: dict[str, str | None]
    versions: dict[str, list[str]]


@cache
def read(path: Path) -> SharedObject:
    with path.open("rb") as file:
        elf = ELFFile(file)
        section = elf.get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        dynamic = list(section.iter_tags())
        libraries, versions = _versions(elf)
        exported, undefined = _symbols(elf, libraries)
        return SharedObject(
            path,
            elf["e_machine"],
            _texts(dynamic, "DT_NEEDED"),
            [
                Path(folder.replace("$ORIGIN", str(path.parent))).resolve()
                for folders in _texts(dynamic, "DT_RPATH", "DT_RUNPATH")
                for folder in folders.split(":")
            ],
            exported,
            undefined,
            versions,
        )


def _texts(tags: list[DynamicTag], *kinds: str) -> list[str]:
    """The texts of the tags of these kinds. elftools sets each as an attribute: DT_NEEDED's is
    `needed`.
    """
    return [
        getattr(tag, tag.entry.d_tag.removeprefix("DT_").lower())
        for tag in tags
        if tag.entry.d_tag in kinds
    ]


def _versions(elf: ELFFile) -> tuple[dict[int, str], dict[str, list[str]]]:
    """The library of each index in the table of symbol versions; the versions of each library."""
    libraries: dict[int, str] = {}
    versions: dict[str, list[str]] = {}
    section = elf.get_section_by_name(".gnu.version_r")
    if section is None:
        return libraries, versions
    assert isinstance(section, GNUVerNeedSection)
    for library, needed in section.iter_versions():
        assert library.name is not None
        for version in needed:
            libraries[version["vna_other"]] = library.name
            versions.setdefault(library.name, []).append(version.name)
    return libraries, versions


def _symbols(elf: ELFFile, libraries: dict[int, str]) -> tuple[set[str], dict[str, str | None]]:
    exported: set[str] = set()
    undefined: dict[str, str | None] = {}
    indices, symbols = (elf.get_section_by_name(name) for name in (".gnu.version", ".dynsym"))
    assert indices is None or isinstance(indices, GNUVerSymSection)
    assert isinstance(symbols, SymbolTableSection)
    for number, symbol in enumerate(symbols.iter_symbols()):
        if symbol["st_shndx"] != "SHN_UNDEF":
            exported.add(symbol.name)
        elif symbol.name and symbol["st_info"]["bind"] != "STB_WEAK":
            undefined[symbol.name] = (
                libraries.get(indices.get_symbol(number)["ndx"]) if indices else None
            )
    return exported, undefined


@cache
def exported_by_python() -> set[str]:
    """Symbols that Python exports to its extensions; the same on every architecture."""
    library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")
    program = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    shared = [path for path in (program, library) if path.exists() and path.suffix != ".a"]
    return set().union(*(read(path).exported for path in shared))


def shared_objects(layer: Path) -> list[SharedObject]:
    """Every shared object of a layer."""
    found = [path for path in sorted(layer.rglob("*")) if re.search(r"\.so(\.|$)", path.name)]
    return [read(path) for path in found]


def faults(layer: Path, architecture: str) -> list[str]:
    """The errors that Lambda's loader would report, one line each."""
    objects = shared_objects(layer)
    libraries = {loaded for one in objects for loaded in _loaded(one, [])}
    found = [fault for one in objects for fault in _own_faults(one, architecture)]
    # A library is loaded with the search path of the object that needs it, and checked with it.
    first = [one for one in objects if one.path not in libraries]
    found += [fault for one in first for fault in _missing(one, [], architecture)]
    return [f"{fault.replace(f'{layer}/', '')}" for fault in dict.fromkeys(found)]


def _own_faults(one: SharedObject, architecture: str) -> Iterator[str]:
    if one.machine != MACHINE_OF[architecture]:
        yield f"{one.path} is for {one.machine}, not for {MACHINE_OF[architecture]}"
    for library, versions in one.versions.items():
        if library in BASE_LIBRARIES or library == LOADER_OF[architecture]:
            yield from (
                f"{one.path} needs {version} of {library}"
                for version in versions
                if not _is_there(version)
            )


def _is_there(version: str) -> bool:
    family, _, number = version.partition("_")
    numbers = number.split(".")
    return (
        family in NEWEST
        and all(part.isdigit() for part in numbers)
        and tuple(map(int, numbers)) <= NEWEST[family]
    )


def _find(library: str, search: list[Path]) -> Path | None:
    return next((folder / library for folder in search if (folder / library).exists()), None)


def _loaded(one: SharedObject, search: list[Path]) -> Iterator[Path]:
    """The libraries of the layer that are loaded with `one`. search : path of its loader"""
    search = [*one.search, *search]
    for library in one.needed:
        path = _find(library, search)
        if path is not None:
            yield path
            yield from _loaded(read(path), search)


def _missing(one: SharedObject, search: list[Path], architecture: str) -> Iterator[str]:
    """Libraries and symbols that are not found by `one` and by the libraries it loads."""
    loaded = {path.name: read(path) for path in _loaded(one, search)}
    base = BASE_LIBRARIES | {LOADER_OF[architecture]}
    for library in one.needed:
        if library not in loaded and library not in base:
            yield f"{one.path} needs {library}, which is neither in the layer nor in the runtime"
    everywhere = exported_by_python() | IN_LIBC_SINCE_2_34
    everywhere = everywhere.union(*(library.exported for library in loaded.values()))
    for symbol, named in one.undefined.items():
        if named in base:
            continue  # its version has been checked
        there = loaded[named].exported if named in loaded else everywhere
        if symbol not in there:
            yield f"{one.path} needs {symbol} of {named or 'any library'}"
    for path in dict.fromkeys(_find(name, [*one.search, *search]) for name in one.needed):
        if path is not None:
            yield from _missing(read(path), [*one.search, *search], architecture)
