"""Reads a form (multipart/form-data) while it arrives: a file, and short texts.

Starlette's parser would do if it could write the file where a prediction can read it.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from oddsound.http.spool import Spool

FILE = "file"
"""Name of the part that contains the file."""

EXTENDED_FILENAME = re.compile(
    rb""";\s*filename\*\s*=\s*([\w-]*)'[\w-]*'([^\s;"]*)""", re.IGNORECASE
)
"""Of RFC 8187: charset, language and percent-encoded name."""

MAX_PARTS = 1000
MAX_TEXT_BYTES = 64 * 1024


class InvalidFormError(ValueError):
    """The body is not the form that its content type announces."""


class FormReader:
    """Takes the body of a form in pieces of any size.

    parts : name of each part so far, and whether it is a file
    texts : name of a text -> its value

    content_type : of the request, with the boundary
    file : where the content of the first file called `file` goes; others are dropped
    texts : names of the texts that are kept
    Raises InvalidFormError.
    """

    def __init__(self, content_type: str, file: Spool, texts: Collection[str]) -> None:
        self.parts: list[tuple[str, bool]] = []
        self.texts: dict[str, str] = {}
        self.filename: str | None = None
        self._file, self._kept = file, texts
        self._header = self._value = self._disposition = b""
        self._text: bytearray | None = None
        self._to_file = False
        _, options = parse_options_header(content_type)
        if not (boundary := options.get(b"boundary")):
            raise InvalidFormError("the Content-Type names no boundary")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_part_end,
                },
            )
        except FormParserError as error:
            raise InvalidFormError(f"the Content-Type has an invalid boundary: {error}") from None

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises InvalidFormError, or OSError if the file cannot be stored."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidFormError(f"the form is damaged: {error}") from None

    def finish(self) -> None:
        """Call it after the last bytes. Raises InvalidFormError."""
        try:
            self._parser.finalize()
        except FormParserError as error:
            raise InvalidFormError(f"the form is damaged: {error}") from None
        # `finalize` does not check it. An empty body is a form without parts.
        if self._parser.state not in (MultipartState.START, MultipartState.END):
            raise InvalidFormError("the form is cut short: it ends without its closing boundary")

    def _on_part_begin(self) -> None:
        self._header = self._value = self._disposition = b""
        self._text, self._to_file = None, False

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InvalidFormError("a part of the form has no name in its Content-Disposition")
        name, filename = _decoded(options[b"name"]), _extended_filename(self._disposition)
        if b"filename" in options and not filename:
            filename = _decoded(options[b"filename"])
        is_file = filename is not None
        if is_file and name == FILE and (FILE, True) not in self.parts:
            self._to_file, self.filename = True, filename
        elif not is_file and name in self._kept:
            self._text = bytearray()
        self.parts.append((name, is_file))
        if len(self.parts) > MAX_PARTS:
            raise InvalidFormError(f"the form has more than {MAX_PARTS:,} parts")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._to_file:
            self._file.write(data[start:end])
        elif self._text is not None:
            self._text += data[start:end]
            if len(self._text) > MAX_TEXT_BYTES:
                name = self.parts[-1][0]
                raise InvalidFormError(
                    f"{name} has more than {MAX_TEXT_BYTES:,} bytes, the limit for a text"
                )

    def _on_part_end(self) -> None:
        if self._text is not None:
            self.texts[self.parts[-1][0]] = _decoded(bytes(self._text))


def _extended_filename(disposition: bytes) -> str | None:
    """The value of `filename*`, as older clients send names that are not ASCII; None without it."""
    if not (found := EXTENDED_FILENAME.search(disposition)):
        return None
    charset = "latin-1" if found[1].lower() == b"iso-8859-1" else "utf-8"
    return unquote_to_bytes(found[2]).decode(charset, "replace")


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
