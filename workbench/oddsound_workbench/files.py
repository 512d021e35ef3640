"""Where the project's files are, and how a file is written or identified."""

import hashlib
import tempfile
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]

PROJECT = (
    _CHECKOUT if (_CHECKOUT / "template.yaml").is_file() else Path(__file__).parent / "project"
)
"""The checkout, or the copy of template.yaml and functions/ that an installed wheel carries."""

TEMPLATE = PROJECT / "template.yaml"
SAMCONFIG = PROJECT / "samconfig.toml"
EVENTS = PROJECT / "events"
BUILD = PROJECT / ".aws-sam" / "build"
"""What `sam build` writes."""

MODELS = PROJECT / "models" / "models.json"
"""The models of a checkout; `oddsound.settings.shipped_models` finds those of a wheel too."""


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new content, never a part.

    Creates missing parent folders. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def content_sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
