"""What the README says is true."""

import json
import re
from typing import Any

import pytest

import oddsound
from functions.api.app import app as service
from oddsound.schemas import Prediction
from tests.pages import README, ROOT, blocks, page, table

MAX_LINES = 180
QUICK_START = blocks("sh", README)[0]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_the_two_commands_for_a_new_machine() -> None:
    (block,) = [block for block in blocks("sh", README) if "make demo" in block]
    assert re.findall(r"^make (\w+)", block, re.MULTILINE) == ["demo", "test"]


def test_the_quick_start_installs_an_extra_that_exists() -> None:
    (extra,) = re.findall(r"^pip install '\.\[(\w+)\]'", QUICK_START, re.MULTILINE)
    assert f"\n{extra} = [\n" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_example_answer_has_the_fields_of_a_prediction() -> None:
    (block,) = blocks("json", README)
    example = json.loads(block)
    optional = ("machine", "explanation")
    assert list(example) == [name for name in Prediction.model_fields if name not in optional]
    Prediction.model_validate(example)


def test_the_routes_are_those_of_the_service() -> None:
    tables = table("Route", README) + table("Route", page("machines"))
    listed = set(re.findall(r"^\| `(\w+) (/[^`]*)`", tables, re.MULTILINE))
    paths: dict[str, Any] = service.openapi()["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert listed - {("GET", "/docs"), ("GET", "/ui")} == served


def test_the_example_error_has_the_text_of_the_service() -> None:
    with pytest.raises(oddsound.UnknownModelError) as raised:
        oddsound.load_model("pump", ROOT / "models" / "models.json")
    body = json.dumps({"error": "UnknownModelError", "detail": str(raised.value)})
    assert f"`{body}`" in README.replace("\n", " ")


@pytest.mark.parametrize(("name", "figure"), [("esc10", "accuracy"), ("fan", "auc")])
def test_the_figures_of_the_shipped_models_are_those_of_their_reports(
    name: str, figure: str
) -> None:
    entry = json.loads((ROOT / "models" / "models.json").read_text())[name]
    readme = (ROOT / "models" / name / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{name}` \|.*$", README, re.MULTILINE)
    value = entry["metrics"][figure]
    written = f"{100 * value:.1f} %" if figure == "accuracy" else f"AUC {value:.2f}"
    assert written in row
    assert written in readme
