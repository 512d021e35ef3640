"""Makes moto execute state machines, in the process of its server.

moto has an engine for them that is not used by default. Its Distributed Map lacks three things
that a backfill needs: lists of more than 1,000 objects, files with the outcome of each item, and
functions that are not containers. They are added here; the engine stays moto's.
"""

import json
import logging
import os
import urllib.parse
import urllib.request
from typing import Any

from oddsound_workbench.local.invocations import FUNCTION_ERROR


def attach(port: int, invocations_url: str) -> None:
    """Extend moto in this process.

    port : of its server, which a state machine uses as its AWS
    invocations_url : of the server that runs functions
    """
    from moto.core.config import default_user_config
    from moto.stepfunctions import models
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    os.environ["MOTO_PORT"] = str(port)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    # CloudFormation creates state machines where moto's engine does not look for them.
    models.stepfunctions_backends = stepfunctions_parser_backends
    # The engine logs pages for a failed item, and warns of fields that it ignores. What failed is
    # logged by the function, and said by the execution.
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)
    complete_distributed_map()
    _forward_invocations(invocations_url)


def complete_distributed_map() -> None:
    """Progress from the start, lists of more than 1,000 objects, and files with the outcomes."""
    _report_no_progress_yet()
    _list_all_pages()
    _write_outcomes()


def _report_no_progress_yet() -> None:
    """An execution that has just been started has no runs; moto raises AttributeError."""
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    backend: Any = StepFunctionsParserBackend
    list_runs = backend.list_map_runs

    def list_map_runs(self: Any, execution_arn: str) -> Any:
        worker = self.describe_execution(execution_arn=execution_arn).exec_worker
        if worker is None or worker.env is None:
            return {"mapRuns": []}
        return list_runs(self, execution_arn)

    backend.list_map_runs = list_map_runs


def _list_all_pages() -> None:
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import (
        resource_eval_s3,
    )

    reader: Any = resource_eval_s3.ResourceEvalS3

    def list_objects_v2(env: Any, resource: Any, credentials: Any) -> None:
        s3 = reader._get_s3_client(resource_runtime_part=resource, state_credentials=credentials)
        pages = s3.get_paginator("list_objects_v2").paginate(**env.stack.pop())
        env.stack.append([entry for page in pages for entry in page.get("Contents", [])])

    reader._handle_list_objects_v2 = staticmethod(list_objects_v2)


def _write_outcomes() -> None:
    """Store the outputs of the items that succeeded, as the template's WriterConfig says.

    moto writes a manifest without files. Of items that failed, it has only the number.
    """
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer import (
        resource_eval,
    )

    writer: Any = resource_eval.resource_eval_s3.ResourceEvalS3
    put = writer._handle_put_object

    def put_object(env: Any, resource: Any, credentials: Any) -> None:
        outputs = env.stack[-2]
        put(env, resource, credentials)
        at = env.stack[-1]["ResultWriterDetails"]
        s3 = writer._get_s3_client(resource_runtime_part=resource, state_credentials=credentials)
        manifest = json.loads(s3.get_object(**at)["Body"].read())
        lines = [f"{json.dumps(outcome)}\n" for output in outputs or [] for outcome in output or []]
        body = "".join(lines).encode()
        key = f"{at['Key'].rpartition('/')[0]}/SUCCEEDED_0.jsonl"
        s3.put_object(Bucket=at["Bucket"], Key=key, Body=body)
        manifest["ResultFiles"]["SUCCEEDED"] = [{"Key": key, "Size": len(body)}]
        s3.put_object(**at, Body=json.dumps(manifest).encode())

    writer._handle_put_object = staticmethod(put_object)


def _forward_invocations(url: str) -> None:
    """Run functions by `invocations`; moto itself would run them in containers."""
    from moto.awslambda.models import LambdaBackend

    def invoke(
        _backend: Any, name: str, _qualifier: str | None, body: Any, _headers: Any, answered: Any
    ) -> bytes:
        # The name may be an ARN, and may end in an alias.
        logical_id = name.rpartition(":function:")[2].partition(":")[0]
        data = body if isinstance(body, bytes) else (body or "{}").encode()
        request = urllib.request.Request(f"{url}/{urllib.parse.quote(logical_id)}", data)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            if error := answer.headers.get(FUNCTION_ERROR):
                answered["x-amz-function-error"] = error
            return bytes(answer.read())

    LambdaBackend.invoke = invoke
