"""What recordings, a stack and a stranger with the key cost: `make costs` prints the tables.

    python -m oddsound_workbench.deploy.costs [--prices FILE] [--seconds 0.06] [--memory-mb 1769]

The prices are those of prices.toml, the limits and numbers of resources those of template.yaml.
How many requests a recording takes was counted; tests/test_costs.py counts them again.
"""

import argparse
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE

PRICES = Path(__file__).with_name("prices.toml")
MONTH_S = 2_630_000
"""Seconds of a month."""

HOURS = 730
CHECKS = HOURS * 12
"""Checks of all machines in a month."""

RECORDING_BYTES = 320_000
"""10 s of 16 kHz, as a WAV file."""

LOG_BYTES = 2000
"""What one recording logs at the level INFO, metrics included."""

METRICS_OF_MODEL = 6
"""Metrics of oddsound.aws.metrics that have a model as their dimension, without SkippedObjects."""


METRICS_OF_STACK = 6
"""ColdStart of two functions, Received, and three of the check of all machines."""


@dataclass(frozen=True)
class Usage:
    """What one recording uses, besides the function.

    gateway, queue, transitions : requests to API Gateway and SQS, transitions of Step Functions
    puts, gets : requests to S3, those of the client included
    write_units, read_units : of DynamoDB, for a recording of a machine
    """

    gateway: int = 0
    queue: int = 0
    transitions: int = 0
    puts: int = 0
    gets: int = 0
    write_units: int = 7
    read_units: int = 14


WAYS = {
    "HTTPS": Usage(gateway=1),
    "upload": Usage(puts=2, gets=4),
    "message": Usage(queue=3, puts=1, gets=4),
    "backfill": Usage(transitions=1, puts=1, gets=4),
}
"""By the way in. A message is sent, received and deleted; its recording is already on S3."""


@dataclass(frozen=True)
class Costs:
    """Costs in USD, from prices, a template, and what one recording takes.

    seconds : of the function, for one recording
    """

    prices: dict[str, Any]
    template: dict[str, Any]
    seconds: float
    memory_mb: int

    @property
    def memory_gb(self) -> float:
        """Lambda's GB have 1024 MB."""
        return self.memory_mb / 1024

    def parameter(self, name: str) -> float:
        """Default of a parameter of the template."""
        return float(self.template["Parameters"][name]["Default"])

    def function(self, seconds: float | None = None) -> float:
        """One invocation."""
        per = self.prices["lambda"]
        duration = self.seconds if seconds is None else seconds
        return float(per["request"] + self.memory_gb * duration * per["gb_second_x86_64"])

    def parts(self, usage: Usage) -> dict[str, float]:
        """One recording of a machine, by service."""
        p = self.prices
        return {
            "Lambda": self.function(),
            "way in": usage.gateway * p["api_gateway"]["request"]
            + usage.queue * p["sqs"]["request"]
            + usage.transitions * p["step_functions"]["transition"],
            "S3": usage.puts * p["s3"]["put"] + usage.gets * p["s3"]["get"],
            "DynamoDB": usage.write_units * p["dynamodb"]["write_unit"]
            + usage.read_units * p["dynamodb"]["read_unit"],
            "logs": LOG_BYTES / 1e9 * p["cloudwatch"]["log_gb"],
        }

    def stack(self) -> dict[str, float]:
        """What a stack costs in a month without any recording."""
        kinds = [resource["Type"] for resource in self.template["Resources"].values()]
        watch, cached = self.prices["cloudwatch"], self.prices["snapstart"]["cached_gb_second"]
        functions = kinds.count(template.FUNCTION_TYPE)
        return {
            f"snapshots of {functions} functions (one version each)": functions
            * self.memory_gb
            * MONTH_S
            * cached,
            f"{kinds.count('AWS::CloudWatch::Alarm')} alarms": kinds.count("AWS::CloudWatch::Alarm")
            * watch["alarm_month"],
            f"{METRICS_OF_STACK} metrics": METRICS_OF_STACK * watch["metric_month"],
            "dashboard": watch["dashboard_month"],
            f"{CHECKS:,} checks of all machines": CHECKS
            * (self.function() + 2 * self.prices["sqs"]["request"]),
        }

    def machine(self) -> dict[str, float]:
        """A machine with one upload an hour, in a month."""
        gb = HOURS * RECORDING_BYTES / 1e9
        restored = self.memory_gb * self.prices["snapstart"]["restored_gb"]
        days = self.parameter("InputRetentionDays")
        return {
            f"{HOURS} uploads": HOURS * sum(self.parts(WAYS["upload"]).values()),
            "a start from the snapshot for each of them, at most": HOURS * restored,
            f"recordings, kept for {days:g} days": gb * days / 30 * self.prices["s3"]["gb_month"],
            f"{METRICS_OF_MODEL} metrics, if it has a model of its own": METRICS_OF_MODEL
            * self.prices["cloudwatch"]["metric_month"],
        }

    def fleet(self, machines: int = 50) -> dict[str, float]:
        """A stack with such machines, which share a model, in a month."""
        *each, metrics = self.machine().values()
        found = {
            "the stack": sum(self.stack().values()),
            "metrics of the model": metrics,
            f"{machines} machines": machines * sum(each),
        }
        total = sum(found.values())
        return found | {"together": total, "for each machine": total / machines}

    def concurrency(self) -> float:
        """One instance of a function that is busy all month."""
        return MONTH_S * self.memory_gb * float(self.prices["lambda"]["gb_second_x86_64"])

    def stranger(self) -> dict[str, float]:
        """The most that somebody with the key can spend in a month, by what they do."""
        quota, longest = self.parameter("QuotaPerMonth"), self.parameter("ApiTimeoutSeconds")
        calls = min(quota, self.parameter("RateLimit") * MONTH_S)
        gateway, s3 = self.prices["api_gateway"]["request"], self.prices["s3"]
        largest_gb = self.parameter("MaxObjectBytes") / 1e9
        kept = self.parameter("InputRetentionDays") / 30
        return {
            f"{calls:,.0f} predictions of {longest:g} s": calls
            * (gateway + self.function(longest)),
            "each unit of concurrency of uploads": self.concurrency(),
            "the 1,000 units of an account": 1000 * self.concurrency(),
            "each million of uploads, requests to S3 only": 1e6 * s3["put"],
            f"each million of uploads of {1000 * largest_gb:g} MB, stored": 1e6
            * largest_gb
            * kept
            * s3["gb_month"],
        }


def tables(costs: Costs) -> Iterator[list[str]]:
    """The tables of docs/operations.md as lines of Markdown."""
    names = ["Lambda", "way in", "S3", "DynamoDB", "logs"]
    yield [
        "| Way in | " + " | ".join(names) + " | A million recordings, USD |",
        "| --- |" + " ---: |" * (len(names) + 1),
        *(
            f"| {way} | "
            + " | ".join(f"{1e6 * parts[name]:.2f}" for name in names)
            + f" | {1e6 * sum(parts.values()):.1f} |"
            for way, parts in ((way, costs.parts(usage)) for way, usage in WAYS.items())
        ),
    ]
    yield _listed("A stack without recordings", costs.stack(), total=True)
    yield _listed("A machine with one recording of 10 s an hour", costs.machine(), total=True)
    yield _listed("50 such machines with one model", costs.fleet(), total=False)
    yield _listed("What somebody with the key does", costs.stranger(), total=False)


def _listed(title: str, found: dict[str, float], *, total: bool) -> list[str]:
    lines = [f"| {title} | USD a month |", "| --- | ---: |"]
    lines += [f"| {name} | {_usd(value)} |" for name, value in found.items()]
    return [*lines, f"| together | {_usd(sum(found.values()))} |"] if total else lines


def _usd(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def load(prices: Path = PRICES, seconds: float = 0.06, memory_mb: int | None = None) -> Costs:
    """The costs of template.yaml; memory_mb : of a function, by default the template's."""
    raw = template.load(TEMPLATE)
    memory = memory_mb or int(raw["Parameters"]["WorkerMemoryMB"]["Default"])
    return Costs(tomllib.loads(prices.read_text(encoding="utf-8")), raw, seconds, memory)


def main() -> None:
    """Print the tables, with the date of the prices."""
    parser = argparse.ArgumentParser(description="Print what the service costs on AWS.")
    parser.add_argument("--prices", type=Path, default=PRICES)
    parser.add_argument(
        "--seconds", type=float, default=0.06, help="of the function, per recording"
    )
    parser.add_argument("--memory-mb", type=int, help="of each function; default: template.yaml")
    given = parser.parse_args()
    costs = load(given.prices, given.seconds, given.memory_mb)
    print(f"Prices of {costs.prices['region']}, read on {costs.prices['read']}:")
    for lines in tables(costs):
        print("", *lines, sep="\n")


if __name__ == "__main__":
    main()
