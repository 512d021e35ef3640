"""Where the project's files are, and how a file is written or identified."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

# Control characters, line separators, and marks that change the direction of the text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets compute cells that begin with one of them: OWASP, CSV injection."""

_CHECKOUT = Path(__file__).parents[2]

PROJECT = (
    _CHECKOUT if (_CHECKOUT / "template.yaml").is_file() else Path(__file__).parent / "project"
)
"""The checkout, or the copy of template.yaml and functions/ that an installed wheel contains."""

TEMPLATE = PROJECT / "template.yaml"
SAMCONFIG = PROJECT / "samconfig.toml"
EVENTS = PROJECT / "events"
BUILD = PROJECT / ".aws-sam" / "build"
"""What `sam build` writes."""

MODELS = PROJECT / "models" / "models.json"
"""The models of a checkout; `oddsound.settings.shipped_models` finds those of a wheel too."""


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new content, never a part.

    Creates missing parent folders. Raises OSError, and then leaves no file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        partial = Path(file.name)
        try:
            file.write(data)
            file.flush()
            # Temporary files are readable by their owner only, unlike files that a user creates.
            partial.chmod(0o644)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def content_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decoded(path: Path) -> str:
    """The path as text for JSON; a byte that is not UTF-8 is written as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(path: Path) -> str:
    """The path as text for people: in one line, and without effect on a terminal."""
    return harmless(decoded(path), allowed="")


def as_text(value: str) -> str:
    """The value for a cell of a CSV file, with an apostrophe if a spreadsheet would compute it."""
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


def harmless(text: str, allowed: str = "\n") -> str:
    """The text with its control characters written as \\x1b, apart from the allowed ones.

    A terminal obeys them: a file name with an escape sequence could change what it displays.
    """
    return _CONTROL.sub(
        lambda found: (
            found[0] if found[0] in allowed else found[0].encode("unicode_escape").decode()
        ),
        text,
    )
