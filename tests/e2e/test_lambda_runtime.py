"""The built functions in Lambda's runtime: AWS's emulator, its Python client, Lambda's paths.

The probe is a function that tells what it finds; the witness is a real function with a look at
what a call imports. Both run on the built layers, as the real functions do.
"""

import base64
import io
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from oddsound_workbench.deploy import events
from oddsound_workbench.files import EVENTS
from oddsound_workbench.local import emulator
from oddsound_workbench.local.built import MODELS, Deployment
from oddsound_workbench.local.emulator import Slot
from oddsound_workbench.local.function_process import InvocationError
from tests.e2e.probe import librosa_calls

HERE = Path(__file__).parent
LIMIT_BYTES = 6_291_556
"""Lambda passes on no longer answer."""

FUNCTION_OF = {
    "api_get_models": "ApiFunction",
    "api_predict": "ApiFunction",
    "s3_put": "S3TriggerFunction",
    "sqs_batch": "SqsTriggerFunction",
}


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def lists_the_models(answer: Any, _: Deployment) -> None:
    assert answer["statusCode"] == 200
    listed = [model["name"] for model in json.loads(answer["body"])["models"]]
    assert listed == list(json.loads(MODELS.read_text()))


def predicts(answer: Any, _: Deployment) -> None:
    assert answer["statusCode"] == 200
    prediction = json.loads(answer["body"])
    assert prediction["model_name"] == "fan"
    assert 0 <= prediction["anomaly_score"] <= 1


def stores_a_prediction(answer: Any, deployed: Deployment) -> None:
    assert answer is None
    assert stored(deployed, "fan")["status"] == "succeeded"


def returns_the_malformed_message(answer: Any, deployed: Deployment) -> None:
    assert answer == {"batchItemFailures": [{"itemIdentifier": "malformed"}]}
    assert stored(deployed, "fan")["status"] == "succeeded"
    assert stored(deployed, "no-such-model")["status"] == "failed"


CHECK_OF = {
    "api_get_models": lists_the_models,
    "api_predict": predicts,
    "s3_put": stores_a_prediction,
    "sqs_batch": returns_the_malformed_message,
}


def stored(deployed: Deployment, model: str) -> Any:
    key = f"results/{model}/{events.KEY}.json"
    answer = deployed.client("s3").get_object(Bucket=events.RESULTS_BUCKET, Key=key)
    return json.loads(answer["Body"].read())


def forget_results(deployed: Deployment) -> None:
    s3 = deployed.client("s3")
    for result in s3.list_objects_v2(Bucket=events.RESULTS_BUCKET).get("Contents", []):
        s3.delete_object(Bucket=events.RESULTS_BUCKET, Key=result["Key"])


def without_latency(answer: Any) -> Any:
    """A call's own time is the one thing that may differ from call to call."""
    if isinstance(answer, dict) and "body" in answer:
        body = {k: v for k, v in json.loads(answer["body"]).items() if k != "latency_ms"}
        return answer | {"body": body, "headers": None}
    return answer


def test_every_sample_event_has_its_function() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == set(FUNCTION_OF) == set(CHECK_OF)


@pytest.mark.parametrize("name", FUNCTION_OF)
def test_a_sample_event_cold_and_warm(deployed: Deployment, name: str) -> None:
    with deployed.slot(FUNCTION_OF[name]) as slot:
        answers = []
        for _ in range(2):
            forget_results(deployed)
            answers.append(slot.invoke(event(name)))
            CHECK_OF[name](answers[-1], deployed)
        assert without_latency(answers[0]) == without_latency(answers[1])
        assert len(slot.init_ms()) == 1
        assert "Warning" not in slot.log()


@pytest.mark.parametrize("name", FUNCTION_OF)
def test_a_warm_call_loads_nothing(deployed: Deployment, name: str, tmp_path: Path) -> None:
    function = deployed.functions[FUNCTION_OF[name]]
    shutil.copy(HERE / "witness" / "app.py", tmp_path)
    shutil.copy(deployed.build / function.code / "app.py", tmp_path / "function.py")
    with deployed.slot(function.name, code=tmp_path) as slot:
        forget_results(deployed)
        assert slot.invoke(event(name))["imported"] != []
        forget_results(deployed)
        assert slot.invoke(event(name))["imported"] == []


@pytest.fixture(scope="module")
def probe(deployed: Deployment) -> Iterator[Slot]:
    with deployed.slot("ApiFunction", code=HERE / "probe") as slot:
        yield slot


@pytest.fixture
def isolated(probe: Slot) -> Slot:
    """The probe, where its paths are Lambda's and the rest of the machine is not there."""
    if not probe.isolated:
        pytest.skip(f"no root of its own for a function: {emulator.isolation_refused()}")
    return probe


def ask(slot: Slot, do: str, *arguments: Any) -> Any:
    return slot.invoke({"do": do, "with": arguments})


def test_a_function_has_what_the_template_gives_it(probe: Slot, deployed: Deployment) -> None:
    found = ask(probe, "describe")
    function = deployed.functions["ApiFunction"]
    assert found["memory_mb"] == function.memory_mb == 1769
    assert 0 < found["remaining_ms"] <= 1000 * function.timeout_s
    assert function.environment.items() <= found["environment"].items()
    assert not found["home"]
    assert not any("site-packages" in path for path in found["path"])


def test_nothing_is_there_but_what_lambda_has(isolated: Slot) -> None:
    found = ask(isolated, "describe")
    assert found["path"][:3] == ["/var/task", "/opt/python", "/var/runtime"]
    assert all(path.startswith("/var/lang/lib/python3") for path in found["path"][3:])
    assert found["folder"] == "/var/task"
    assert not found["shared_memory"]
    own = {"dev", "home", "opt", "proc", "tmp", "var"}
    assert set(found["root"]) <= own.union(emulator.SYSTEM_FOLDERS)


@pytest.mark.parametrize(
    "path",
    ["/var/task/new", "/opt/new", "/opt/python/numpy/__init__.py", "/var/runtime/new", "/new"],
)
def test_only_tmp_can_be_written(isolated: Slot, path: str) -> None:
    assert ask(isolated, "write", path) == "Read-only file system"


def test_nothing_is_written_beside_the_code(deployed: Deployment, tmp_path: Path) -> None:
    """On this machine's own paths, where it could be: no bytecode and no caches appear."""
    opt = tmp_path / "opt"
    shutil.copytree(deployed.opt, opt)
    before = set(opt.rglob("*"))
    code = shutil.copytree(deployed.build / "ApiFunction", tmp_path / "code")
    slot = Slot(
        code,
        "app.handler",
        opt,
        deployed.slot("ApiFunction").environment | {"PYTHONDONTWRITEBYTECODE": ""},
        timeout_s=60,
        isolated=False,
    )
    with slot:
        predicts(slot.invoke(event("api_predict")), deployed)
    assert set(opt.rglob("*")) == before
    # Bytecode is written here: that of the one file that has none.
    assert [path.name for path in code.rglob("*.pyc")] == ["app.cpython-313.pyc"]


def test_every_public_module_can_be_imported(probe: Slot) -> None:
    """All that a model may be made of; what is left out must be missed by nothing."""
    failures = ask(probe, "import_all", "sklearn", "scipy", "numpy", "librosa")
    optional = {"cupy", "dask", "torch", "matplotlib"}  # not among the requirements
    wanted = [f"No module named '{name}'" for name in optional]
    assert {name: why for name, why in failures.items() if why not in wanted} == {}
    assert len(failures) == len(optional)


@pytest.mark.parametrize("package", ["numpy", "scipy", "scipy.signal", "scipy.stats"])
def test_every_public_name_is_there(probe: Slot, package: str) -> None:
    """SciPy and scikit-learn import all of NumPy so; one part that is missing breaks both."""
    assert len(ask(probe, "star_import", package)) > 20


@pytest.mark.parametrize("name", librosa_calls.NEED_NO_COMPILER)
def test_librosa_answers_the_same_without_a_compiler(probe: Slot, name: str) -> None:
    there = np.load(io.BytesIO(base64.b64decode(ask(probe, "listen", name))))
    here = np.asarray(librosa_calls.CALLS[name]())
    assert there.dtype == here.dtype
    # Bit-identical on one machine; BLAS may sum in another order with other threads.
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", librosa_calls.NEED_A_COMPILER)
def test_librosa_says_what_would_need_a_compiler(probe: Slot, name: str) -> None:
    assert ask(probe, "listen", name).startswith("CompilerMissingError: librosa.")


def test_a_compiler_is_refused_by_name(probe: Slot) -> None:
    with pytest.raises(InvocationError, match=r"^CompilerMissingError: .*double is compiled by"):
        ask(probe, "compile_with_numba")


def test_a_slot_is_one_process(deployed: Deployment, probe: Slot) -> None:
    one = ask(probe, "describe")
    with deployed.slot("ApiFunction", code=HERE / "probe") as other:
        two, again = ask(other, "describe"), ask(probe, "describe")
    assert one["process"] == again["process"] != two["process"]


def test_the_emulator_and_the_function_are_alone(isolated: Slot) -> None:
    assert ask(isolated, "describe")["processes"] == 2


def test_each_slot_has_a_tmp_of_its_own(deployed: Deployment, isolated: Slot) -> None:
    assert ask(isolated, "write", "/tmp/of-the-probe") == "written"
    assert "of-the-probe" in ask(isolated, "describe")["tmp"]
    with deployed.slot("ApiFunction", code=HERE / "probe") as other:
        assert ask(other, "describe")["tmp"] == []
    assert not Path("/tmp/of-the-probe").exists()


def ask_while(calling: threading.Thread, slot: Slot) -> None:
    while calling.is_alive():
        ask(slot, "describe")


def test_a_busy_slot_refuses_a_second_event(probe: Slot) -> None:
    calling = threading.Thread(target=ask, args=(probe, "sleep", 1))
    calling.start()
    try:
        with pytest.raises(RuntimeError, match="one event at a time"):
            ask_while(calling, probe)
    finally:
        calling.join()
    assert ask(probe, "describe")["memory_mb"] == 1769


def test_an_error_is_in_the_answer_and_not_in_the_status(probe: Slot) -> None:
    status, body = probe.call({"do": "fail"})
    assert status == 200
    assert json.loads(body)["errorType"] == "ValueError"
    with pytest.raises(InvocationError, match=r"^ValueError: as asked for$"):
        ask(probe, "fail")


def test_a_call_that_is_over_its_time_ends_and_the_next_one_works(deployed: Deployment) -> None:
    with deployed.slot("ApiFunction", code=HERE / "probe", timeout_s=1) as slot:
        first = ask(slot, "describe")["process"]
        assert slot.call({"do": "sleep", "with": [30]}) == (
            200,
            b"Task timed out after 1.00 seconds",
        )
        assert ask(slot, "describe")["process"] != first
        with pytest.raises(InvocationError, match="timed out after 1"):
            ask(slot, "sleep", 30)


def test_a_process_that_dies_is_told_and_starts_anew(probe: Slot) -> None:
    first = ask(probe, "describe")["process"]
    with pytest.raises(InvocationError, match=r"Runtime.ExitError: .*exit status 3"):
        ask(probe, "die")
    assert ask(probe, "describe")["process"] != first


def test_messages_for_which_no_time_is_left_go_back(deployed: Deployment) -> None:
    """The deadline that a handler sees is the one of its timeout."""
    reserve = {"BATCH_RESERVE_S": "300"}
    with deployed.slot("SqsTriggerFunction", environment=reserve) as slot:
        failed = slot.invoke(event("sqs_batch"))["batchItemFailures"]
    # The first message is always begun.
    assert [failure["itemIdentifier"] for failure in failed] == [
        "malformed",
        "unknown-model",
        "notification",
    ]


def test_the_longest_answer_that_lambda_passes_on(probe: Slot) -> None:
    assert len(ask(probe, "text", LIMIT_BYTES - 2)) == LIMIT_BYTES - 2
    with pytest.raises(InvocationError, match=r"ResponseSizeTooLarge: .*\(6291556 bytes"):
        ask(probe, "text", LIMIT_BYTES - 1)
    assert ask(probe, "text", 3) == "xxx"


def test_an_hour_of_windows_is_far_from_the_limit(deployed: Deployment) -> None:
    """The API's longest answer: the longest recording, the shorter windows, explained."""
    ticks = np.zeros(3600 * 16000, dtype=np.float32)
    ticks[::16000] = 0.5
    file = io.BytesIO()
    soundfile.write(file, ticks, 16000, "PCM_16", format="FLAC")
    form = {"Content-Type": f"multipart/form-data; boundary={events.BOUNDARY}"}
    request = events.through_api(
        "POST", "/predict-anomaly", form, events.multipart(file.getvalue())
    )
    request["multiValueQueryStringParameters"] = {"model_name": ["esc10"], "explain": ["true"]}
    with deployed.slot("ApiFunction", timeout_s=120) as slot:
        answer = slot.invoke(request)
    assert answer["statusCode"] == 200
    prediction = json.loads(answer["body"])
    assert prediction["explanation"]
    assert len(prediction["windows"]) == 720
    assert len(json.dumps(answer)) < LIMIT_BYTES / 50


def test_a_model_that_is_swapped_is_seen_by_the_next_call(
    deployed: Deployment, trained: Path
) -> None:
    predict = event("api_predict")
    with deployed.slot("ApiFunction", environment={"MODELS_REFRESH_S": "0"}) as slot:
        first = json.loads(slot.invoke(predict)["body"])
        deployed.push(trained)
        try:
            second = json.loads(slot.invoke(predict)["body"])
            listed = json.loads(slot.invoke(event("api_get_models"))["body"])["models"]
        finally:
            deployed.push(MODELS)
        third = json.loads(slot.invoke(predict)["body"])
        assert len(slot.init_ms()) == 1
    assert [model["name"] for model in listed] == ["bearing", "fan"]
    assert first["anomaly_score"] == third["anomaly_score"] != second["anomaly_score"]


def test_an_emulator_that_cannot_start_says_why(deployed: Deployment, tmp_path: Path) -> None:
    slot = Slot(tmp_path / "none", "app.handler", deployed.opt, {})
    with pytest.raises((RuntimeError, OSError), match="none"):
        slot.start()


def test_a_handler_that_is_not_there_is_an_error(deployed: Deployment, tmp_path: Path) -> None:
    slot = Slot(tmp_path, "app.handler", deployed.opt, {})
    with slot, pytest.raises(InvocationError, match=r"No module named 'app'"):
        slot.invoke({})
