"""The architecture, read from the imports: docs/architecture.md describes it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddsound_workbench.files import PROJECT

LAYERS = [
    {
        "seekable",
        "errors",
        "cold_start",
        "deadline",
        "logs",
        "strict_json",
        "student",
        "threads",
    },
    {"arriving", "mpeg", "codecs", "spliced", "complaints"},
    {"formats", "containers", "memory", "machines.naming", "machines.profile"},
    {"fields"},
    {"schemas"},
    {"settings", "storage", "machines.records", "machines.trend"},
    {"history.store", "history.packing"},
    {"history.sqlite", "history.dynamodb", "machines.states", "machines.notices"},
    {"machines.wording", "machines.drift", "machines.webhooks", "machines.mqtt"},
    {"machines.conditions"},
    {"machines.ledger"},
    {"numbers", "parts"},
    {"joblib_files", "compiled.steps"},
    {"compiled.trees"},
    {"compiled.responses"},
    {"compiled.classifiers", "compiled.detectors"},
    {"compiled.reading"},
    {"fourier"},
    {"descriptors", "views", "explain.wording"},
    {"filterbanks", "scratch"},
    {"layouts.layout"},
    {"layouts.chunks"},
    {"layouts.wav", "layouts.others", "layouts.rare", "layouts.ogg", "layouts.mp3", "layouts.flac"},
    {"ffmpeg", "layouts.find", "framewise", "events.frames", "pcm"},
    {"decoding", "default_features", "machine_features"},
    {"events.reference", "quality.clipping", "quality.dropouts", "quality.bandwidth"},
    {"events.candidates", "quality.channels"},
    {"events.wording", "events.resolving", "quality.meter"},
    {"quality.warnings"},
    {"audio", "features", "artifacts", "predictors", "events.finder"},
    {"signatures"},
    {"catalogue", "model", "windows"},
    {"explain.comparison", "profiling"},
    {"scanning"},
    {"explain.evidence"},
    {"pipeline", "registry"},
    {
        "aws.messages",
        "aws.results",
        "aws.uploads",
        "aws.alerts",
        "aws.origins",
        "aws.downloads",
        "aws.links",
    },
    {"aws.topics"},
    {"aws.announcements"},
    {"aws.jobs"},
    {"aws.metrics"},
    {"runtime"},
    {"snapshot", "api"},
    {"http.parameters", "http.spool", "http.strict_body"},
    {
        "http.errors",
        "http.gateway",
        "http.head",
        "http.headers",
        "http.messages",
        "http.nodelay",
        "http.server",
        "http.assets",
        "http.forms",
        "http.series",
        "http.ways_in",
    },
    {"http.predictions"},
    {"http.recording"},
    {
        "http.upload_limit",
        "http.upload_schemas",
        "http.docs",
        "http.ui",
        "http.listening",
        "http.machines",
        "http.metrics",
        "http.openapi",
    },
    {"http.routes", "http.results"},
    {"http.app"},
    {"http.worker"},
    {"http.workers"},
]
"""The library, from the bottom up: a module imports from the layers below its own."""

WORKBENCH_LAYERS = [
    {"errors", "files", "parallel"},
    {"labels", "synthesis", "history"},
    {"watching"},
    {"listening", "promotion"},
    {"entries"},
    {"models_files"},
    {"signing"},
    {"compiling", "deploy", "learn", "label_reviews"},
    {"report", "model_folder"},
    {"training", "compiled_entries", "model_versions"},
    {"assessment", "local", "comparing", "retraining"},
    {"cli"},
    {"demo_fleet"},
    {"demo"},
]
"""The workbench, from the bottom up: each name is a module or a package."""

RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
WORKBENCH_RANK = {name: rank for rank, layer in enumerate(WORKBENCH_LAYERS) for name in layer}
WITHOUT_AWS = RANK["pipeline"]
CACHES = {
    ("runtime", "*"),
    ("features", "extractor"),
    ("descriptors", "modulation_octaves"),
    ("profiling", "_grouping"),
    ("views", "_whiten"),
}
"""Beside runtime, numbers that follow from others: computed again, they would be the same."""

ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
FOLDERS = {
    "shared": PROJECT / "shared",
    "functions": PROJECT,
    "workbench": PROJECT / "workbench",
}
"""Folder of the project -> the folder that is on sys.path."""


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for folder, base in FOLDERS.items():
        for path in sorted((PROJECT / folder).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def violations(module: str, source: str) -> list[str]:
    """What `source` does that the architecture does not allow a module of that name."""
    tree = ast.parse(source)
    package, _, name = module.partition(".")
    found = []
    for imported, at_import in imports(tree):
        if reason := forbidden(package, name, imported, at_import):
            found.append(f"{module} imports {imported}: {reason}")
    if package != "oddsound_workbench":
        found += [f"{module} reads the environment: {what}" for what in environment(module, tree)]
    if package == "oddsound":
        if name and place(name) is None and source.strip():
            found.append(f"{module} is missing from the list of layers")
        found += [f"{module} keeps state in {what}" for what in state(name, tree)]
    if package == "oddsound_workbench" and name and workbench_place(name) is None:
        found.append(f"{module} is missing from the list of layers")
    return found


def place(name: str) -> int | None:
    """The layer of a module, or of the module that a name is imported from."""
    while name and name not in RANK:
        name = name.rpartition(".")[0]
    return RANK.get(name)


def workbench_place(name: str) -> int | None:
    return WORKBENCH_RANK.get(name.partition(".")[0])


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
    if imported.startswith("."):
        return "imports are absolute, because on Lambda a handler is the module `app`"
    if package == "functions" and target not in {"oddsound", "functions", "oddsound_workbench"}:
        return "a sibling file is not there on Lambda" if sibling(name, target) else None
    if package != "oddsound_workbench" and target in {"functions", "oddsound_workbench"}:
        return f"nothing that goes to Lambda imports from {target}"
    if package == "oddsound_workbench":
        return forbidden_in_workbench(name, target, rest)
    if package != "oddsound" or not name:
        return None
    rank = place(name)
    below = -1 if rank is None else rank
    if target in {"boto3", "botocore"} and below <= WITHOUT_AWS and at_import:
        return "boto3 and botocore are imported inside the function that needs them"
    if target == "oddsound" and not rest.startswith("__"):
        of_target = place(rest)
        if of_target is None:
            return "it is missing from the list of layers"
        if of_target >= below:
            return "the import does not point down"
    return None


def forbidden_in_workbench(name: str, target: str, rest: str) -> str | None:
    """Packages of the workbench import from lower ones; inside a package anything goes."""
    if target != "oddsound_workbench" or not name:
        return None
    rank, of_target = workbench_place(name), workbench_place(rest)
    if of_target is None:
        return "it is missing from the list of layers"
    same_package = name.partition(".")[0] == rest.partition(".")[0]
    if not same_package and rank is not None and of_target >= rank:
        return "the import does not point down"
    return None


def sibling(name: str, target: str) -> bool:
    folder = PROJECT / "functions" / name.partition(".")[0]
    return (folder / f"{target}.py").exists() or target == "app"


def environment(module: str, tree: ast.AST) -> Iterator[str]:
    """Every place outside settings.py that reads environment variables.

    threads.py sets those of other libraries.
    """
    if module in ("oddsound.settings", "oddsound.threads"):
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
    assert {f"oddsound.{name}" for name in RANK} <= names
    assert {f"oddsound_workbench.{name}" for name in WORKBENCH_RANK} <= names
    assert {"functions.api.app", "oddsound_workbench.cli", "oddsound"} <= names


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("oddsound.errors", "import oddsound.settings", "not point down"),
        ("oddsound.errors", "from oddsound.schemas import Prediction", "not point"),
        ("oddsound.features", "from oddsound import model", "not point down"),
        ("oddsound.audio", "from oddsound.features import extractor", "not point down"),
        ("oddsound.artifacts", "from oddsound.model import Model", "not point down"),
        ("oddsound.pipeline", "from oddsound.registry import Registry", "not point"),
        ("oddsound.registry", "from oddsound.runtime import settings", "not point"),
        ("oddsound.model", "def f():\n from oddsound.aws import jobs", "not point down"),
        ("oddsound.aws.messages", "from oddsound.aws import jobs", "not point down"),
        ("oddsound.runtime", "from oddsound.http import errors", "not point down"),
        ("oddsound.model", "from .features import extractor", "imports are absolute"),
        ("oddsound.model", "from oddsound import helpers", "list of layers"),
        ("oddsound.helpers", "x = 1", "list of layers"),
        ("oddsound.artifacts", "import boto3", "inside the function"),
        ("oddsound.pipeline", "from botocore.exceptions import ClientError", "inside the"),
        ("oddsound.model", "if True:\n import boto3.session", "inside the function"),
        ("oddsound.runtime", "import oddsound_workbench.training", "goes to Lambda"),
        ("oddsound.aws.jobs", "from functions.api import app", "goes to Lambda"),
        ("functions.api.app", "from functions.sqs_trigger.app import handler", "goes to Lambda"),
        ("functions.api.app", "from oddsound_workbench import cli", "goes to Lambda"),
        ("functions.api.app", "import app", "sibling file"),
        ("functions.api.app", "from . import helpers", "imports are absolute"),
        ("functions.api.app", "import os\nx = os.environ['A']", "reads the environment"),
        ("oddsound.aws.jobs", "import os\nx = os.getenv('A')", "reads the environment"),
        ("oddsound.runtime", "from os import environ", "reads the environment"),
        ("oddsound.aws.jobs", "from pydantic_settings import BaseSettings", "settings of its"),
        ("oddsound.aws.jobs", "@cache\ndef f(): ...", "keeps state in a cache: f"),
        ("oddsound.features", "@functools.lru_cache(3)\ndef mel(): ...", "a cache: mel"),
        ("oddsound.model", "def f():\n global x\n x = 1", "keeps state in global x"),
        (
            "oddsound_workbench.learn.folds",
            "from oddsound_workbench.report import tables",
            "not point down",
        ),
        (
            "oddsound_workbench.training",
            "def f():\n from oddsound_workbench import cli",
            "not point down",
        ),
        ("oddsound_workbench.helpers", "", "list of layers"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, words: str) -> None:
    found = violations(module, source)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("oddsound.settings", "import os\nx = os.environ['A']"),
        ("oddsound.artifacts", "def f():\n import boto3, botocore.exceptions"),
        ("oddsound.aws.jobs", "import botocore\nfrom oddsound import pipeline, registry"),
        ("oddsound.features", "@cache\ndef extractor(): ..."),
        ("oddsound.runtime", "@cache\ndef settings(): ..."),
        ("functions.api.app", "import os\nfrom oddsound import runtime\nos.cpu_count()"),
        ("oddsound_workbench.cli", "import os\nfrom functions.api.app import app\nos.environ['A']"),
        (
            "oddsound_workbench.cli.serving",
            "from oddsound_workbench.cli import x\nfrom oddsound_workbench.local import cloud",
        ),
    ],
)
def test_a_right_import_is_left_alone(module: str, source: str) -> None:
    assert violations(module, source) == []
