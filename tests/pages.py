"""The documentation pages, and what tests read from them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").glob("*/*.md")),
]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""The pages that describe the present; the changelog also names what was removed."""


def page(name: str) -> str:
    """The text of a page in docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def blocks(language: str, text: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def prose(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def table(header: str, text: str) -> str:
    """The first table whose header row begins with that cell."""
    found = re.search(rf"^\| {header} \|.*?(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"there is no table {header!r}"
    return found[0]


def commands() -> list[list[str]]:
    """Every `oddsound …` command of the pages, in shell blocks and in text, as its words."""
    found = []
    for path in CURRENT:
        text = path.read_text(encoding="utf-8")
        lines = "\n".join(blocks("sh", text)).splitlines()
        found += [line for line in lines if line.startswith("oddsound ")]
        # A command may be wrapped at a space.
        found += [
            command.replace("\n", " ") for command in re.findall(r"`(oddsound [^`]+)`", prose(text))
        ]
    return [shlex.split(command, comments=True) for command in found]
