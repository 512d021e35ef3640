"""Throughput, latency, errors and memory of this service under load, beside other servers.

    make load
    python -m benchmarks.load.run [--rounds 3] [--seconds 10] [--connections 1 8 64] [--servers ...]
    python -m benchmarks.load.run --saturate 120 [--servers oddsound]

Every server gets the same form with a recording from wrk. All of them run at the same time, and a
round measures each of them once, so that other load on the machine affects all alike. The figures
are saved after every measurement: the same command continues an interrupted run, and --again starts
over. The peers are installed into build/load. Needs Linux and wrk.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import soundfile

from benchmarks.load import servers as peers
from benchmarks.load.servers import TUTORIAL, Server, memory_mb, post, processor_s
from benchmarks.load.table import RESULTS, Figures, Row, tables
from benchmarks.long.run import machine
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

BOUNDARY = "a-boundary-of-the-load-benchmark"
SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_S = 60
CONNECTIONS, RECORDINGS_S = (1, 8, 64), (5, 10)
WARM_UP_CONNECTIONS, WARM_UP_S = 8, 3
SATURATING = 64
"""Connections of --saturate."""

MEMORY_EVERY_S = 5
INSTALL_WRK = (
    "wrk is not installed, which creates the load; install it with `apt-get install wrk` (Debian,"
    " Ubuntu) or `brew install wrk` (macOS)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, save the figures, and print the tables."""
    options = _parser().parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit(INSTALL_WRK)
    chosen = [each for each in peers.servers() if each.name in options.servers]
    figures = _figures(options.results, options.again)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        forms = {seconds: _form(seconds, Path(folder)) for seconds in options.recordings}
        started = _started(chosen, forms, stack, figures)
        if options.saturate:
            _saturate(started, forms, options, figures)
        else:
            _measure(started, forms, options, figures)
    print(tables(figures))


def _measure(
    started: Mapping[str, tuple[str, int]],
    forms: Mapping[int, Path],
    options: argparse.Namespace,
    figures: Figures,
) -> None:
    cases = product(range(options.rounds), options.recordings, options.connections, started)
    for number, recording_s, connections, name in cases:
        row: Row = {
            "server": name,
            "recording_s": recording_s,
            "connections": connections,
            "round": number,
        }
        if any(row.items() <= known.items() for known in figures["rows"]):
            continue
        url, pid = started[name]
        before_s = processor_s(pid)
        found = wrk(url, forms[recording_s], connections, options.seconds)
        used = {"processor_s": round(processor_s(pid) - before_s, 2), "memory_mb": memory_mb(pid)}
        figures["rows"].append(row | found | used)
        _save(figures, options.results)
        print(f"{json.dumps(figures['rows'][-1])}", file=sys.stderr)


def _saturate(
    started: Mapping[str, tuple[str, int]],
    forms: Mapping[int, Path],
    options: argparse.Namespace,
    figures: Figures,
) -> None:
    """Keep each server busy for a while, and watch its memory."""
    form = forms[max(forms)]
    for name, (url, pid) in started.items():
        wrk(url, form, SATURATING, 2)  # what is allocated once
        memory = [memory_mb(pid)]
        with _started_wrk(url, form, SATURATING, options.saturate) as process:
            while process.poll() is None:
                time.sleep(min(MEMORY_EVERY_S, options.saturate))
                memory.append(memory_mb(pid))
            found = _measured(process)
        figures["saturation"][name] = found | {"memory_mb": memory, "connections": SATURATING}
        _save(figures, options.results)


def _started(
    chosen: Sequence[Server],
    forms: Mapping[int, Path],
    stack: ExitStack,
    figures: Figures,
) -> dict[str, tuple[str, int]]:
    """URL and first process of each server. One that cannot be installed or started is named in
    the figures with the reason."""
    found = {}
    body, content_type = forms[min(forms)].read_bytes(), f"multipart/form-data; boundary={BOUNDARY}"
    for server in chosen:
        print(f"starting {server.name}", file=sys.stderr)
        try:
            server.install()
            if server.name == TUTORIAL:
                peers.prepare_tutorial(server)
            figures["versions"][server.name] = server.versions()
            found[server.name] = stack.enter_context(
                peers.running(server, lambda url: post(url, body, content_type))
            )
            # Each of its processes loads the model, or compiles, for its first requests.
            wrk(found[server.name][0], forms[min(forms)], WARM_UP_CONNECTIONS, WARM_UP_S)
            figures["missing"].pop(server.name, None)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            figures["missing"][server.name] = str(error)
            print(f"{server.name} is left out: {error}", file=sys.stderr)
    return found


def wrk(url: str, form: Path, connections: int, seconds: int) -> dict[str, float]:
    """Send the form by so many connections for a while. Raises RuntimeError if wrk fails."""
    with _started_wrk(url, form, connections, seconds) as process:
        return _measured(process)


def _started_wrk(url: str, form: Path, connections: int, seconds: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *("wrk", "--threads", "1", "--connections", str(connections)),
            *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_S}s"),
            *("--script", str(SCRIPT), url),
        ],
        env={**os.environ, "BODY": str(form), "BOUNDARY": BOUNDARY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _measured(process: "subprocess.Popen[str]") -> dict[str, float]:
    output, _ = process.communicate()
    for line in output.splitlines():
        if line.startswith('{"requests"'):
            return dict(json.loads(line))
    raise RuntimeError(f"wrk measured nothing: {output}")


def _form(seconds: int, folder: Path) -> Path:
    """A form with a recording of that length, 16 bits at 16 kHz."""
    file = io.BytesIO()
    sound = fan(1, faulty=False, duration_s=seconds)
    soundfile.write(file, sound, SAMPLE_RATE, "PCM_16", format="WAV")
    head = f"--{BOUNDARY}\r\n" + 'Content-Disposition: form-data; name="file"; filename="fan.wav"'
    head += "\r\nContent-Type: audio/wav\r\n\r\n"
    path = folder / f"{seconds}.form"
    path.write_bytes(head.encode() + file.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return path


def _figures(path: Path, again: bool) -> Figures:
    found: Figures = {"machine": machine(), "versions": {}, "missing": {}, "rows": []}
    found["saturation"] = {}
    if path.exists() and not again:
        found |= json.loads(path.read_text(encoding="utf-8"))
    return found


def _save(figures: Figures, path: Path) -> None:
    figures["machine"] = machine()
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    names = [server.name for server in peers.servers()]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=10, help="of each; default: %(default)s")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--recordings", type=int, nargs="+", default=RECORDINGS_S, help="seconds")
    parser.add_argument("--saturate", type=int, help="seconds at 64 connections, instead")
    parser.add_argument("--again", action="store_true", help="forget earlier figures")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON; default: %(default)s")
    return parser


if __name__ == "__main__":
    main()
