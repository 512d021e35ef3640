"""SECURITY.md claims what tests prove."""

import ast
import re

from tests.pages import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def defined_tests() -> set[str]:
    """The names of all tests, also of those in classes."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.add(node.name)
    return found


def test_every_test_that_proves_a_limit_exists() -> None:
    named = re.findall(r"`(test_\w+)`", TEXT)
    assert len(named) > 20
    assert set(named) - defined_tests() == set()


def test_every_number_in_the_table_has_tests_and_is_used() -> None:
    table, proofs = TEXT.split("Each number is proven by tests:")
    used = {int(number) for number in re.findall(r"\((\d+)\)", table)}
    proven = {int(number) for number in re.findall(r"^(\d+)\. `test_", proofs, re.MULTILINE)}
    assert used == proven == set(range(1, len(proven) + 1))


def test_every_row_of_the_table_is_proven() -> None:
    rows = re.findall(r"^\| (?!Who|---)([^|]+)\|.*$", TEXT, re.MULTILINE)
    lines = [line for line in TEXT.splitlines() if line.startswith("| ")]
    proven = [line for line in lines if re.search(r"\(\d+\)", line)]
    assert len(proven) == len(rows) >= 10
