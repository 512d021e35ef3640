"""The reader of forms, beside Starlette's, and with bodies that arrive in pieces of any size."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from oddsound.http.forms import MAX_PARTS, MAX_TEXT_BYTES, FormReader, InvalidFormError
from oddsound.http.spool import Spool

TYPE = "multipart/form-data; boundary=b"
TEXTS = ("model_name", "machine")


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    disposition = f'form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = f"--b\r\nContent-Disposition: {disposition}\r\nContent-Type: text/plain\r\n\r\n"
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def read(
    body: bytes, piece: int | None = None, memory: int = 100_000
) -> tuple[FormReader, bytes | Path]:
    """The form, and its file or the content of it."""
    with Spool(memory) as spool:
        reader = FormReader(TYPE, spool, TEXTS)
        for start in range(0, len(body), piece or len(body)):
            reader.write(body[start : start + (piece or len(body))])
        reader.finish()
        source = spool.source()
        return reader, source if isinstance(source, bytes) else source.read_bytes()


def by_starlette(body: bytes) -> tuple[dict[str, str], bytes, str | None]:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    async def parse() -> tuple[dict[str, str], bytes, str | None]:
        parser = MultiPartParser(Headers({"Content-Type": TYPE}), stream())  # type: ignore[arg-type]
        found = await parser.parse()
        file = found["file"]
        assert isinstance(file, UploadFile)
        content = await file.read()
        await file.close()
        texts = {name: value for name, value in found.items() if isinstance(value, str)}
        return texts, content, file.filename

    try:  # nothing of it waits, so it needs no event loop
        parse().send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError


TRICKY = b"RIFF\r\n--b\n\r\n--\r\n-b\r\r\n--c" * 3


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, None])
@pytest.mark.parametrize("memory", [100_000, 5])
def test_the_form_is_the_same_in_pieces_of_any_size(piece: int | None, memory: int) -> None:
    body = form(
        part("model_name", "Lüfter".encode()), part("file", TRICKY, "a.wav"), part("machine", b"x")
    )
    reader, content = read(body, piece, memory)
    assert content == TRICKY
    assert reader.filename == "a.wav"
    assert reader.texts == {"model_name": "Lüfter", "machine": "x"}
    assert reader.parts == [("model_name", False), ("file", True), ("machine", False)]


@given(st.binary(max_size=300), st.text(max_size=20), st.integers(1, 50))
def test_values_are_those_of_starlette(content: bytes, text: str, piece: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    body = form(part("machine", text.encode()), part("file", content, "fan.wav"))
    reader, found = read(body, piece)
    assert (reader.texts, found, reader.filename) == by_starlette(body)


def test_names_that_are_not_utf_8_are_read_as_latin_1() -> None:
    body = form(part("machine", "Lüfter".encode("latin-1")), part("file", b"x", "a.wav"))
    assert read(body)[0].texts == by_starlette(body)[0] == {"machine": "Lüfter"}


def test_only_the_first_file_is_kept() -> None:
    body = form(
        part("other", b"no", "o.wav"), part("file", b"yes", "1.wav"), part("file", b"no", "2.wav")
    )
    reader, content = read(body)
    assert (content, reader.filename) == (b"yes", "1.wav")
    assert [name for name, _ in reader.parts] == ["other", "file", "file"]


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("multipart/form-data", b"", "names no boundary"),
        (f"multipart/form-data; boundary={'b' * 300}", b"", "invalid boundary"),
        (TYPE, b"not a form", "damaged"),
        (TYPE, b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "has no name"),
        (TYPE, form(part("machine", bytes(MAX_TEXT_BYTES + 1))), "machine has more than 65,536"),
        (TYPE, form(*[part("x", b"")] * (MAX_PARTS + 1)), "more than 1,000 parts"),
    ],
)
def test_an_invalid_form_is_refused_with_its_reason(
    content_type: str, body: bytes, words: str
) -> None:
    with Spool() as spool, pytest.raises(InvalidFormError, match=words):
        FormReader(content_type, spool, TEXTS).write(body)


def test_a_spool_goes_to_a_file_and_deletes_it() -> None:
    with Spool(max_memory=10) as spool:
        spool.write(b"0123456789")
        assert spool.source() == b"0123456789"
        spool.write(b"a")
        spool.write(b"b")
        path = spool.source()
        assert isinstance(path, Path)
        assert path.read_bytes() == b"0123456789ab"
    assert not path.exists()


@pytest.mark.parametrize(
    ("extended", "name"),
    [
        (b"utf-8''L%C3%BCfter%207.wav", "Lüfter 7.wav"),
        (b"UTF-8'de'L%C3%BCfter.wav", "Lüfter.wav"),
        (b"iso-8859-1''L%FCfter.wav", "Lüfter.wav"),
        (b"utf-8''L%FCfter.wav", "L\ufffdfter.wav"),
        (b"no-such-charset''fan.wav", "fan.wav"),
    ],
)
@pytest.mark.parametrize("plain", [b"", b'; filename="Lufter.wav"'])
def test_a_name_that_older_clients_encode_is_the_name_of_a_file(
    extended: bytes, name: str, plain: bytes
) -> None:
    """urllib3 below 2, and thus many installations of requests, send nothing else."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"%s; filename*=%s\r\n\r\n'
    reader, content = read(form(head % (plain, extended) + b"sound\r\n"))
    assert (reader.filename, content) == (name, b"sound")
    assert reader.parts == [("file", True)]


def test_a_form_that_is_cut_anywhere_is_refused() -> None:
    """A recording in it may be cut too, and not all of them say how long they are."""
    whole = form(part("file", b"sound", "a.wav"), part("machine", b"pump"))
    for end in range(1, len(whole) - 2):  # the last line break may be missing
        with pytest.raises(InvalidFormError, match=r"cut short|no name"):
            read(whole[:end])
    for end in (len(whole) - 2, len(whole) - 1, len(whole)):
        assert read(whole[:end])[1] == b"sound"
    assert read(whole + b"an epilogue")[1] == b"sound"
