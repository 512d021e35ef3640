"""What the README and the docs say is true."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from functions.api.app import app as service
from oddsound.explain import wording
from oddsound.schemas import Explanation, ModelEntry, Prediction
from oddsound.settings import Settings
from oddsound_workbench.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("models/*/*.md")),
]
README = PAGES[0].read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_settings_table_is_that_of_the_settings_class() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \|(.*?)\|", README, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        told = rows[name.upper()].strip(" `")
        if name == "models_config_path":
            assert told == "models/models.json"
        elif name != "model_cache_dir":
            default = field.default
            expected = "" if default is None else str(default)
            assert told == (expected.lower() if isinstance(default, bool) else expected), name


def commands() -> list[list[str]]:
    """Every `oddsound …` line of the pages, in shell blocks and in text."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = "\n".join(blocks("sh", text)).splitlines()
        found += [line for line in lines if line.startswith("oddsound ")]
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        found += re.findall(r"`(oddsound [^`]+)`", prose)
    return [shlex.split(command, comments=True) for command in found]


def test_there_are_commands() -> None:
    assert len(commands()) > 8


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_parses(command: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    subcommand = group.commands[command[1]]
    # Paths need not exist; names of commands, options and their types must be right.
    subcommand.make_context(command[1], command[2:], resilient_parsing=False).close()


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", pages, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    first_two = re.findall(r"^make (\w+)", blocks("sh")[0], re.MULTILINE)
    assert first_two == ["demo", "test"]


def test_the_example_answer_has_the_fields_of_a_prediction() -> None:
    example = json.loads(blocks("json")[0])
    assert [*example, "explanation"] == list(Prediction.model_fields)
    Prediction.model_validate(example)


def test_the_example_explanation_is_one_and_says_what_the_words_say() -> None:
    example = json.loads(blocks("json")[1])
    assert list(example) == list(Explanation.model_fields)
    explanation = Explanation.model_validate(example)
    (feature,), (band,) = explanation.features, explanation.bands
    more = feature.deviation > 0
    assert feature.says == wording.comparison(feature.name, more, "normal")
    assert wording.between(band.low_hz, band.high_hz) in band.says
    assert explanation.summary == f"{feature.says}. {band.says}."


def test_the_routes_are_those_of_the_service() -> None:
    told = set(re.findall(r"^\| `(?:GET|POST) (/[^`]*)`", README, re.MULTILINE))
    assert told - {"/docs"} == set(service.openapi()["paths"])


def test_the_example_entry_is_valid_and_every_key_is_explained() -> None:
    page = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    (entry,) = json.loads(blocks("json", page)[0]).values()
    assert ModelEntry.model_validate(entry).model_extra == {}
    table = re.search(r"^\| Key .*?\n\n", page, re.MULTILINE | re.DOTALL)
    assert table is not None
    explained = set(re.findall(r"`([a-z_0-9]+)`", table[0]))
    assert set(ModelEntry.model_fields) <= explained


def test_the_example_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oddsound_workbench.synthesis import write_fan

    write_fan(tmp_path / "pump.wav", 1, faulty=False)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    exec(blocks("python", page)[0], {})  # noqa: S102  the page's own program, as a reader runs it


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", ["esc10", "fan"])
def test_the_figures_of_the_shipped_models_are_those_of_their_reports(name: str) -> None:
    entry = json.loads((ROOT / "models" / "models.json").read_text())[name]
    readme = (ROOT / "models" / name / "README.md").read_text(encoding="utf-8")
    training = json.loads((ROOT / "models" / name / "training.json").read_text())
    metrics = training["metrics"]
    if name == "esc10":
        assert f"{metrics['accuracy']:.1%}".replace("%", " %") in readme
        assert f"{metrics['accuracy']:.1%}".replace("%", " %") in README
        assert f"log-loss {metrics['log_loss']:.2f}" in readme
    else:
        assert f"AUC {metrics['auc']:.2f}" in readme
        assert f"AUC {metrics['auc']:.2f}" in README
    assert entry["metrics"]["auc"] == round(metrics["auc"], 4)


def test_the_figures_of_cold_starts_are_those_of_the_benchmark() -> None:
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    page = README[README.index("## How fast it starts") : README.index("## Settings")]
    rows = re.findall(r"^\| [^|]+ \| ([\d.]+) s \| ([\d.]*) \| ([\d.]*) \|", page, re.MULTILINE)
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
        assert f"{found['bytes'][name]:,}" in page
    assert f"{found['warm']['median_ms']} ms" in page


def test_the_benchmark_met_its_targets() -> None:
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    missed = [row for row in found["ratios"] if row["target"] and row["wall"] > row["target"]]
    assert missed == []
    assert max(found["bytes"][name] for name in ("x86_64", "arm64")) <= found["bytes"]["limit"]
    assert found["rounds"] >= 7


def test_the_shipped_models_are_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "models").rglob("*") if path.is_file())
    assert size < 5_000_000


def test_operations_names_what_the_template_declares() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    declared = set(re.findall(r"^  (\w+):$", template, re.MULTILINE))
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w*)(?:=\w+)?`", page))
    assert {"JobsMaxConcurrency", "MaxObjectBytes"} <= named <= declared
    alarms = set(re.findall(r"^  (\w+)Alarm:$", template, re.MULTILINE))
    (table,) = re.findall(r"^\| Alarm .*?\n\n", page, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| ([\w, ]+) \|", table, re.MULTILINE)
    assert alarms == set(", ".join(cells).split(", ")) - {"Alarm"}
