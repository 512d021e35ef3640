"""What the pages in docs/ say is true, and the site loads nothing from a third party."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import typer.main
from typer.testing import CliRunner

import oddsound
from benchmarks.conditions.tables import tables as condition_tables
from benchmarks.detection.tables import mean_over_splits, tables
from benchmarks.events.tables import tables as event_tables
from oddsound.events.frames import KINDS
from oddsound.explain import wording
from oddsound.schemas import Event, EventKind, Explanation, ModelEntry
from oddsound.settings import Settings
from oddsound_workbench.cli import app
from oddsound_workbench.synthesis import write_fan
from tests.pages import CURRENT, PAGES, README, ROOT, blocks, commands, page, prose, table


def test_the_settings_page_lists_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \|(.*?)\|", page("settings"), re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        written = rows[name.upper()].strip(" `")
        if name != "model_cache_dir":
            default = field.default
            expected = "" if default is None else str(default)
            assert written == (expected.lower() if isinstance(default, bool) else expected), name


def test_there_are_commands() -> None:
    assert len(commands()) > 12


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_parses(command: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    subcommand = group.commands[command[1]]
    if command[2:] not in ([], ["--help"]):
        # Paths need not exist; names of commands, options and their types must be right.
        subcommand.make_context(command[1], command[2:], resilient_parsing=False).close()


def test_every_command_is_documented() -> None:
    group: Any = typer.main.get_command(app)
    assert set(group.commands) <= {command[1] for command in commands()}


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    codes = re.findall(r"^\| (\d+) \|", table("Exit code", page("commands")), re.MULTILINE)
    help_text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert codes == re.findall(r"\b(\d+) [a-z]", help_text[help_text.index("Exit codes") :])


def make_targets() -> dict[str, str]:
    """Names of the Makefile's targets, with their help."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+):[^#=\n]*(?:## (.*))?$", makefile, re.MULTILINE))


def test_every_make_target_exists() -> None:
    named = set()
    for path in CURRENT:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"^make ([a-z0-9-]+)", "\n".join(blocks("sh", text)), re.MULTILINE))
        named |= set(re.findall(r"`make ([a-z0-9-]+)", prose(text)))
    assert {"demo", "test", "check", "docs"} <= named
    assert named <= set(make_targets())


def test_the_example_event_is_one_and_every_kind_is_documented() -> None:
    (block,) = blocks("json", page("events"))
    for each in json.loads(block):
        assert list(each) == list(Event.model_fields)
        Event.model_validate(each)
    kinds = re.findall(r"^\| `(\w+)` \|", table("Kind", page("events")), re.MULTILINE)
    assert set(kinds) == set(get_args(EventKind)) == set(KINDS)
    for kind in kinds:
        assert f"{kind}: " in (Event.model_fields["kind"].description or "")


def test_the_tables_of_events_are_those_of_the_results() -> None:
    results = ROOT / "benchmarks" / "events" / "results.json"
    if not results.exists():
        assert "F1 of events |" not in page("performance")
        pytest.skip("the benchmark of events has no results yet")
    expected = event_tables(json.loads(results.read_text(encoding="utf-8")))
    for part in expected.split("\n\n"):
        assert part in page("performance")


def test_the_tables_of_other_files_noise_and_lengths_are_those_of_the_results() -> None:
    results = ROOT / "benchmarks" / "conditions" / "results.json"
    parts = condition_tables(json.loads(results.read_text(encoding="utf-8"))).split("\n\n")
    assert len(parts) >= 1
    for part in parts:
        assert part in page("performance")


def test_the_example_explanation_has_the_words_of_the_service() -> None:
    (block,) = blocks("json", page("explanations"))
    example = json.loads(block)
    assert list(example) == list(Explanation.model_fields)
    explanation = Explanation.model_validate(example)
    (feature,), (band,) = explanation.features, explanation.bands
    more = feature.deviation > 0
    assert feature.says == wording.comparison(feature.name, more, "normal")
    assert wording.between(band.low_hz, band.high_hz) in band.says
    assert explanation.summary == f"{feature.says}. {band.says}."


def test_the_example_entry_is_valid_and_every_key_is_explained() -> None:
    text = page("add-a-model")
    (entry,) = json.loads(blocks("json", text)[0]).values()
    assert ModelEntry.model_validate(entry).model_extra == {}
    explained = set(re.findall(r"`([a-z_0-9]+)`", table("Key", text)))
    assert set(ModelEntry.model_fields) <= explained


def test_the_program_that_adds_a_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fan(tmp_path / "pump.wav", 1, faulty=False)
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("python", page("add-a-model"))
    exec(program, {})  # noqa: S102  the page's own program, as a reader runs it


@pytest.mark.parametrize("name", ["pump.wav", "notes.txt"])
def test_the_program_of_the_api_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fan(tmp_path / "recording.wav", 1, faulty=False)
    if name == "notes.txt":
        (tmp_path / "recording.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("python", page("api"))
    exec(program, {})  # noqa: S102  the page's own program, as a reader runs it
    expected = r"(normal|anomaly) [01]\.\d+" if name == "pump.wav" else "cannot be scored: .+"
    assert re.fullmatch(expected, capsys.readouterr().out.strip())


def test_the_changelog_describes_the_version_of_the_package() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert released[0] == oddsound.__version__


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"""(?:\]\(|src="|href=")([^)"#\s]+)""", text):
        assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_sections_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text):
        linked = (path.parent / target).read_text(encoding="utf-8") if target else text
        headings = re.findall(r"^#+ (.*)$", prose(linked), re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{target}#{anchor}"


def test_the_figures_of_cold_starts_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    text = page("performance")
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+) s \| ([\d.]*) \| ([\d.]*) \|", text, re.MULTILINE)
    ratios = {(row["what"], row["over"]): f"{row['wall']:.2f}" for row in found["ratios"]}
    plain = "plain handler, cold"
    expected = [
        (what, ratios.get((what, plain), ""), ratios[what, over])
        for what, over in (
            ("S3 upload, cold", "three imports"),
            ("SQS message, cold", "three imports"),
            ("POST /predict-anomaly, cold", "three imports"),
            ("GET /models, cold", "FastAPI and Mangum"),
        )
    ]
    expected.append((plain, "1.00", ""))
    assert rows == [
        (f"{found['seconds'][what]['wall']:.2f}", *ratios) for what, *ratios in expected
    ]
    for name in ("x86_64", "arm64", plain):
        assert f"{found['bytes'][name]:,}" in text
    warm_ms, cold_s = found["warm"]["median_ms"], found["seconds"]["POST /predict-anomaly, cold"]
    assert f"{warm_ms} ms" in text
    assert f"{warm_ms:.0f} ms for a warm request" in README.replace("\n", " ")
    assert f"{cold_s['wall']:.1f} s for a cold start" in README.replace("\n", " ")


def test_the_page_names_the_targets_that_the_benchmark_missed() -> None:
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    missed = [row for row in found["ratios"] if row["target"] and row["wall"] > row["target"]]
    assert [row["what"] for row in missed] == [
        "S3 upload, cold",
        "GET /models, cold",
    ]
    for row in missed:  # the page says so
        assert f"{row['wall']:.2f}" in page("performance")
    assert max(found["bytes"][name] for name in ("x86_64", "arm64")) <= found["bytes"]["limit"]
    assert found["rounds"] >= 7


def test_the_figures_of_detection_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "detection" / "results.json").read_text())
    text = page("performance")
    assert tables(found) in text
    behind = set()
    for name, each in found["sets"].items():
        auc = {method: mean_over_splits(s)["auc"] for method, s in each["methods"].items()}
        if each["kind"] == "machine" and auc["oddsound"] < max(auc.values()) - 0.01:
            behind.add(name)
    words = " ".join(text.split())
    (sentence,) = re.findall(r"On ([^,]+), its AUC is more than 0.01 behind", words)
    assert set(re.findall(r"`(\w+)`", sentence)) == behind


@pytest.mark.parametrize("name", ["esc10", "fan"])
def test_the_pages_of_the_shipped_models_have_the_figures_of_their_reports(name: str) -> None:
    entry = json.loads((ROOT / "models" / "models.json").read_text())[name]
    folder = (ROOT / "models" / entry["model_path"]).parent
    metrics = json.loads((folder / "training.json").read_text())["metrics"]
    text = (ROOT / "models" / name / "README.md").read_text(encoding="utf-8")
    if name == "esc10":
        assert f"{100 * metrics['accuracy']:.1f} %" in text
        assert f"log-loss {metrics['log_loss']:.2f}" in text
    else:
        assert f"AUC {metrics['auc']:.2f}" in text
    assert entry["metrics"]["auc"] == round(metrics["auc"], 4)


def test_the_shipped_models_are_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "models").rglob("*") if path.is_file())
    assert size < 5_000_000


def test_operations_names_what_the_template_declares() -> None:
    text = page("operations")
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    declared = set(re.findall(r"^  (\w+):$", template, re.MULTILINE))
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w*)(?:=\w+)?`", text))
    assert {"JobsMaxConcurrency", "MaxObjectBytes"} <= named <= declared | {"ApiFunction"}
    alarms = set(re.findall(r"^  (\w+)Alarm:$", template, re.MULTILINE))
    cells = re.findall(r"^\| ([\w, ]+) \|", table("Alarm", text), re.MULTILINE)
    assert alarms == set(", ".join(cells).split(", ")) - {"Alarm"}


def test_architecture_names_every_module_and_package() -> None:
    (listing,) = blocks("", page("architecture"))
    for package in ("shared/oddsound", "workbench/oddsound_workbench"):
        for path in (ROOT / package).iterdir():
            name = path.name if path.suffix == ".py" else f"{path.name}/"
            is_code = path.suffix == ".py" or (path / "__init__.py").exists()
            if is_code and not path.name.startswith("__"):
                assert f" {name} " in listing.replace(",", " ").replace("\n", " "), name


def test_contributing_names_folders_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (.*) \|$", table("If the code", text), re.MULTILINE)[2:]
    for row in rows:
        places = re.findall(r"`([^`]+)`", row)
        folder = places[0] if places[0].endswith("/") else ""
        for place in places:
            path = place if "/" in place else folder + place
            assert list(ROOT.glob(path.replace("<name>", "*"))), place


def test_no_file_names_a_package_registry() -> None:
    names = [*ROOT.glob("requirements/*"), ROOT / "Makefile", *ROOT.glob(".github/**/*.*")]
    for path in names:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"index.url|://registry|://\S*/(simple|packages)/", text), path.name


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """docs/site/check.py, which `make docs` runs on the built site."""
    path = ROOT / "docs" / "site" / "check.py"
    spec = importlib.util.spec_from_file_location("check", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img srcset="a.png 1x, https://img.example/b.png 2x">',
        '<svg><image href="http://img.example/x.png"/></svg>',
        "<style>@import url(https://fonts.example/css);</style>",
        "<p style=\"background: url('https://img.example/x.png')\">",
        '<iframe src="http://frames.example"></iframe>',
        '<pre class="mermaid">graph</pre>',
    ],
)
def test_a_page_that_loads_from_a_third_party_is_found(
    html: str, tmp_path: Path, check: ModuleType
) -> None:
    (tmp_path / "index.html").write_text(html)
    assert len(check.third_party(tmp_path)) == 1


def test_links_for_readers_are_not_loaded(tmp_path: Path, check: ModuleType) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="https://semver.org">a</a><script src="assets/x.js"></script>'
        '<link rel="canonical" href="https://docs.example/"><svg xmlns="http://www.w3.org/2000/svg">'
    )
    (tmp_path / "style.css").write_text("a { background: url(data:image/png;base64,AA==) }")
    assert check.third_party(tmp_path) == []
    (tmp_path / "style.css").write_text('@import "https://fonts.example/css";')
    assert len(check.third_party(tmp_path)) == 1


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_a_third_party(check: ModuleType) -> None:
    if not (ROOT / ".venv-docs" / "bin" / "mkdocs").exists():
        pytest.skip("`make docs` has not installed the tools of the site")
    done = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (ROOT / "build" / "site" / "index.html").exists()
    assert check.third_party(ROOT / "build" / "site") == []
