"""One call in a new process, as in a container that was just created.

    python cold_call.py EVENT...       calls app.handler (app.py on PYTHONPATH) with JSON files
    python cold_call.py --only CODE    runs only this code

The last line on stdout is JSON: `cpu_s`, the processor time until the last answer in seconds; the
answers; and the modules that were imported until then. Before that, this script imports only what
the calls need.
"""

import sys
import time


class Context:
    """The context object that Lambda passes to a handler."""

    function_name = "audio-anomaly"
    function_version = "1"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:audio-anomaly"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


def call(event: str) -> object:
    """The function's answer to the event in a file."""
    import json

    from app import handler

    with open(event) as file:  # noqa: PTH123  pathlib would be one more import
        return handler(json.load(file), Context())


if __name__ == "__main__":
    answers = []
    if sys.argv[1] == "--only":
        exec(sys.argv[2])  # noqa: S102
    else:
        answers = [call(event) for event in sys.argv[1:]]
    cpu_s, modules = time.process_time(), sorted(sys.modules)
    import json

    print("\n" + json.dumps({"cpu_s": cpu_s, "answers": answers, "modules": modules}), flush=True)
