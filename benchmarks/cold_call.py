"""One call in a process of its own, as in a container that has just been made.

    python cold_call.py EVENT          app.handler, of the app.py on PYTHONPATH, with a JSON file
    python cold_call.py --only CODE    the code alone

The last line on stdout is JSON: cpu_s, seconds of processor time until the answer; the answer;
and the modules that were imported by then. It imports nothing for itself before the answer.
"""

import sys
import time


class Context:
    """What Lambda tells a handler of its call."""

    function_name = "audio-anomaly"
    function_version = "1"
    memory_limit_in_mb = 1769
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:audio-anomaly"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


def call(event: str) -> object:
    """The answer of a function to the event of a file."""
    import json

    from app import handler

    with open(event) as file:  # noqa: PTH123  pathlib would be one more import
        return handler(json.load(file), Context())


if __name__ == "__main__":
    answer = None
    if sys.argv[1] == "--only":
        exec(sys.argv[2])  # noqa: S102
    else:
        answer = call(sys.argv[1])
    cpu_s, modules = time.process_time(), sorted(sys.modules)
    import json

    print("\n" + json.dumps({"cpu_s": cpu_s, "answer": answer, "modules": modules}), flush=True)
