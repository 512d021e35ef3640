"""Griffe extension: docstrings of this project, as Markdown.

A docstring here lists parameters and attributes as `name : meaning`, one a line, and begins a
line with "Returns" or "Raises". Markdown would join these lines to one paragraph. Pydantic models
describe their fields in `Field(description=...)`; here they become a list below the class.
"""

import ast
import re
from typing import Any

from griffe import Attribute, Class, Docstring, Extension, Object

FIELD = re.compile(r"^(\w+(?:, \w+)*) : ", re.MULTILINE)
SENTENCE = re.compile(r"\n(?=(?:Returns|Raises)\b)")
TREE = re.compile(r"^\w+\n(?:[├└│].*\n?)+", re.MULTILINE)


class PlainDocstrings(Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        text = markdown(obj.docstring.value) if obj.docstring is not None else ""
        if isinstance(obj, Class) and any("Schema" in str(base) for base in obj.bases):
            text += "\n\n" + "\n".join(fields(obj))
        if text:
            obj.docstring = Docstring(text, parent=obj)


def fields(model: Class) -> list[str]:
    """A list item for each field of a Pydantic model, with its type and description."""
    return [
        f"- `{name}` (`{member.annotation}`)"
        + (f": {text}" if (text := description(member)) else "")
        for name, member in model.members.items()
        if isinstance(member, Attribute) and name != "model_config"
    ]


def description(field: Attribute) -> str:
    """The text of `Field(description=...)`, or nothing."""
    if field.value is None:
        return ""
    call = ast.parse(str(field.value), mode="eval").body
    words = call.keywords if isinstance(call, ast.Call) else []
    return next((_text(word.value) for word in words if word.arg == "description"), "")


def _text(node: ast.expr) -> str:
    """The value of a string; an f-string keeps the names of its values."""
    if not isinstance(node, ast.JoinedStr):
        return str(ast.literal_eval(node))
    parts = (p.value if isinstance(p, ast.FormattedValue) else p for p in node.values)
    return "".join(str(p.value) if isinstance(p, ast.Constant) else ast.unparse(p) for p in parts)


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
