"""The design's arrows, read from the imports: docs/architecture.md draws them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [
    {"errors", "settings", "schemas", "formats"},
    {"arithmetic", "descriptors", "wording"},
    {"audio", "features", "model", "artifacts"},
    {"comparison"},
    {"explanation"},
    {"registry", "pipeline"},
    {"aws"},
    {"results", "uploads"},
    {"jobs"},
    {"telemetry"},
    {"runtime"},
    {"snapshot"},
]
"""The library, from the bottom up: a module imports from the layers below its own."""

PEERS = {("settings", "errors"), ("model", "features")}
"""Arrows inside a layer: the first imports the second."""

RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
WITHOUT_AWS = RANK["pipeline"]
CACHES = {("runtime", "*"), ("features", "extractor")}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for folder, base in (("shared", ROOT / "shared"), ("functions", ROOT), ("workbench", ROOT)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def violations(module: str, source: str) -> list[str]:
    """What `source` does that the design does not allow a module of that name."""
    tree = ast.parse(source)
    package, _, name = module.partition(".")
    found = []
    for imported, at_import in imports(tree):
        if reason := forbidden(package, name, imported, at_import):
            found.append(f"{module} imports {imported}: {reason}")
    if package != "workbench":
        found += [f"{module} reads the environment: {what}" for what in environment(module, tree)]
    if package == "audio_anomaly":
        if name and name not in RANK:
            found.append(f"{module} has no place in the design's list")
        found += [f"{module} keeps state in {what}" for what in state(name, tree)]
    return found


def imports(tree: ast.AST, *, at_import: bool = True) -> Iterator[tuple[str, bool]]:
    """Names that are imported, and whether that happens when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            joint = "" if origin.endswith(".") else "."
            yield from ((f"{origin}{joint}{alias.name}", at_import) for alias in node.names)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(node, at_import=at_import and not inside)


def forbidden(package: str, name: str, imported: str, at_import: bool) -> str | None:
    """Why a module may not import that, or None where it may."""
    target, _, rest = imported.partition(".")
    inner = rest.partition(".")[0]
    if imported.startswith("."):
        return "names are absolute, for on Lambda a handler is the module `app`"
    if package == "functions" and target not in {"audio_anomaly", "functions", "workbench"}:
        return "a sibling file is not there on Lambda" if sibling(name, target) else None
    if package != "workbench" and target in {"functions", "workbench"}:
        return f"nothing that goes to Lambda imports from {target}"
    if package != "audio_anomaly":
        return None
    rank = RANK.get(name, -1)
    if target in {"boto3", "botocore"} and rank <= WITHOUT_AWS and at_import:
        return "boto3 and botocore are imported inside the function that needs them"
    if target == "audio_anomaly" and (name, inner) not in PEERS:
        if inner not in RANK:
            return "it has no place in the design's list"
        if RANK[inner] >= rank:
            return "the arrow does not point down"
    return None


def sibling(name: str, target: str) -> bool:
    folder = ROOT / "functions" / name.partition(".")[0]
    return (folder / f"{target}.py").exists() or target == "app"


def environment(module: str, tree: ast.AST) -> Iterator[str]:
    """Every place outside settings.py that looks at environment variables."""
    if module == "audio_anomaly.settings":
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in ENVIRONMENT:
                yield f"os.{attr}"
            case ast.ImportFrom(module="os", names=names):
                yield from (f"os.{a.name}" for a in names if a.name in ENVIRONMENT)
            case ast.Import(names=names) | ast.ImportFrom(names=names) if any(
                "BaseSettings" in a.name or "dotenv" in a.name for a in names
            ):
                yield "settings of its own"


def state(name: str, tree: ast.AST) -> Iterator[str]:
    """Caches and globals outside runtime.py."""
    for node in ast.walk(tree):
        match node:
            case ast.Global(names=names):
                yield f"global {', '.join(names)}"
            case ast.FunctionDef(name=function, decorator_list=decorators):
                excused = CACHES & {(name, "*"), (name, function)}
                if not excused and any("cache" in ast.unparse(d) for d in decorators):
                    yield f"a cache: {function}"


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


def test_every_part_of_the_project_is_read() -> None:
    names = set(modules())
    assert {f"audio_anomaly.{name}" for name in RANK.keys() - {"jobs"}} <= names
    assert {"functions.api.app", "workbench.cli", "workbench", "audio_anomaly"} <= names


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("audio_anomaly.errors", "import audio_anomaly.settings", "not point down"),
        ("audio_anomaly.schemas", "from audio_anomaly.errors import StorageError", "not point"),
        ("audio_anomaly.features", "from audio_anomaly import model", "not point down"),
        ("audio_anomaly.audio", "from audio_anomaly.features import extractor", "not point down"),
        ("audio_anomaly.artifacts", "from audio_anomaly.model import Model", "not point down"),
        ("audio_anomaly.pipeline", "from audio_anomaly.registry import Registry", "not point"),
        ("audio_anomaly.registry", "from audio_anomaly.runtime import settings", "not point"),
        ("audio_anomaly.model", "def f():\n from audio_anomaly import jobs", "not point down"),
        ("audio_anomaly.model", "from .features import extractor", "names are absolute"),
        ("audio_anomaly.model", "from audio_anomaly import helpers", "no place in the design"),
        ("audio_anomaly.helpers", "", "no place in the design"),
        ("audio_anomaly.artifacts", "import boto3", "inside the function"),
        ("audio_anomaly.pipeline", "from botocore.exceptions import ClientError", "inside the"),
        ("audio_anomaly.model", "if True:\n import boto3.session", "inside the function"),
        ("audio_anomaly.runtime", "import workbench.training", "goes to Lambda"),
        ("audio_anomaly.jobs", "from functions.api import app", "goes to Lambda"),
        ("functions.api.app", "from functions.sqs_trigger.app import handler", "goes to Lambda"),
        ("functions.api.app", "from workbench import cli", "goes to Lambda"),
        ("functions.api.app", "import app", "sibling file"),
        ("functions.api.app", "from . import helpers", "names are absolute"),
        ("functions.api.app", "import os\nx = os.environ['A']", "reads the environment"),
        ("audio_anomaly.jobs", "import os\nx = os.getenv('A')", "reads the environment"),
        ("audio_anomaly.runtime", "from os import environ", "reads the environment"),
        ("audio_anomaly.jobs", "from pydantic_settings import BaseSettings", "settings of its"),
        ("audio_anomaly.jobs", "@cache\ndef f(): ...", "keeps state in a cache: f"),
        ("audio_anomaly.features", "@functools.lru_cache(3)\ndef mel(): ...", "a cache: mel"),
        ("audio_anomaly.model", "def f():\n global x\n x = 1", "keeps state in global x"),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str, words: str) -> None:
    found = violations(module, source)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("audio_anomaly.settings", "import os\nx = os.environ['A']"),
        ("audio_anomaly.artifacts", "def f():\n import boto3, botocore.exceptions"),
        ("audio_anomaly.jobs", "import botocore\nfrom audio_anomaly import pipeline, registry"),
        ("audio_anomaly.features", "@cache\ndef extractor(): ..."),
        ("audio_anomaly.runtime", "@cache\ndef settings(): ..."),
        ("functions.api.app", "import os\nfrom audio_anomaly import runtime\nos.cpu_count()"),
        ("workbench.cli", "import os\nfrom functions.api.app import app\nos.environ['A']"),
    ],
)
def test_a_right_arrow_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source) == []
