"""Where the processor time of a warm POST /predict-anomaly goes, beside the prediction itself.

    make bench-framework
    python -m benchmarks.framework [--rounds 101] [--write benchmarks/framework.json]

The requests are events of API Gateway for the handler of functions/api, with ten seconds at 16 kHz
(320 kB) as the body itself and in a form. Each figure is a median over rounds, and every round
measures everything once. The steps are measured on their own; what is left of the whole is routing
and validation by FastAPI, this service's middleware, and asyncio.
"""

import argparse
import base64
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oddsound.threads import limit

limit(1)  # before NumPy is imported

import soundfile
from mangum import Mangum
from starlette.types import Receive, Scope, Send

from benchmarks.long.run import machine
from functions.api.app import handler
from oddsound import pipeline, runtime
from oddsound.http.forms import FormReader
from oddsound.http.gateway import RestApi
from oddsound.http.recording import FIELDS
from oddsound.http.spool import Spool
from oddsound.schemas import Prediction
from oddsound_workbench.deploy import events
from oddsound_workbench.local.function_process import Context
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

RESULTS = Path(__file__).parent / "framework.json"
ROUNDS = 101
DURATION_S = 10
FORM_TYPE = f"multipart/form-data; boundary={events.BOUNDARY}"
RAW, FORM = "raw body", "form"
TARGET_MS = {RAW: 3, FORM: 5}

EVENT, DECODED, PARSED, ANSWER = "event to request", "of it base64", "form", "answer to JSON"
PREDICTION, WHOLE, REST, RUNTIME = "prediction", "whole", "rest", "Lambda's JSON"
BESIDE = "beside the prediction"
ROWS = {
    EVENT: "event to request (Mangum)",
    DECODED: "of it base64",
    PARSED: "form (python-multipart)",
    ANSWER: "answer to JSON (pydantic)",
    REST: "rest: routing, validation, middleware, asyncio",
    BESIDE: "**all beside the prediction**",
    PREDICTION: "the prediction",
    RUNTIME: "Lambda's runtime: JSON of the event and the answer",
}


def main() -> None:
    """Measure, print the table, and save the figures if requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--write", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    os.environ["LOG_LEVEL"] = "ERROR"
    file = io.BytesIO()
    sound = fan(1, faulty=False, duration_s=DURATION_S)
    soundfile.write(file, sound, SAMPLE_RATE, "PCM_16", format="WAV")
    figures = {
        "machine": machine(),
        "rounds": options.rounds,
        "ms": measured(file.getvalue(), options.rounds),
    }
    print(table(figures))
    if options.write:
        options.write.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measured(recording: bytes, rounds: int) -> dict[str, dict[str, float]]:
    """Processor time of each step in ms, by the form of the body."""
    steps = {
        kind: steps_of(body, content_type, recording)
        for kind, body, content_type in (
            (RAW, recording, "audio/wav"),
            (FORM, events.multipart(recording), FORM_TYPE),
        )
    }
    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in each} for kind, each in steps.items()
    }
    for number in range(rounds + 3):
        for kind, each in steps.items():
            for name, step in each.items():
                started = time.process_time()
                step()
                if number >= 3:  # the first rounds import and load
                    found[kind][name].append(1000 * (time.process_time() - started))
    return {
        kind: with_rest({name: statistics.median(times) for name, times in each.items()})
        for kind, each in found.items()
    }


def steps_of(body: bytes, content_type: str, recording: bytes) -> dict[str, Callable[[], Any]]:
    """What is measured for one form of the body."""
    event = events.through_api("POST", "/predict-anomaly", {"Content-Type": content_type}, body)
    context: Any = Context("framework", 600, "request")
    answer = handler(event, context)
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the service returned {answer}")
    prediction = Prediction.model_validate_json(answer["body"])
    event_text, limits, model = json.dumps(event), runtime.limits(), runtime.registry().get()
    reading = Mangum(read_and_answer, lifespan="off", custom_handlers=[RestApi])

    def parse() -> None:
        with Spool(len(body)) as spool:
            reader = FormReader(content_type, spool, FIELDS)
            reader.write(body)
            reader.finish()
            spool.source()

    return {
        WHOLE: lambda: handler(event, context),
        PREDICTION: lambda: pipeline.predict(recording, model, limits),
        EVENT: lambda: reading(event, context),
        DECODED: lambda: base64.b64decode(event["body"]),
        **({PARSED: parse} if content_type == FORM_TYPE else {}),
        ANSWER: lambda: prediction.model_dump_json(),
        RUNTIME: lambda: (json.loads(event_text), json.dumps(answer)),
    }


async def read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that only reads the body: what is measured is Mangum."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def with_rest(ms: dict[str, float]) -> dict[str, float]:
    """The medians with what no step accounts for."""
    beside = ms[WHOLE] - ms[PREDICTION]
    rest = beside - ms[EVENT] - ms.get(PARSED, 0) - ms[ANSWER]
    return {name: round(value, 3) for name, value in {**ms, REST: rest, BESIDE: beside}.items()}


def table(figures: dict[str, Any]) -> str:
    """The table of docs/performance.md."""
    ms = figures["ms"]
    lines = [f"| Processor time in ms | {RAW} | {FORM} |", "| --- | ---: | ---: |"]
    for name, text in ROWS.items():
        cells = (f"{ms[kind][name]:.2f}" if name in ms[kind] else "" for kind in (RAW, FORM))
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
