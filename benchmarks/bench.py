"""Measures the figures of docs/performance.md in one run: `make bench`.

    python benchmarks/bench.py [--rounds 7] [--write benchmarks/results.json]

It needs the artifacts that `make bench` builds. Each cold start is a new process that runs a
built function with the built layers and no other package on the path. S3 is moto's server, which
also stores the models.
"""

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import joblib
import soundfile
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.processes import Candidate, Run, ratio, rounds, run
from benchmarks.reference_naive import features
from oddsound_workbench.deploy import events, sizes
from oddsound_workbench.local import built as deployment
from oddsound_workbench.local.aws import CREDENTIALS
from oddsound_workbench.local.built import Deployment
from oddsound_workbench.local.emulator import RUNTIME
from oddsound_workbench.synthesis import SAMPLE_RATE, fan

NAIVE = ROOT / "build" / "naive"
BENCHMARKS = Path(__file__).parent
LOCAL_MODELS = str(ROOT / "models" / "models.json")
WARM_CALLS = 31
LIMIT_BYTES = 240_000_000
UPLOAD, MESSAGE, REQUEST = "S3 upload, cold", "SQS message, cold", "POST /predict-anomaly, cold"
JOBLIB, JOBLIB_MODELS = "S3 upload with joblib files, cold", "joblib-only.json"
MODELS, MODELS_FROM_S3 = "GET /models, cold", "GET /models from S3, cold"
PLAIN = "plain handler, cold"
IMPORTS, HTTP = "three imports", "FastAPI and Mangum"
HTTP_AND_S3 = "FastAPI, Mangum and a client for S3"
RATIOS = (
    (UPLOAD, IMPORTS, 0.65),
    (MESSAGE, IMPORTS, 0.65),
    (REQUEST, IMPORTS, 0.75),
    (JOBLIB, IMPORTS, 1.3),
    (UPLOAD, PLAIN, 0.25),
    (MESSAGE, PLAIN, 0.25),
    (REQUEST, PLAIN, 0.25),
    (MODELS, HTTP, 1.3),
    (MODELS_FROM_S3, HTTP, None),
    (MODELS_FROM_S3, HTTP_AND_S3, 1.3),
)
"""Candidate, baseline, and the maximum of their ratio, if there is a target."""


def main() -> None:
    """Measure, print the tables, and write the figures as JSON if requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="runs of each candidate; default: 7")
    parser.add_argument("--write", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    with deployment.running() as cloud, tempfile.TemporaryDirectory() as folder:
        load_before = os.getloadavg()[0]
        runs = cold(cloud, Path(folder), arguments.rounds)
        figures = {
            "machine": machine() | {"load": [round(load_before, 1), round(os.getloadavg()[0], 1)]},
            "rounds": arguments.rounds,
            "seconds": {name: seconds(found) for name, found in runs.items()},
            "ratios": [ratio_of(runs, *row) for row in RATIOS],
            "bytes": {"limit": LIMIT_BYTES, PLAIN: sizes.by_package(NAIVE / "python").total()}
            | {name: sizes.parts(name).total() for name in sizes.ARCHITECTURES},
            "warm": warm(cloud),
        }
    print(table(figures), markdown_rows(figures), sep="\n\n")
    if arguments.write:
        arguments.write.write_text(json.dumps(figures, indent=2) + "\n")


def candidates_of(cloud: Deployment, folder: Path) -> dict[str, Candidate]:
    """All cold starts and their baselines. folder : for the event files"""
    made = events.events()
    of_one_message = {"Records": made["sqs_batch"]["Records"][:1]}
    files = {}
    for name, event in {**made, "sqs_message": of_one_message}.items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(json.dumps(event))
    layers = (cloud.opt / "python", RUNTIME)
    common = CREDENTIALS | {"AWS_ENDPOINT_URL": cloud.endpoint_url}

    def function(name: str, event: str, **environment: str) -> Candidate:
        found = cloud.functions[name]
        return Candidate(
            (str(files[event]),),
            (cloud.build / found.code, *layers),
            common | found.environment | environment,
        )

    def imports(names: str) -> Candidate:
        return Candidate.importing(names, layers, common)

    return {
        IMPORTS: imports("numpy, scipy.signal, sklearn.ensemble"),
        UPLOAD: function("S3TriggerFunction", "s3_put"),
        MESSAGE: function("SqsTriggerFunction", "sqs_message"),
        REQUEST: function("ApiFunction", "api_predict"),
        JOBLIB: function("S3TriggerFunction", "s3_put", MODELS_CONFIG_PATH=joblib_models(cloud)),
        PLAIN: naive(files["s3_put"], common),
        HTTP: imports("fastapi, mangum"),
        MODELS: function("ApiFunction", "api_get_models", MODELS_CONFIG_PATH=LOCAL_MODELS),
        HTTP_AND_S3: imports("fastapi, mangum, boto3; boto3.Session().client('s3')"),
        MODELS_FROM_S3: function("ApiFunction", "api_get_models"),
    }


def joblib_models(cloud: Deployment) -> str:
    """URL of a second models.json beside the first, whose entries have no compiled files."""
    bucket, s3 = events.MODELS_BUCKET, cloud.client("s3")
    entries = json.loads(s3.get_object(Bucket=bucket, Key="models.json")["Body"].read())
    for entry in entries.values():
        del entry["compiled_path"], entry["sha256"]["compiled_path"]
    s3.put_object(Bucket=bucket, Key=JOBLIB_MODELS, Body=json.dumps(entries).encode())
    return f"s3://{bucket}/{JOBLIB_MODELS}"


def cold(cloud: Deployment, folder: Path, number: int) -> dict[str, list[Run]]:
    """The measured runs of every candidate, by name."""
    candidates, s3 = candidates_of(cloud, folder), cloud.client("s3")
    delete_results(s3)
    check({name: run(candidate).answer for name, candidate in candidates.items()})
    return rounds(candidates, number, before=lambda: delete_results(s3))


def check(answers: Mapping[str, Any]) -> None:
    """Check the answers, because a call that fails is fast. Raises RuntimeError."""
    requests = [name for name in answers if name.startswith(("GET", "POST"))]
    found: dict[str, object] = {
        **{name: [result["status"] for result in answers[name]] for name in (UPLOAD, JOBLIB)},
        MESSAGE: answers[MESSAGE],
        **{name: answers[name]["statusCode"] for name in requests},
    }
    expected: dict[str, object] = {
        **{name: ["succeeded"] for name in (UPLOAD, JOBLIB)},
        MESSAGE: {"batchItemFailures": []},
        **dict.fromkeys(requests, 200),
    }
    for name, wanted in expected.items():
        if found[name] != wanted:
            raise RuntimeError(f"{name} returned {answers[name]}, expected {wanted}")


def delete_results(s3: Any) -> None:
    """Delete all results: a recording with a stored result is not scored again."""
    for stored in s3.list_objects_v2(Bucket=events.RESULTS_BUCKET).get("Contents", []):
        s3.delete_object(Bucket=events.RESULTS_BUCKET, Key=stored["Key"])


def naive(event: Path, environment: Mapping[str, str]) -> Candidate:
    """The tutorial's handler, with the packages that pip installs and its own model."""
    model = NAIVE / "model.joblib"
    if not model.exists():
        labels = ["normal"] * 6 + ["faulty"] * 6
        rows = [features(fan(seed, faulty=seed >= 6), SAMPLE_RATE) for seed in range(12)]
        joblib.dump(
            make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0)).fit(
                rows, labels
            ),
            model,
        )
    return Candidate(
        (str(event),),
        (BENCHMARKS / "naive", BENCHMARKS, NAIVE / "python", RUNTIME),
        {**environment, "MODEL_PATH": str(model), "RESULTS_BUCKET": events.RESULTS_BUCKET},
    )


def warm(cloud: Deployment) -> dict[str, Any]:
    """Median ms of POST /predict-anomaly for 10 s of audio in Lambda's emulator, by part.

    The answer contains the latency of the prediction. Its steps are measured in another process
    with the same layer. `framework` is the rest: the emulator, Lambda's runtime, Mangum, FastAPI.
    """
    file = io.BytesIO()
    sound = fan(1, faulty=False, duration_s=10)
    soundfile.write(file, sound, SAMPLE_RATE, "PCM_16", format="WAV")
    event = events.through_api(
        "POST",
        "/predict-anomaly",
        {"Content-Type": f"multipart/form-data; boundary={events.BOUNDARY}"},
        events.multipart(file.getvalue()),
    )
    total, inside = [], []
    with cloud.instance("ApiFunction") as instance, tempfile.TemporaryDirectory() as folder:
        recording, request = Path(folder) / "fan.wav", Path(folder) / "request.json"
        recording.write_bytes(file.getvalue())
        request.write_text(json.dumps({"path": str(recording), "calls": WARM_CALLS}))
        instance.invoke(event)
        for _ in range(WARM_CALLS):
            started = time.perf_counter()
            answer = instance.invoke(event)
            total.append(1000 * (time.perf_counter() - started))
            inside.append(json.loads(answer["body"])["latency_ms"])
        steps = Candidate(
            (str(request),),
            (BENCHMARKS / "steps", cloud.opt / "python", RUNTIME),
            cloud.functions["ApiFunction"].environment | {"MODELS_CONFIG_PATH": LOCAL_MODELS},
        )
        parts = run(steps).answer
    whole, prediction = statistics.median(total), statistics.median(inside)
    shares = {name: prediction * ms / sum(parts.values()) for name, ms in parts.items()}
    ms = {"framework": whole - prediction, **shares}
    return {
        "calls": WARM_CALLS,
        "median_ms": round(whole, 1),
        "isolated": instance.isolated,
        "ms": {name: round(value, 2) for name, value in ms.items()},
        "share": {name: round(value / whole, 3) for name, value in ms.items()},
    }


def seconds(runs: list[Run]) -> dict[str, float]:
    """Median wall-clock and processor time of the runs, in seconds."""
    return {
        "wall": round(statistics.median(run.wall_s for run in runs), 3),
        "cpu": round(statistics.median(run.cpu_s for run in runs), 3),
    }


def ratio_of(
    runs: dict[str, list[Run]], name: str, base: str, target: float | None
) -> dict[str, Any]:
    """One row: the ratio of wall-clock times, to which the target applies, and of processor times,
    which vary less.
    """
    return {
        "what": name,
        "over": base,
        "wall": round(ratio(runs[name], runs[base], lambda run: run.wall_s), 3),
        "cpu": round(ratio(runs[name], runs[base], lambda run: run.cpu_s), 3),
        "target": target,
    }


def machine() -> dict[str, Any]:
    """The machine, and the versions of Python and the packages."""
    names = ("numpy", "scipy", "scikit-learn", "librosa", "fastapi", "boto3")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def table(figures: dict[str, Any]) -> str:
    """All figures as a text table."""
    load = " to ".join(str(value) for value in figures["machine"]["load"])
    lines = [f"medians of {figures['rounds']} rounds; load average {load}", ""]
    lines += [
        f"{name:36} {of['wall']:8.3f} s, {of['cpu']:.3f} s of processor time"
        for name, of in figures["seconds"].items()
    ]
    lines.append("")
    for row in figures["ratios"]:
        target = "" if row["target"] is None else f"at most {row['target']:g}"
        name = f"{row['what']} / {row['over']}"
        lines.append(f"{name:64} {row['wall']:6.2f}  (processor time {row['cpu']:.2f})  {target}")
    lines.append("")
    limit = figures["bytes"]["limit"]
    for name in sizes.ARCHITECTURES:
        lines.append(f"layers and function, {name:7} {figures['bytes'][name]:>15,} of {limit:,}")
    found = figures["warm"]
    shares = ", ".join(
        f"{name} {ms:.1f} ms ({found['share'][name]:.0%})" for name, ms in found["ms"].items()
    )
    lines += ["", f"warm prediction for 10 s of audio: {found['median_ms']} ms: {shares}"]
    return "\n".join(lines)


def markdown_rows(figures: dict[str, Any]) -> str:
    """The rows of the table of cold starts in docs/performance.md."""
    ratios = {(row["what"], row["over"]): f"{row['wall']:.2f}" for row in figures["ratios"]}
    rows = (
        ("an upload, to its stored result", UPLOAD, IMPORTS),
        ("an SQS message, to its stored result", MESSAGE, IMPORTS),
        ("an upload, if the model has only joblib files", JOBLIB, IMPORTS),
        ("a first `POST /predict-anomaly`", REQUEST, IMPORTS),
        ("a first `GET /models`", MODELS, HTTP),
        ("the plain handler, to its stored result", PLAIN, None),
    )
    ratios[PLAIN, PLAIN] = "1.00"
    return "\n".join(
        f"| {text} | {figures['seconds'][name]['wall']:.2f} s | {ratios.get((name, PLAIN), '')}"
        f" | {ratios.get((name, base), '')} |"
        for text, name, base in rows
    )


if __name__ == "__main__":
    main()
