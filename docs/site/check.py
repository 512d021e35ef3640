"""Fails if a page of the built site loads something from a third party: `make docs` runs it."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LINKS_FOR_READERS = {("a", "href"), ("form", "action")}
RELATIONS_NOT_LOADED = {"canonical", "alternate", "next", "prev", "author", "license"}
URL = re.compile(r"(?:^|[\s,])((?:https?:)?//[^\s,]+)")
CSS_URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""")
LOADING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "mermaid" in values.get("class", "").split():
            self.found.append("a Mermaid diagram, whose script is loaded from a CDN")
        relations = set(values.get("rel", "").split())
        for name, value in values.items():
            loads = name in LOADING and (tag, name) not in LINKS_FOR_READERS
            if tag == "link" and relations and relations <= RELATIONS_NOT_LOADED:
                loads = False
            if loads:
                self.found += URL.findall(value)
            if name == "style":
                self.found += CSS_URL.findall(value)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.found += CSS_URL.findall(data)


def third_party(site: Path) -> list[str]:
    """What the pages and styles of a site load from elsewhere: `file: URL` for each."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".svg"}:
            page = _Page()
            page.feed(path.read_text(encoding="utf-8"))
            urls = page.found
        elif path.suffix == ".css":
            urls = CSS_URL.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        found += [f"{path.relative_to(site)}: {url}" for url in urls]
    return found


if __name__ == "__main__":
    loaded = third_party(Path(sys.argv[1]))
    sys.exit("\n".join(["the site loads from third parties:", *loaded]) if loaded else 0)
