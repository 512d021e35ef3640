"""The main job from start to end: train, serve, send recordings, watch a fleet, print the answers.

A detector is trained on synthesised recordings of a normal fan; the real service runs in a
separate process with a local S3 and SQS, and real clients use it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.table import Table

import oddsound
from oddsound_workbench import demo_fleet, training
from oddsound_workbench.local.aws import aws_client
from oddsound_workbench.synthesis import write_fan

TRAINING_RECORDINGS = 24
RESULT_TIMEOUT_S = 60
console = Console()


def main() -> None:
    """Run the demo. Raises SystemExit(1) if an answer is not the expected one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.rule("1. Train a detector on recordings of a normal fan")
        models = _train(folder)
        normal = write_fan(folder / "normal.wav", 901, faulty=False)
        faulty = write_fan(folder / "bearing-fault.wav", 902, faulty=True)
        console.rule("2. Start the stack: the HTTP service, buckets, queues")
        with _stack(models) as cloud, httpx2.Client(base_url=cloud["url"], timeout=60) as client:
            console.print(f"{cloud['url']} answers: {client.get('/').json()}")
            console.rule("3. Send two new recordings over HTTP")
            answers = [_post(client, path) for path in (normal, faulty)]
            console.print({name: answers[1][name] for name in answers[1] if name != "profile"})
            console.rule("4. Upload one to the input bucket, request one by a message")
            s3, sqs = (aws_client(name, cloud["endpoint_url"]) for name in ("s3", "sqs"))
            s3.upload_file(str(faulty), cloud["input_bucket"], "hall-3/fan.wav")
            s3.upload_file(str(normal), cloud["input_bucket"], "archive/fan.bin")
            message = {"bucket": cloud["input_bucket"], "key": "archive/fan.bin"}
            sqs.send_message(QueueUrl=cloud["jobs_queue_url"], MessageBody=json.dumps(message))
            answers += [_result(client, key) for key in ("hall-3/fan.wav", "archive/fan.bin")]
            _show(answers)
            console.rule("5. Send a file that is not a recording")
            refused = client.post("/predict-anomaly", files={"file": ("notes.txt", b"Dear fan,")})
            console.print(f"HTTP {refused.status_code}: {refused.json()}")
        console.rule("6. Four weeks of a fleet: history, states, alarms")
        course = _fleet(models, folder)
    expected = ["normal", "anomaly", "anomaly", "normal"]
    as_expected = [answer["prediction"] for answer in answers] == expected
    if not as_expected or refused.status_code != 415 or course.alarm() is None:
        console.print("[red]These are not the expected answers.[/red]")
        raise SystemExit(1)
    console.print(
        "\nThe stack is stopped. To try it: [bold]make serve[/bold], then in another shell"
    )
    console.print("curl -F file=@recording.wav http://127.0.0.1:8000/predict-anomaly")


def _train(folder: Path) -> Path:
    normal, models = folder / "normal", folder / "models" / "models.json"
    for seed in range(TRAINING_RECORDINGS):
        write_fan(normal / f"{seed:02}.wav", seed, faulty=False)
    trained = training.train(training.Plan(normal, "fan", models, description="A demo fan."))
    found = trained.result.metrics()
    interval = found["false_alarm_rate_interval"]
    console.print(
        f"Trained on {TRAINING_RECORDINGS} recordings of 5 s. False-alarm rate on normal recordings"
        f" that were not used for training: {found['false_alarm_rate']:.0%}"
        f" (90 % interval: {100 * interval['low']:.0f} to {100 * interval['high']:.0f} %)."
    )
    return models


def _fleet(models: Path, folder: Path) -> demo_fleet.Course:
    """Let a fleet run for four weeks, and print what became of it."""
    place = folder / "fleet"
    place.mkdir()
    course = demo_fleet.simulate(oddsound.load_model("fan", models), place)
    console.print(
        f"{course.recordings} recordings of {len(course.states)} fans, two a day; one begins to"
        " fail in the third week, the recorder of another stops in the fourth:"
    )
    demo_fleet.show(course, console)
    return course


@contextmanager
def _stack(models: Path) -> Iterator[dict[str, Any]]:
    """Run `oddsound serve` on a free port. Yields the JSON that it prints."""
    command = [sys.executable, "-m", "oddsound_workbench.cli", "serve", "--port", "0", "--json"]
    command += ["--models", str(models), "--in-memory"]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                process.wait()
                log.seek(0)
                raise SystemExit(f"the stack did not start:\n{log.read()}")
            yield json.loads(line)
        finally:
            process.terminate()


def _post(client: httpx2.Client, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        answer = client.post("/predict-anomaly", files={"file": (path.name, file)})
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def _result(client: httpx2.Client, key: str) -> dict[str, Any]:
    """Wait for the stored result of a key, and return its prediction."""
    deadline = time.monotonic() + RESULT_TIMEOUT_S
    while (answer := client.get(f"/results/{key}")).status_code == 404:
        if time.monotonic() > deadline:
            raise SystemExit(f"no result of {key} within {RESULT_TIMEOUT_S} s: {answer.text}")
        time.sleep(0.1)
    answer.raise_for_status()
    prediction: dict[str, Any] = answer.json()["prediction"]
    return prediction


def _show(answers: list[dict[str, Any]]) -> None:
    ways = ("HTTP, normal", "HTTP, bearing fault", "upload, bearing fault", "message, normal")
    table = Table("way in, recording", "prediction", "anomaly score", "latency")
    for way, answer in zip(ways, answers, strict=True):
        colour = "red" if answer["is_anomaly"] else "green"
        table.add_row(
            way,
            f"[{colour}]{answer['prediction']}[/{colour}]",
            f"{answer['anomaly_score']:.4f}",
            f"{answer['latency_ms']:.0f} ms",
        )
    console.print(table)


if __name__ == "__main__":
    main()
