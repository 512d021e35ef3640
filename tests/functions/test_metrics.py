"""GET /metrics, read with the parsers of Prometheus's own client library."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from functions.api.app import handler
from oddsound import __version__, pipeline, runtime
from oddsound.http import series
from oddsound.http.app import create_app
from oddsound_workbench.deploy.events import through_api
from tests.cloud import FAULTY, NORMAL, LambdaContext
from tests.pages import page, table

WAV = {"content-type": "audio/wav"}
Labels = frozenset[tuple[str, str]]


@pytest.fixture
def client(configured: Path) -> Iterator[TestClient]:
    with TestClient(create_app(), raise_server_exceptions=False) as made:
        yield made


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """The value of every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def values(client: TestClient, name: str) -> dict[Labels, float]:
    found = samples(client.get("/metrics").text)
    return {labels: value for (each, labels), value in found.items() if each == name}


def labels(**named: str) -> Labels:
    return frozenset(named.items())


def requests(client: TestClient) -> dict[tuple[str, ...], float]:
    """Number of requests by method, route and status, without those of /metrics."""
    found = values(client, "oddsound_http_requests_total")
    named = {tuple(dict(sorted(key)).values()): value for key, value in found.items()}
    return {key: value for key, value in named.items() if key[1] != "/metrics"}


def test_requests_are_counted_by_method_route_and_status(client: TestClient) -> None:
    client.get("/models")
    client.head("/models")
    client.get("/models", params={"modle": "fan"})
    client.get("/results/hall-3/a.wav")
    client.get("/results/b.wav")
    client.post("/predict-anomaly", content=b"no sound", headers=WAV)
    assert requests(client) == {
        ("GET", "/models", "200"): 2,
        ("GET", "/models", "422"): 1,
        ("GET", "/results/{key}", "501"): 2,
        ("POST", "/predict-anomaly", "415"): 1,
    }
    assert values(client, "oddsound_http_requests_in_progress") == {labels(): 1}


def test_the_time_of_requests_is_counted_with_them(client: TestClient) -> None:
    client.post("/predict-anomaly", content=NORMAL, headers=WAV)
    route = {"method": "POST", "route": "/predict-anomaly", "status": "200"}
    name = "oddsound_http_request_duration_seconds"
    assert values(client, f"{name}_count")[labels(**route)] == 1
    assert values(client, f"{name}_bucket")[labels(**route, le="+Inf")] == 1
    assert 0 < values(client, f"{name}_sum")[labels(**route)] < 60


def test_predictions_are_counted_by_model_and_verdict(client: TestClient) -> None:
    for sound in (NORMAL, FAULTY, FAULTY):
        client.post("/predict-anomaly", content=sound, headers=WAV)
    client.post("/predict-anomaly?model_name=bearing", content=FAULTY, headers=WAV)
    assert values(client, "oddsound_predictions_total") == {
        labels(model="fan", verdict="normal"): 1,
        labels(model="fan", verdict="anomaly"): 2,
        labels(model="bearing", verdict="faulty"): 1,
    }
    assert values(client, "oddsound_sound_seconds_total") == {
        labels(model="fan"): pytest.approx(6, abs=0.01),
        labels(model="bearing"): pytest.approx(2, abs=0.01),
    }
    assert values(client, "oddsound_prediction_duration_seconds_count") == {
        labels(model="fan"): 3,
        labels(model="bearing"): 1,
    }


def test_what_a_client_makes_up_is_no_label(client: TestClient) -> None:
    for number in range(3):
        made_up = f"made-up-{number}"
        client.get(f"/{made_up}")
        client.request(made_up.upper(), "/models")
        client.get(f"/results/{made_up}.wav")
        client.get(f"/machines/{made_up}/history")
        client.get(f"/ui/{made_up}.js")
        client.get("/models", params={made_up: made_up})
        names = {"model_name": made_up, "machine": made_up}
        client.post("/predict-anomaly", data=names, files={"file": (made_up, NORMAL)})
        client.post(
            "/predict-anomaly", data={"machine": made_up}, files={"file": (made_up, NORMAL)}
        )
    text = client.get("/metrics").text
    assert "made-up" not in text.lower()
    assert {key[1] for key in requests(client)} == {
        "none",
        "/models",
        "/results/{key}",
        "/machines/{machine_id}/history",
        "/ui/{name}",
        "/predict-anomaly",
    }
    assert {key[0] for key in requests(client)} == {"GET", "POST", "other"}


def test_an_unexpected_error_counts_as_500(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr(pipeline, "predict", fail)
    client.post("/predict-anomaly", content=NORMAL, headers=WAV)
    assert requests(client) == {("POST", "/predict-anomaly", "500"): 1}
    assert values(client, "oddsound_predictions_running") == {labels(): 0}
    assert values(client, "oddsound_predictions_waiting") == {labels(): 0}


def test_predictions_that_wait_and_run_are_shown(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, end = threading.Semaphore(0), threading.Event()
    predict = pipeline.predict

    def slow(*arguments: object, **named: object) -> object:
        running.release()
        assert end.wait(60)
        return predict(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "predict", slow)
    at_once = int(client.app.state.predictions.computing)  # type: ignore[attr-defined]
    send = [
        threading.Thread(
            target=client.post,
            args=("/predict-anomaly",),
            kwargs={"content": NORMAL, "headers": WAV},
        )
        for _ in range(at_once + 1)
    ]
    for thread in send:
        thread.start()
    for _ in range(at_once):
        assert running.acquire(timeout=60)
    deadline = time.monotonic() + 60
    while values(client, "oddsound_predictions_waiting") != {labels(): 1}:
        assert time.monotonic() < deadline
    assert values(client, "oddsound_predictions_running") == {labels(): at_once}
    assert values(client, "oddsound_prediction_places_taken") == {labels(): at_once + 1}
    places = at_once + runtime.settings().max_waiting_requests
    assert values(client, "oddsound_prediction_places") == {labels(): places}
    end.set()
    for thread in send:
        thread.join()
    assert values(client, "oddsound_prediction_places_taken") == {labels(): 0}
    assert values(client, "oddsound_predictions_running") == {labels(): 0}
    assert values(client, "oddsound_predictions_waiting") == {labels(): 0}


def test_both_text_formats_are_valid(client: TestClient) -> None:
    client.post("/predict-anomaly", content=NORMAL, headers=WAV)
    plain = client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = {"accept": "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"}
    open_metrics = client.get("/metrics", headers=accept)
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    families = {f.name for f in openmetrics.text_string_to_metric_families(open_metrics.text)}  # type: ignore[no-untyped-call]
    assert {"oddsound_http_requests", "oddsound_predictions", "process_cpu_seconds"} <= families
    build = labels(version=__version__, python=".".join(map(str, sys.version_info[:3])))
    assert values(client, "oddsound_build_info") == {build: 1}


@pytest.mark.parametrize(
    "accept",
    [
        *("application/openmetrics-text; version=banana", "text/plain; version=99; escaping="),
        *(
            "application/openmetrics-text; version=1.0.0; escaping=zzz",
            ",,;;=",
            "text/plain; version",
        ),
    ],
)
def test_an_odd_accept_header_gets_a_text_that_can_be_parsed(
    client: TestClient, accept: str
) -> None:
    answer = client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    assert "zzz" not in answer.headers["content-type"]
    assert "oddsound_build_info" in answer.text


def test_two_services_of_a_process_count_apart(configured: Path) -> None:
    with TestClient(create_app()) as one, TestClient(create_app()) as other:
        one.get("/models")
        assert requests(one) == {("GET", "/models", "200"): 1}
        assert requests(other) == {}


def test_an_unknown_parameter_is_refused(client: TestClient) -> None:
    assert client.get("/metrics?nmae=x").status_code == 422


def test_api_gateway_has_no_such_route(configured: Path) -> None:
    answer = handler(through_api("GET", "/metrics", {}), LambdaContext())
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["error"] == "NotFound"


def test_without_the_package_the_answer_says_what_to_install(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert client.post("/predict-anomaly", content=NORMAL, headers=WAV).status_code == 200
    answer = client.get("/metrics")
    assert answer.status_code == 501
    assert answer.json()["detail"].endswith("pip install 'oddsound[serve]'")


COUNTING = """
import sys
from fastapi.testclient import TestClient
from oddsound.http.app import create_app
client = TestClient(create_app())
for _ in range(int(sys.argv[1])):
    client.get("/models")
print(client.get("/metrics").text)
"""


@pytest.mark.slow
def test_the_processes_of_one_service_are_counted_together(
    configured: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    texts = [
        subprocess.run(
            [sys.executable, "-c", COUNTING, str(number)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        for number in (1, 2)
    ]
    key = ("oddsound_http_requests_total", labels(method="GET", route="/models", status="200"))
    assert [samples(text)[key] for text in texts] == [1, 3]
    info = [
        value for (name, _), value in samples(texts[1]).items() if name == "oddsound_build_info"
    ]
    assert info == [1]


def test_the_names_are_those_of_the_documentation() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", table("Series", page("operations")), re.MULTILINE))
    made = series.Series().text("")[0].decode()
    own = {f.name for f in text_string_to_metric_families(made) if f.name.startswith("oddsound_")}
    assert {name.removesuffix("_total") for name in listed} == own
