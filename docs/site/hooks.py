"""MkDocs hooks: the Markdown files at the root of the project are pages of the site too.

They link to each other as they do on a code host, relative to the root. On the site every page
is in one folder, so the links are rewritten.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "models/esc10/README.md": "model-esc10.md",
    "models/fan/README.md": "model-fan.md",
}
"""Path below the root of the project -> page of the site. Paths below docs/ keep their name."""

LINK = re.compile(r"""(\]\(|\b(?:src|href|srcset)=")([^)"#\s]+)""")


def on_files(files: Files, config: "MkDocsConfig") -> Files:
    """Add the pages that are not in docs/."""
    for source, page in PAGES.items():
        if page.endswith(".md") and (ROOT / source).is_file():
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=relinked(text, source)))
    return files


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Rewrite the links of the pages in docs/ that lead out of it."""
    source = page.file.src_uri  # type: ignore[attr-defined]
    return markdown if source in PAGES.values() else relinked(markdown, f"docs/{source}")


def relinked(text: str, source: str) -> str:
    """The text with its relative links as they are on the site.

    source : path of the file below the root of the project
    """

    def target(match: re.Match[str]) -> str:
        before, link = match.groups()
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        path = (ROOT / source).parent.joinpath(link).resolve()
        if not path.is_relative_to(ROOT):
            return match[0]
        name = str(path.relative_to(ROOT))
        return before + PAGES.get(name, name.removeprefix("docs/"))

    return LINK.sub(target, text)
