"""schemathesis, with all its checks, on the whole stack of `oddsound serve`: make fuzz-contract.

usage: contract.py SCHEMATHESIS EXAMPLES [OPTION]...
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from oddsound_workbench.synthesis import write_fan

CONFIG = Path(__file__).with_name("schemathesis.toml")
MACHINE = "hall-3/pump-07"
# Of a route whose only parameter is any text, most invalid variants are valid, and left out.
OPTIONS = ["--checks", "all", "--suppress-health-check", "filter_too_much,too_slow"]


@contextmanager
def stack(folder: Path) -> Iterator[str]:
    """The URL of a running local stack with the shipped models; its log is in the folder."""
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--in-memory", "--json"]
    with (
        (folder / "stack.log").open("w") as log,
        subprocess.Popen(
            [*command, "--port", "0"], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def history(url: str, recordings: Path) -> str:
    """Gives the machine two recordings; returns the key of one of them."""
    for path in recordings.iterdir():
        answer = httpx2.post(
            f"{url}/predict-anomaly",
            files={"file": (path.name, path.read_bytes())},
            data={"machine": MACHINE},
            timeout=60,
        )
        answer.raise_for_status()
    page = httpx2.get(f"{url}/machines/{MACHINE}/history", timeout=60).raise_for_status().json()
    return str(page["rows"][0]["key"])


def main(schemathesis: str, examples: str, *options: str) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, recordings = Path(name), Path(name, "recordings")
        for seed, faulty in ((1, False), (2, True)):
            write_fan(recordings / f"{seed}.wav", seed, faulty=faulty, duration_s=1)
        with stack(folder) as url:
            variables = {
                "SCHEMATHESIS_HOOKS": str(CONFIG.with_name("hooks.py")),
                "RECORDINGS": str(recordings),
                "KEY": history(url, recordings),
            }
            program = str(Path(schemathesis).absolute())
            command = [program, "--config-file", str(CONFIG), "run", f"{url}/openapi.json"]
            done = subprocess.run(
                [*command, *OPTIONS, "--max-examples", examples, *options],
                cwd=folder,
                env=os.environ | variables,
                check=False,
            )
        if done.returncode:
            print((folder / "stack.log").read_text()[-20_000:], file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
