"""Tables and sentences that fit the terminal: names and figures never break in mid-word.

Output that is not for a terminal has no width, so that scripts and files get full names. The
environment variable COLUMNS gives it one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, split_graphemes
from rich.console import Console
from rich.text import Text

from oddsound_workbench.files import harmless

MIN_NAME_WIDTH = 20
"""Cells of a shortened name in a table; with less, there are blocks of lines instead."""

GAP = 2
HEAD_SHARE = 1 / 3
"""Share of a shortened name that is before the ellipsis: its end tells recordings apart."""


@dataclass(frozen=True)
class Cell:
    """A value of a table, in one line, and its style in rich's terms."""

    text: str
    style: str = ""

    def fitted(self, width: int | None = None) -> Text:
        """The value in at most `width` cells of the terminal."""
        return Text(shortened(harmless(self.text, ""), width), self.style, no_wrap=True)


@dataclass(frozen=True)
class Column:
    """A heading, and whether the values are numbers."""

    heading: str
    number: bool = False


def line_width(console: Console) -> int | None:
    """Cells of a line; None if the output goes to a file or another program."""
    return console.width if console.is_terminal or os.environ.get("COLUMNS") else None


def shortened(text: str, width: int | None) -> str:
    """The text in at most `width` cells, with an ellipsis in its middle if it is longer."""
    if width is None or cell_len(text) <= width:
        return text
    graphemes, _ = split_graphemes(text)
    room = max(0, width - 1)
    head_room = int(HEAD_SHARE * room)
    tail, left = len(graphemes), room - head_room
    while graphemes[tail - 1][2] <= left:
        tail -= 1
        left -= graphemes[tail][2]
    head, left = 0, head_room + left
    while graphemes[head][2] <= left:
        left -= graphemes[head][2]
        head += 1
    end = graphemes[tail][0] if tail < len(graphemes) else len(text)
    return text[: graphemes[head][0]] + "…"[:width] + text[end:]


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """The text with line breaks between words; a word that is wider than a line stays whole.

    indent : before each line that continues the one above
    """
    if width is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        first, *others = line.lstrip(" ").split(" ")
        current = line[: len(line) - len(line.lstrip(" "))] + first
        for word in others:
            longer = f"{current} {word}"
            if current.strip() and cell_len(longer) > width:
                lines.append(current)
                longer = indent + word
            current = longer
        lines.append(current)
    return "\n".join(lines)


def print_sentence(
    console: Console,
    text: str,
    *,
    head: str = "",
    style: str = "",
    indent: str = "  ",
    searched: bool = False,
) -> None:
    """Print a sentence that breaks between words and continues indented.

    head : its first words, in `style`
    searched : whether it stays in one line outside of a terminal, as scripts search for errors
    """
    limit = None if searched and not console.is_terminal else line_width(console)
    whole = Text(wrapped(harmless(head + text), limit, indent))
    whole.stylize(style, 0, len(head))
    console.print(whole, soft_wrap=True, highlight=False)


def print_name(console: Console, name: str, more: str = "") -> None:
    """Print a line with a name, shortened to fit, and some text after it."""
    limit = line_width(console)
    room = None if limit is None else max(0, limit - cell_len(more))
    console.print(Cell(name, "bold").fitted(room).append(more, "not bold"), soft_wrap=True)


def print_facts(console: Console, facts: Sequence[tuple[str, Cell]]) -> None:
    """Print names with their values in lines; a long value continues to the right of its name."""
    limit = line_width(console)
    indent = " " * (2 + max(len(name) for name, _ in facts) + GAP)
    room = None if limit is None else max(1, limit - len(indent))
    for name, cell in facts:
        words = [shortened(word, room) for word in harmless(cell.text, "").split(" ")]
        text = wrapped(f"  {name}".ljust(len(indent)) + " ".join(words), limit, indent)
        line = Text(text)
        line.stylize(cell.style, len(indent))
        console.print(line, soft_wrap=True, highlight=False)


def print_rows(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table whose first column, the name, is shortened to fit.

    Where even that does not fit, each row becomes a block of lines. Columns without any value are
    left out; without rows, nothing is printed.
    """
    if not rows:
        return
    kept = [place for place in range(len(columns)) if any(row[place].text for row in rows)]
    columns = [columns[place] for place in kept]
    rows = [[row[place] for place in kept] for row in rows]
    widths = [
        max(len(column.heading), *(row[place].fitted().cell_len for row in rows))
        for place, column in enumerate(columns)
    ]
    limit = line_width(console)
    room = widths[0] if limit is None else limit - sum(GAP + width for width in widths[1:])
    if room < min(widths[0], MIN_NAME_WIDTH):
        for row in rows:
            print_name(console, row[0].text)
            facts = [(column.heading, cell) for column, cell in zip(columns, row, strict=True)]
            print_facts(console, [fact for fact in facts[1:] if fact[1].text])
        return
    widths[0] = min(widths[0], room)
    _print_table(console, columns, rows, widths)


def _print_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    widths: Sequence[int],
) -> None:
    """Print the cells below their headings; only the first column may be wider than its width."""
    head = [Cell(column.heading, "bold") for column in columns]
    lines = []
    for row in (head, *rows):
        line = Text(no_wrap=True)
        for column, cell, width in zip(columns, row, widths, strict=True):
            text = cell.fitted(width)
            space = " " * (width - text.cell_len)
            line += Text.assemble(space, text) if column.number else Text.assemble(text, space)
            line += Text(" " * GAP)
        line.rstrip()
        lines.append(line)
    rule = "─" if console.encoding.startswith("utf") else "-"
    lines.insert(1, Text(rule * max(line.cell_len for line in lines)))
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
