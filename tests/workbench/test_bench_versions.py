"""The transcript of push, compare and rollback while a service answers."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks import versions

pytestmark = pytest.mark.slow


class Answers(BaseHTTPRequestHandler):
    """Answers with the version `one`; from the fifth recording on with the next of `later`."""

    sent = 0
    later = (200, "two")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Answers.sent += 1
        status, version = (200, "one") if Answers.sent < 5 else Answers.later
        body = f'{{"model_version": "{version}"}}'.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def client() -> Iterator[versions.Client]:
    Answers.sent = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield versions.Client(f"http://127.0.0.1:{server.server_address[1]}", b"a recording")
        server.shutdown()


class Pretended(versions.Session):
    """Runs no command, but waits until the other version has answered."""

    def run(self, *arguments: str, shown: bool = True) -> None:
        self.lines.append(f"$ oddsound {' '.join(arguments)}")
        while Answers.sent < 8:
            time.sleep(0.01)


def observed(client: versions.Client, folder: Path) -> list[str]:
    session = Pretended(folder)
    with client.sending():
        while not client.answers:
            time.sleep(0.01)
        versions._observed(session, client, "push", "s3://MODELS")
    return session.lines


def test_what_the_client_saw_is_written_down(
    client: versions.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SETTLE_S", 0)
    command, took, seen = observed(client, tmp_path)
    assert command == "$ oddsound push s3://MODELS"
    assert took.startswith("# It took ")
    assert "all 200" in seen


def test_a_recording_that_was_not_answered_ends_the_transcript(
    client: versions.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "SETTLE_S", 0)
    monkeypatch.setattr(Answers, "later", (503, "two"))
    with pytest.raises(RuntimeError, match="were not answered"):
        observed(client, tmp_path)


def test_the_page_has_the_transcript_of_all_three_commands() -> None:
    page = versions.PAGE.read_text(encoding="utf-8")
    text = page[page.index(versions.BEGIN) : page.index(versions.END)]
    at = [text.index(f"$ oddsound {command} ") for command in ("push", "compare", "rollback")]
    assert at == sorted(at)
    assert text.count(": all 200, pauses of") == 2
