"""Profiles a cold start: the time of imports by package, and the time of everything else.

    python benchmarks/profile_imports.py ["S3 upload, cold"] [--rounds 7]

The times are from `python -X importtime`; a module's time does not include the modules that it
imports. It needs the artifacts that `make bench` builds.
"""

import argparse
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench import candidates_of, delete_results
from benchmarks.processes import Candidate, run
from oddsound_workbench.local import built as deployment

GROUPS = {
    "scikit-learn": "sklearn narwhals joblib threadpoolctl",
    "SciPy": "scipy",
    "NumPy": "numpy",
    "librosa": "librosa lazy_loader pooch platformdirs packaging msgpack decorator numba resampy"
    " samplerate",
    "libsndfile, soxr": "soundfile _soundfile _cffi_backend cffi soxr",
    "boto3": "boto3 botocore s3transfer urllib3 dateutil jmespath six awscrt",
    "Pydantic": "pydantic pydantic_core pydantic_settings annotated_types typing_inspection"
    " typing_extensions dotenv",
    "Powertools": "aws_lambda_powertools",
    "FastAPI, Mangum": "fastapi starlette mangum anyio annotated_doc multipart python_multipart"
    " idna opentelemetry",
    "the library and its handler": "oddsound app",
}
GROUP_OF = {package: group for group, names in GROUPS.items() for package in names.split()}
STANDARD = "Python's own"
NO_IMPORT = "no import: interpreter, clients, S3, loading, prediction"
LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)


def imported(candidate: Candidate, log: Path) -> dict[str, float]:
    """Milliseconds of each group in one cold start; their sum is the total."""
    made = run(candidate, "-X", "importtime", log=log)
    groups: Counter[str] = Counter()
    for microseconds, module in LINE.findall(log.read_text()):
        groups[GROUP_OF.get(module.partition(".")[0], STANDARD)] += int(microseconds)
    found = {group: spent / 1000 for group, spent in groups.items()}
    return found | {NO_IMPORT: 1000 * made.wall_s - sum(found.values())}


def table(rounds: Sequence[Mapping[str, float]]) -> str:
    """A Markdown table of medians, largest first."""
    names = {name for found in rounds for name in found}
    medians = {name: statistics.median(f.get(name, 0.0) for f in rounds) for name in names}
    total = sum(medians.values())
    lines = ["| What | ms | Share |", "| --- | ---: | ---: |"]
    for name, ms in sorted(medians.items(), key=lambda item: -item[1]):
        lines.append(f"| {name} | {ms:.0f} | {ms / total:.0%} |")
    return "\n".join([*lines, f"| all | {total:.0f} | 100% |"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="?", default="S3 upload, cold", help="default: S3 upload, cold"
    )
    parser.add_argument("--rounds", type=int, default=7, help="number of runs; default: 7")
    arguments = parser.parse_args()
    with deployment.running() as cloud, tempfile.TemporaryDirectory() as name:
        candidates = candidates_of(cloud, Path(name))
        if arguments.what not in candidates:
            raise SystemExit(
                f"{arguments.what!r} is not a candidate; choose one of: {', '.join(candidates)}"
            )
        rounds = []
        for _ in range(arguments.rounds):
            delete_results(cloud.client("s3"))
            rounds.append(imported(candidates[arguments.what], Path(name) / "log"))
    print(table(rounds))


if __name__ == "__main__":
    main()
