"""Griffe extension: docstrings of this project, as Markdown.

A docstring here lists parameters and attributes as `name : meaning`, one a line, and begins a
line with "Returns" or "Raises". Markdown would join these lines to one paragraph.
"""

import re
from typing import Any

from griffe import Docstring, Extension, Object

FIELD = re.compile(r"^(\w+(?:, \w+)*) : ", re.MULTILINE)
SENTENCE = re.compile(r"\n(?=(?:Returns|Raises)\b)")
TREE = re.compile(r"^\w+\n(?:[├└│].*\n?)+", re.MULTILINE)


class PlainDocstrings(Extension):
    """Rewrites the docstring of every object that is rendered."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring = Docstring(
                markdown(obj.docstring.value), parent=obj, lineno=obj.docstring.lineno
            )


def markdown(text: str) -> str:
    """Fields as a list, "Returns" and "Raises" as paragraphs, a tree of classes as code."""
    if tree := TREE.search(text):
        return f"{text[: tree.start()]}```text\n{tree[0].rstrip()}\n```\n{text[tree.end() :]}"
    text = SENTENCE.sub("\n\n", text)
    lines, in_field = [], False
    for line in text.splitlines():
        if FIELD.match(line):
            lines += ([] if in_field else [""]) + [FIELD.sub(r"- `\1`: ", line)]
            in_field = True
        elif in_field and line and not line.startswith(("Returns", "Raises")):
            lines.append(f"  {line}")
        else:
            in_field = in_field and bool(line)
            lines.append(line)
    return "\n".join(lines)
