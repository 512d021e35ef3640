"""A transcript of push, compare and rollback while a service answers.

    python -m benchmarks.versions [--write]

trains two versions of a model on synthesised fans and starts `oddsound serve` with the first one:
the whole local stack, with its bucket for models. One client sends a recording after another while
the second version is pushed, compared and rolled back. Printed are the commands with their output,
and after each what the client saw. With --write, the transcript replaces the one in
docs/versions.md. Raises RuntimeError if a recording was not answered, or a version is never used.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.synthesis import write_fan

PAGE = Path(__file__).parents[1] / "docs" / "versions.md"
BEGIN, END = "<!-- transcript: begin -->", "<!-- transcript: end -->"
REFRESH_S = 2
START_S, TIMEOUT_S = 120, 60
SETTLE_S = 3 * REFRESH_S
"""Seconds that the client goes on after a command."""


class Client:
    """Sends the same recording again and again, one at a time.

    answers : for each, when it was answered, the status, and the version of the model
    """

    def __init__(self, url: str, recording: bytes) -> None:
        self.answers: list[tuple[float, int, str]] = []
        self._request = urllib.request.Request(  # noqa: S310  127.0.0.1
            f"{url}/predict-anomaly", recording, {"Content-Type": "audio/wav"}
        )
        self._ended = threading.Event()

    @contextmanager
    def sending(self) -> Iterator[None]:
        thread = threading.Thread(target=self._send)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _send(self) -> None:
        while not self._ended.wait(0.01):
            try:
                with urllib.request.urlopen(self._request, timeout=TIMEOUT_S) as response:  # noqa: S310
                    status, version = response.status, json.load(response)["model_version"]
            except OSError as error:  # an HTTPError is one; others are connections that broke
                status, version = getattr(error, "code", 0), str(error)
            self.answers.append((time.monotonic(), status, version))


class Session:
    """Runs commands in a folder, and writes down what they print."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines = folder, list[str]()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MODEL", "AWS_"))},
            **CREDENTIALS,
            **{"MODELS_REFRESH_S": str(REFRESH_S), "COLUMNS": "100", "NO_COLOR": "1"},
        }

    def run(self, *arguments: str, shown: bool = True) -> None:
        """Run `oddsound` with these arguments. Raises CalledProcessError.

        shown : whether the transcript has the output
        """
        done = subprocess.run(
            [sys.executable, "-m", "oddsound_workbench.cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        output = [line.rstrip() for line in done.stdout.strip().splitlines()] if shown else ["..."]
        self.lines += [f"$ oddsound {' '.join(arguments)}", *output]

    def note(self, text: str) -> None:
        """Write down what the client saw."""
        self.lines.append(f"# {text}")

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[dict[str, Any]]:
        """`oddsound serve` as a process: what it prints as JSON."""
        command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--json", *arguments]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101  for mypy
            try:
                yield json.loads(process.stdout.readline())
            finally:
                process.terminate()


def transcript(folder: Path) -> list[str]:
    """The lines of the transcript; `folder` is empty."""
    recordings = {"first": range(24), "later": range(50, 74), "new": range(80, 90)}
    for name, seeds in recordings.items():
        for seed in seeds:
            write_fan(folder / name / f"{seed:02}.wav", seed, faulty=False, duration_s=5)
    for seed in range(5):
        write_fan(folder / "new" / f"fault-{seed}.wav", 100 + seed, faulty=True, duration_s=5)
    session = Session(folder)
    session.run("train", "first", "--name", "pump", shown=False)
    with session.serving("--in-memory", "--port", "0", "--models", "models/models.json") as stack:
        endpoint, bucket = stack["endpoint_url"], stack["names"]["ModelsBucket"]
        session.environment["AWS_ENDPOINT_URL"] = endpoint
        client = Client(stack["url"], (folder / "new" / "80.wav").read_bytes())
        session.lines += [
            "",
            "# `oddsound serve` runs; a client sends one recording after another.",
            "",
        ]
        with client.sending():
            _wait_for(client, lambda: bool(client.answers))
            session.run("train", "later", "--name", "pump", shown=False)
            session.lines.append("")
            models = f"s3://{bucket}/models.json"
            _observed(session, client, "push", f"s3://{bucket}")
            session.lines.append("")
            session.run("versions", "pump", "--models", models)
            session.lines.append("")
            session.run("compare", "pump@previous", "pump", "new", "--models", models)
            session.lines.append("")
            _observed(session, client, "rollback", "pump", "--models", models)
            session.lines.append("")
            session.run("versions", "pump", "--models", models)
    return [line.replace(bucket, "MODELS") for line in session.lines]


def _observed(session: Session, client: Client, *arguments: str) -> None:
    """Run a command that changes the version in use, and say what the client saw meanwhile."""
    before, started = client.answers[-1][2], time.monotonic()
    first = len(client.answers)
    session.run(*arguments)
    ended = time.monotonic()
    _wait_for(client, lambda: client.answers[-1][2] != before)
    changed = next(at for at, _, version in client.answers[first:] if version != before)
    _wait_for(client, lambda: time.monotonic() > changed + SETTLE_S)
    seen = client.answers[first:]
    if failed := [answer for answer in seen if answer[1] != 200]:
        raise RuntimeError(f"{len(failed)} recordings were not answered: {failed[0]}")
    slowest_s = max(b[0] - a[0] for a, b in pairwise(seen))
    session.note(
        f"It took {ended - started:.1f} s; the other version answers since"
        f" {changed - started:.1f} s."
    )
    session.note(
        f"{len(seen)} recordings in {seen[-1][0] - started:.0f} s: all 200, pauses of"
        f" {slowest_s:.1f} s at most."
    )


def _wait_for(client: Client, condition: Any) -> None:
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"the client still sees {client.answers[-1:]}")
        time.sleep(0.05)


def main() -> None:
    """Print the transcript, or write it into the page."""
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(transcript(Path(folder)))
    if "--write" in sys.argv[1:]:
        pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
        made = f"{BEGIN}\n\n```console\n{text}\n```\n\n{END}"
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(pattern.sub(lambda _: made, page), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
