"""`make deploy`: asks for the addresses of alarms and anomalies when a stack is deployed first.

    python -m oddsound_workbench.deploy.first_deployment prod sam deploy --config-env prod

Runs the command after the environment. CloudFormation keeps the answers for later deployments, so
nobody is asked again, and no address has to be in samconfig.toml.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

from botocore.exceptions import ClientError

from oddsound_workbench.deploy.stack import Stack
from oddsound_workbench.files import SAMCONFIG

QUESTIONS = {
    "AlarmEmail": "Email address for alarms of the service, or Enter for none: ",
    "AnomalyEmail": "Email address for anomalies and states of machines, or Enter for none: ",
}
"""Parameters of the template -> what is asked."""

ADDRESS = re.compile(r"[^@\s,=\"']+@[^@\s,=\"']+\.[^@\s,=\"']+")


def exists(stack: Stack) -> bool:
    """Whether the stack was deployed before. Errors other than a missing stack are raised."""
    try:
        described = stack.client("cloudformation").describe_stacks(StackName=stack.name)
    except ClientError as error:
        if "does not exist" in str(error):
            return False
        raise
    # A stack of this status was only prepared: it has no parameters to keep.
    return bool(described["Stacks"][0]["StackStatus"] != "REVIEW_IN_PROGRESS")


def overrides(environment: str, samconfig: Path = SAMCONFIG) -> dict[str, str]:
    """The parameters that samconfig.toml sets for an environment."""
    config = tomllib.loads(samconfig.read_text())
    pairs = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    return dict(pair.split("=", 1) for pair in pairs)


def ask(given: dict[str, str], read: Callable[[str], str] = input) -> dict[str, str]:
    """Answers to the questions whose parameters are not `given`."""
    answers = {}
    for name, question in QUESTIONS.items():
        while name not in given:
            answer = read(question).strip()
            if answer and not ADDRESS.fullmatch(answer):
                print(f"{answer!r} is not an email address, such as ops@example.com")
                continue
            answers[name] = answer
            break
    return {name: answer for name, answer in answers.items() if answer}


def arguments(environment: str, read: Callable[[str], str] = input) -> list[str]:
    """What is added to `sam deploy`: all parameters with the answers, if the stack is new.

    Without a terminal nobody is asked, and a line on stderr says so.
    """
    if exists(Stack.of(environment)):
        return []
    given = overrides(environment)
    missing = [name for name in QUESTIONS if name not in given]
    if not missing:
        return []
    if read is input and not sys.stdin.isatty():
        print(
            f"No terminal to ask for {' and '.join(missing)}: nobody is notified until they are"
            " set in samconfig.toml.",
            file=sys.stderr,
        )
        return []
    answers = ask(given, read)
    # On the command line, sam takes either all parameters or those of samconfig.toml.
    pairs = [f"{name}={value}" for name, value in (given | answers).items()]
    return ["--parameter-overrides", *pairs] if answers else []


def main(environment: str, *command: str) -> None:
    """Run the command with what was asked for. Raises SystemExit with its exit code."""
    done: Sequence[str] = [*command, *arguments(environment)]
    raise SystemExit(subprocess.run(done, check=False).returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
