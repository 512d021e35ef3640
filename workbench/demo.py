"""The main job, start to end: learn what is normal, serve, send recordings, print the answers.

Nothing is faked: a detector is trained on synthesised recordings of a fan in order, the real
service runs in a process of its own, and a real HTTP client talks to it.
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
from rich.console import Console
from rich.table import Table

from workbench import training
from workbench.synthesis import write_fan

TRAINING_RECORDINGS = 24
console = Console()


def main() -> None:
    """Run the demo. Raises SystemExit(1) where an answer is not what a user would expect."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.rule("1. Learn how the fan sounds when it is in order")
        models = _train(folder)
        sent = _recordings(folder / "sent")
        console.rule("2. Start the service")
        with _service(models) as url, httpx2.Client(base_url=url, timeout=60) as client:
            console.print(f"{url} answers: {client.get('/').json()}")
            console.rule("3. Send recordings that it has not heard")
            answers = [_post(client, path) for path, _ in sent]
            _show(sent, answers)
            console.rule("4. Send what is no recording")
            refused = client.post("/predict-anomaly", files={"file": ("notes.txt", b"Dear fan,")})
            console.print(f"HTTP {refused.status_code}: {refused.json()}")
    expected = ["anomaly" if faulty else "normal" for _, faulty in sent]
    if [answer["prediction"] for answer in answers] != expected or refused.status_code != 415:
        console.print("[red]These are not the answers that were expected.[/red]")
        raise SystemExit(1)
    console.print("\nThe service is stopped. Your own turn: [bold]make serve[/bold], then")
    console.print("curl -F file=@recording.wav http://127.0.0.1:8000/predict-anomaly")


def _train(folder: Path) -> Path:
    normal, models = folder / "normal", folder / "models" / "models.json"
    for seed in range(TRAINING_RECORDINGS):
        write_fan(normal / f"{seed:02}.wav", seed, faulty=False)
    trained = training.train(training.Plan(normal, "fan", models, description="A demo fan."))
    false_alarms = trained.result.metrics()["false_alarm_rate"]
    console.print(
        f"Trained on {TRAINING_RECORDINGS} recordings of 5 s; of unseen normal ones,"
        f" {false_alarms:.0%} would raise an alarm."
    )
    return models


def _recordings(folder: Path) -> list[tuple[Path, bool]]:
    """Two of the fan in order and two with a bearing fault, of other seeds than the training's."""
    made = []
    for seed, faulty in [(901, False), (902, False), (903, True), (904, True)]:
        kind = "bearing-fault" if faulty else "in-order"
        made.append((write_fan(folder / f"{kind}-{seed}.wav", seed, faulty=faulty), faulty))
    return made


@contextmanager
def _service(models: Path) -> Iterator[str]:
    """`audio-anomaly serve` on a free port. Gives its URL."""
    command = [sys.executable, "-m", "workbench.cli", "serve", "--port", "0", "--json"]
    command += ["--models", str(models)]
    # The demo's own settings, not those of the shell it was started from.
    environment = {k: v for k, v in os.environ.items() if k != "DEFAULT_MODEL_NAME"}
    environment["PYTHONUNBUFFERED"] = "1"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield json.loads(process.stdout.readline() if process.stdout else "")["url"]
        finally:
            process.terminate()


def _post(client: httpx2.Client, path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        answer = client.post("/predict-anomaly", files={"file": (path.name, file)})
    answer.raise_for_status()
    body: dict[str, object] = answer.json()
    return body


def _show(sent: list[tuple[Path, bool]], answers: list[dict[str, object]]) -> None:
    table = Table("recording", "prediction", "anomaly score", "latency")
    for (path, _), answer in zip(sent, answers, strict=True):
        colour = "red" if answer["is_anomaly"] else "green"
        table.add_row(
            path.name,
            f"[{colour}]{answer['prediction']}[/{colour}]",
            f"{answer['anomaly_score']:.4f}",
            f"{answer['latency_ms']:.0f} ms",
        )
    console.print(table)
    console.print("The last answer, whole:", answers[-1])


if __name__ == "__main__":
    main()
