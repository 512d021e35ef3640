"""Log lines of a server of one's own: one line of JSON for each event, as the functions write them.

What a client sent may stand in a message. JSON escapes it, so that it can neither begin a new line
nor control a terminal.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any


class JsonLine(logging.Formatter):
    """An event as one line of JSON in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line break at its end."""
        event: dict[str, Any] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event)


def write_to_stderr(level: str) -> None:
    """Write the events of this library to stderr, unless the process has configured its logs."""
    library = logging.getLogger("oddsound")
    if library.hasHandlers():  # Lambda's runtime, Powertools or a program that imports the library
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine())
    library.addHandler(handler)
    library.setLevel(level)
