"""The built functions in Lambda's runtime: AWS's emulator, its Python client, Lambda's paths.

The probe is a function that reports its environment. The import recorder is a real function that
also reports what a call imports. Both run on the built layers, like the real functions.
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
from threadpoolctl import threadpool_limits

from oddsound.http import docs, ui
from oddsound_workbench.deploy import events
from oddsound_workbench.files import EVENTS, MODELS
from oddsound_workbench.local.built import Deployment
from oddsound_workbench.local.emulator import FunctionInstance
from oddsound_workbench.local.function_process import InvocationError
from oddsound_workbench.local.isolation import SYSTEM_FOLDERS, isolation_refused
from tests.e2e.probe import librosa_calls

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
LIMIT_BYTES = 6_291_556
"""Size of the longest answer that Lambda returns, in bytes."""

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
    assert [outcome["status"] for outcome in answer] == ["succeeded"]
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


def without_latency(answer: Any) -> Any:
    """The answer without its latency, the only part that may differ between calls."""
    if isinstance(answer, dict) and "body" in answer:
        body = {k: v for k, v in json.loads(answer["body"]).items() if k != "latency_ms"}
        return answer | {"body": body, "headers": None}
    return answer


def test_every_sample_event_has_its_function() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == set(FUNCTION_OF) == set(CHECK_OF)


@pytest.mark.parametrize("name", FUNCTION_OF)
def test_a_sample_event_cold_and_warm(deployed: Deployment, name: str) -> None:
    with deployed.instance(FUNCTION_OF[name]) as instance:
        answers = []
        for _ in range(2):
            deployed.delete_results()
            answers.append(instance.invoke(event(name)))
            CHECK_OF[name](answers[-1], deployed)
        assert without_latency(answers[0]) == without_latency(answers[1])
        assert len(instance.init_ms()) == 1
        assert "Warning" not in instance.log()


@pytest.mark.parametrize("name", FUNCTION_OF)
def test_a_warm_call_loads_nothing(deployed: Deployment, name: str, tmp_path: Path) -> None:
    function = deployed.functions[FUNCTION_OF[name]]
    shutil.copy(HERE / "import_recorder" / "app.py", tmp_path)
    shutil.copy(deployed.build / function.code / "app.py", tmp_path / "function.py")
    with deployed.instance(function.name, code=tmp_path) as instance:
        deployed.delete_results()
        assert instance.invoke(event(name))["imported"] != []
        deployed.delete_results()
        assert instance.invoke(event(name))["imported"] == []


def test_the_pages_and_their_files_are_in_the_layers(deployed: Deployment) -> None:
    with deployed.instance("ApiFunction") as instance:
        for name, module in (("docs", docs), ("ui", ui)):
            for path in (f"/{name}", *(f"/{name}/{file}" for file in module.FILES)):
                answer = instance.invoke(events.through_api("GET", path, {}))
                assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False), path
                assert len(answer["body"]) > 200, path


@pytest.fixture(scope="module")
def probe(deployed: Deployment) -> Iterator[FunctionInstance]:
    with deployed.instance("ApiFunction", code=HERE / "probe") as instance:
        yield instance


@pytest.fixture
def isolated(probe: FunctionInstance) -> FunctionInstance:
    """The probe on its own root; skips the test if this machine does not allow it."""
    if not probe.isolated:
        pytest.skip(f"a function cannot have its own root here: {isolation_refused()}")
    return probe


def ask(instance: FunctionInstance, do: str, *arguments: Any) -> Any:
    return instance.invoke({"do": do, "with": arguments})


def test_a_function_has_the_settings_of_the_template(
    probe: FunctionInstance, deployed: Deployment
) -> None:
    found = ask(probe, "describe")
    function = deployed.functions["ApiFunction"]
    assert found["memory_mb"] == function.memory_mb == 1769
    assert 0 < found["remaining_ms"] <= 1000 * function.timeout_s
    assert function.environment.items() <= found["environment"].items()
    assert not found["home"]
    assert not any("site-packages" in path for path in found["path"])


def test_only_the_files_of_lambda_are_visible(isolated: FunctionInstance) -> None:
    found = ask(isolated, "describe")
    assert found["path"][:3] == ["/var/task", "/opt/python", "/var/runtime"]
    assert all(path.startswith("/var/lang/lib/python3") for path in found["path"][3:])
    assert found["folder"] == "/var/task"
    assert not found["shared_memory"]
    own = {"dev", "home", "opt", "proc", "tmp", "var"}
    assert set(found["root"]) <= own.union(SYSTEM_FOLDERS)


@pytest.mark.parametrize(
    "path",
    ["/var/task/new", "/opt/new", "/opt/python/numpy/__init__.py", "/var/runtime/new", "/new"],
)
def test_only_tmp_can_be_written(isolated: FunctionInstance, path: str) -> None:
    assert ask(isolated, "write", path) == "Read-only file system"


def test_no_bytecode_or_cache_is_written_next_to_the_code(
    deployed: Deployment, tmp_path: Path
) -> None:
    """Without isolation the folders are writable, and still nothing is written to the layers."""
    opt = tmp_path / "opt"
    shutil.copytree(deployed.opt, opt)
    before = set(opt.rglob("*"))
    code = shutil.copytree(deployed.build / "ApiFunction", tmp_path / "code")
    instance = FunctionInstance(
        code,
        "app.handler",
        opt,
        deployed.instance("ApiFunction").environment | {"PYTHONDONTWRITEBYTECODE": ""},
        memory_mb=deployed.functions["ApiFunction"].memory_mb,
        timeout_s=60,
        isolated=False,
    )
    with instance:
        predicts(instance.invoke(event("api_predict")), deployed)
    assert set(opt.rglob("*")) == before
    # This proves that bytecode can be written: the function's code is not compiled in advance.
    assert [path.name for path in code.rglob("*.pyc")] == ["app.cpython-313.pyc"]


def test_every_public_module_can_be_imported(probe: FunctionInstance) -> None:
    """Models may use any of these packages, so no module may need a file that was left out."""
    failures = ask(probe, "import_all", "sklearn", "scipy", "numpy", "librosa")
    optional = {"cupy", "dask", "torch", "matplotlib"}  # optional packages
    wanted = [f"No module named '{name}'" for name in optional]
    assert {name: why for name, why in failures.items() if why not in wanted} == {}
    assert len(failures) == len(optional)


@pytest.mark.parametrize("package", ["numpy", "scipy", "scipy.signal", "scipy.stats"])
def test_every_public_name_can_be_imported(probe: FunctionInstance, package: str) -> None:
    """SciPy and scikit-learn import all names of NumPy; one missing name breaks both."""
    assert len(ask(probe, "star_import", package)) > 20


@pytest.mark.parametrize("name", librosa_calls.NEED_NO_COMPILER)
def test_librosa_answers_the_same_without_a_compiler(probe: FunctionInstance, name: str) -> None:
    there = np.load(io.BytesIO(base64.b64decode(ask(probe, "listen", name))))
    # The functions have one thread of BLAS; several threads sum in another order.
    with threadpool_limits(1):
        here = np.asarray(librosa_calls.CALLS[name]())
    assert there.dtype == here.dtype
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", librosa_calls.NEED_A_COMPILER)
def test_librosa_functions_that_need_a_compiler_raise_an_error(
    probe: FunctionInstance, name: str
) -> None:
    assert ask(probe, "listen", name).startswith("CompilerMissingError: librosa.")


def test_compiling_raises_an_error_with_the_name_of_the_function(probe: FunctionInstance) -> None:
    with pytest.raises(InvocationError, match=r"^CompilerMissingError: .*double is compiled by"):
        ask(probe, "compile_with_numba")


def test_an_instance_is_one_process(deployed: Deployment, probe: FunctionInstance) -> None:
    one = ask(probe, "describe")
    with deployed.instance("ApiFunction", code=HERE / "probe") as other:
        two, again = ask(other, "describe"), ask(probe, "describe")
    assert one["process"] == again["process"] != two["process"]


def test_only_the_emulator_and_the_function_run(isolated: FunctionInstance) -> None:
    assert ask(isolated, "describe")["processes"] == 2


def test_each_instance_has_its_own_tmp(deployed: Deployment, isolated: FunctionInstance) -> None:
    assert ask(isolated, "write", "/tmp/of-the-probe") == "written"
    assert "of-the-probe" in ask(isolated, "describe")["tmp"]
    with deployed.instance("ApiFunction", code=HERE / "probe") as other:
        assert ask(other, "describe")["tmp"] == []
    assert not Path("/tmp/of-the-probe").exists()


def ask_while(calling: threading.Thread, instance: FunctionInstance) -> None:
    while calling.is_alive():
        ask(instance, "describe")


def test_a_busy_instance_refuses_a_second_event(probe: FunctionInstance) -> None:
    calling = threading.Thread(target=ask, args=(probe, "sleep", 1))
    calling.start()
    try:
        with pytest.raises(RuntimeError, match="one event at a time"):
            ask_while(calling, probe)
    finally:
        calling.join()
    assert ask(probe, "describe")["memory_mb"] == 1769


def test_an_error_is_in_the_body_and_not_in_the_status(probe: FunctionInstance) -> None:
    status, body = probe.call({"do": "fail"})
    assert status == 200
    assert json.loads(body)["errorType"] == "ValueError"
    with pytest.raises(InvocationError, match=r"^ValueError: requested by the test$"):
        ask(probe, "fail")


def test_a_call_that_times_out_ends_and_the_next_one_works(deployed: Deployment) -> None:
    with deployed.instance("ApiFunction", code=HERE / "probe", timeout_s=1) as instance:
        first = ask(instance, "describe")["process"]
        assert instance.call({"do": "sleep", "with": [30]}) == (
            200,
            b"Task timed out after 1.00 seconds",
        )
        assert ask(instance, "describe")["process"] != first
        with pytest.raises(InvocationError, match="timed out after 1"):
            ask(instance, "sleep", 30)


def test_a_process_that_exits_is_reported_and_started_again(probe: FunctionInstance) -> None:
    first = ask(probe, "describe")["process"]
    with pytest.raises(InvocationError, match=r"Runtime.ExitError: .*exit status 3"):
        ask(probe, "die")
    assert ask(probe, "describe")["process"] != first


def test_messages_without_enough_time_left_are_returned(deployed: Deployment) -> None:
    """A handler sees the deadline of its own timeout."""
    reserve = {"BATCH_RESERVE_S": "300"}
    with deployed.instance("SqsTriggerFunction", environment=reserve) as instance:
        failed = instance.invoke(event("sqs_batch"))["batchItemFailures"]
    # The first message is always started.
    assert [failure["itemIdentifier"] for failure in failed] == [
        "malformed",
        "unknown-model",
        "notification",
    ]


def test_the_longest_answer_that_lambda_returns(probe: FunctionInstance) -> None:
    assert len(ask(probe, "text", LIMIT_BYTES - 2)) == LIMIT_BYTES - 2
    with pytest.raises(InvocationError, match=r"ResponseSizeTooLarge: .*\(6291556 bytes"):
        ask(probe, "text", LIMIT_BYTES - 1)
    assert ask(probe, "text", 3) == "xxx"


def test_the_answer_for_one_hour_is_far_below_the_limit(deployed: Deployment) -> None:
    """The longest answer of the API: maximum duration, shorter windows, with explanation."""
    ticks = np.zeros(3600 * 16000, dtype=np.float32)
    ticks[::16000] = 0.5
    file = io.BytesIO()
    soundfile.write(file, ticks, 16000, "PCM_16", format="FLAC")
    form = {"Content-Type": f"multipart/form-data; boundary={events.BOUNDARY}"}
    request = events.through_api(
        "POST", "/predict-anomaly", form, events.multipart(file.getvalue())
    )
    request["multiValueQueryStringParameters"] = {"model_name": ["esc10"], "explain": ["true"]}
    with deployed.instance("ApiFunction", timeout_s=120) as instance:
        answer = instance.invoke(request)
    assert answer["statusCode"] == 200
    prediction = json.loads(answer["body"])
    assert prediction["explanation"]
    assert len(prediction["windows"]) == 720
    assert len(json.dumps(answer)) < LIMIT_BYTES / 50


def test_a_replaced_model_is_used_by_the_next_call(deployed: Deployment, trained: Path) -> None:
    predict = event("api_predict")
    with deployed.instance("ApiFunction", environment={"MODELS_REFRESH_S": "0"}) as instance:
        first = json.loads(instance.invoke(predict)["body"])
        deployed.push(trained)
        try:
            second = json.loads(instance.invoke(predict)["body"])
            listed = json.loads(instance.invoke(event("api_get_models"))["body"])["models"]
        finally:
            deployed.push(MODELS)
        third = json.loads(instance.invoke(predict)["body"])
        assert len(instance.init_ms()) == 1
    assert [model["name"] for model in listed] == ["bearing", "fan"]
    assert first["anomaly_score"] == third["anomaly_score"] != second["anomaly_score"]


def test_the_error_of_an_emulator_that_cannot_start_has_the_reason(
    deployed: Deployment, tmp_path: Path
) -> None:
    instance = FunctionInstance(tmp_path / "none", "app.handler", deployed.opt, {})
    with pytest.raises((RuntimeError, OSError), match="none"):
        instance.start()


def test_a_missing_handler_is_an_error(deployed: Deployment, tmp_path: Path) -> None:
    instance = FunctionInstance(tmp_path, "app.handler", deployed.opt, {})
    with instance, pytest.raises(InvocationError, match=r"No module named 'app'"):
        instance.invoke({})
