"""Reads template.yaml, and creates its resources in a local AWS.

moto's CloudFormation resolves every reference. It is given a stack with the template's buckets,
queues, topics, table and state machine, with the template's outputs, and with one output for each
value of a function that the local cloud needs: its environment, its events, its failure queue.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader  # parses this template in a tenth of the time
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

STATE_MACHINE = "AWS::StepFunctions::StateMachine"
KEPT_TYPES = (
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SNS::Topic",
    "AWS::DynamoDB::Table",
    STATE_MACHINE,
)
NO_VALUE = {"Ref": "AWS::NoValue"}
"""Stands for a property that is not set."""

FUNCTION_TYPE = "AWS::Serverless::Function"
FUNCTION_PROPERTIES = (
    "CodeUri",
    "Handler",
    "Environment",
    "MemorySize",
    "Timeout",
    "Events",
    "EventInvokeConfig",
)


@dataclass(frozen=True)
class BucketEvent:
    """Objects whose creation invokes a function; the filter in the form of S3's API."""

    bucket: str
    events: list[str]
    filter: dict[str, Any] | None


@dataclass(frozen=True)
class QueueEvent:
    """A queue whose messages invoke a function in batches."""

    queue_arn: str
    batch_size: int
    window_s: int


@dataclass(frozen=True)
class Function:
    """A function of the template.

    code : folder of the code, relative to the template
    handler : module and function, such as app.handler
    module : module of the handler, by its name in the project
    retries, failure_queue_arn : of asynchronous invocations
    """

    name: str
    code: str
    handler: str
    module: str
    environment: dict[str, str]
    memory_mb: int
    timeout_s: int
    buckets: list[BucketEvent]
    queues: list[QueueEvent]
    retries: int
    failure_queue_arn: str | None


class _Loader(SafeLoader):
    """Safe YAML, with the short forms of CloudFormation (`!Sub`) read as long forms (`Fn::Sub`)."""


def _long_form(loader: SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    argument: Any = None
    if isinstance(node, yaml.ScalarNode):
        argument = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        argument = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        argument = loader.construct_mapping(node, deep=True)
    if name in ("Ref", "Condition"):
        return {name: argument}
    if name == "GetAtt" and isinstance(argument, str):
        argument = argument.split(".", 1)
    return {f"Fn::{name}": argument}


_Loader.add_multi_constructor("!", _long_form)


def load(path: Path) -> dict[str, Any]:
    """The template as plain data, with intrinsic functions in their long forms."""
    raw: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    return raw


def layers(path: Path) -> list[Path]:
    """Folders of the built layers, in the order in which Lambda unpacks them."""
    raw = load(path)
    names = [layer["Ref"] for layer in raw["Globals"]["Function"]["Layers"]]
    contents = [raw["Resources"][name]["Properties"]["ContentUri"] for name in names]
    return [path.parent / content for content in contents]


def create(path: Path, cloudformation: Any, stack: str) -> tuple[list[Function], dict[str, str]]:
    """Create the template's resources of `KEPT_TYPES` in a stack called `stack`.

    Returns the functions with every reference resolved, and the physical name (for a queue, its
    URL) of every resource by logical id. Raises RuntimeError if the stack cannot be created.
    """
    raw = load(path)
    kept = {
        name: _without_what_moto_lacks(r)
        for name, r in raw["Resources"].items()
        if r["Type"] in KEPT_TYPES
    }
    shared = raw.get("Globals", {}).get("Function", {})
    functions = {
        name: _merged(shared, resource["Properties"])
        for name, resource in raw["Resources"].items()
        if resource["Type"] == FUNCTION_TYPE
    }
    known_names = {*kept, *raw.get("Parameters", {})}
    wanted = [
        value
        for value in _intrinsics(functions)
        if value != NO_VALUE and _references(value) <= known_names
    ]
    outputs = {
        name: {"Value": output["Value"]}
        for name, output in raw.get("Outputs", {}).items()
        if _references(output["Value"]) <= known_names
    }
    outputs |= {f"Value{number}": {"Value": value} for number, value in enumerate(wanted)}
    body: dict[str, Any] = {
        key: raw[key] for key in ("Parameters", "Conditions", "Mappings") if key in raw
    }
    body |= {"Resources": kept, "Outputs": outputs}
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(body))
    made = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    if made["StackStatus"] != "CREATE_COMPLETE":
        raise RuntimeError(f"the local stack could not be created: {made['StackStatus']}")
    found = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    known = {json.dumps(value): found[f"Value{n}"] for n, value in enumerate(wanted)}
    resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    names = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}
    resolved = _resolved(functions, known)
    return [_function(name, properties) for name, properties in resolved.items()], names


def _without_what_moto_lacks(resource: dict[str, Any]) -> dict[str, Any]:
    """The type and the properties, in the form that moto's CloudFormation reads."""
    properties = dict(resource.get("Properties", {}))
    properties.pop("NotificationConfiguration", None)
    if resource["Type"] == STATE_MACHINE:
        properties = _state_machine(properties)
    return {"Type": resource["Type"], "Properties": properties}


def _state_machine(properties: dict[str, Any]) -> dict[str, Any]:
    """A state machine whose definition is a string, and that may do everything.

    An alias of a function is called by the function's logical id: functions are not resources of
    the local stack. A retry waits a second, as elsewhere in the local stack.
    """
    values = {
        name: value["Ref"].removesuffix(".Alias") if _is_alias(value) else value
        for name, value in properties.get("DefinitionSubstitutions", {}).items()
    }
    definition = json.dumps(_simplified(properties["Definition"]))
    return {
        "StateMachineName": properties["StateMachineName"],
        "RoleArn": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/local"},
        "DefinitionString": {"Fn::Join": ["", _substituted(definition, values)]},
    }


def _substituted(text: str, values: dict[str, Any]) -> list[Any]:
    """The parts of a text that contains ${NAME}. Not by Fn::Sub, for which moto reads $$ as $."""
    parts = re.split(r"\$\{(\w+)\}", text)
    return [values[part] if number % 2 else part for number, part in enumerate(parts)]


def _is_alias(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("Ref", "")).endswith(".Alias")


def _simplified(value: Any) -> Any:
    """A definition with short delays, and without WriterConfig, which moto does not know."""
    if isinstance(value, dict):
        short = {"IntervalSeconds": 1, "MaxDelaySeconds": 2}
        parts = {key: part for key, part in value.items() if key != "WriterConfig"}
        return {key: short.get(key, _simplified(part)) for key, part in parts.items()}
    return [_simplified(part) for part in value] if isinstance(value, list) else value


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The properties of a function that the local cloud needs; they override those of Globals."""
    variables = {
        **shared.get("Environment", {}).get("Variables", {}),
        **own.get("Environment", {}).get("Variables", {}),
    }
    properties = {**shared, **own, "Environment": {"Variables": variables}}
    return {name: value for name, value in properties.items() if name in FUNCTION_PROPERTIES}


def _is_intrinsic(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::"))
    )


def _intrinsics(value: Any) -> Iterator[dict[str, Any]]:
    if _is_intrinsic(value):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _intrinsics(part)


def _references(value: Any) -> set[str]:
    """Logical ids and parameters that a value refers to, without pseudo parameters."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, argument in value.items():
            if key == "Ref":
                found.add(argument)
            elif key == "Fn::GetAtt":
                found.add(argument[0])
            elif key == "Fn::Sub":
                text = argument if isinstance(argument, str) else argument[0]
                found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)}
            else:
                found |= _references(argument)
    elif isinstance(value, list):
        found = set().union(*map(_references, value))
    return {name for name in found if not name.startswith("AWS::")}


def _resolved(value: Any, known: dict[str, str]) -> Any:
    if _is_intrinsic(value):
        return known.get(json.dumps(value))
    if isinstance(value, dict):
        return {key: _resolved(part, known) for key, part in value.items()}
    return [_resolved(part, known) for part in value] if isinstance(value, list) else value


def _function(name: str, properties: dict[str, Any]) -> Function:
    folder = properties["CodeUri"].strip("/").replace("/", ".")
    variables = properties["Environment"]["Variables"]
    events = properties.get("Events", {}).values()
    of = {kind: [e["Properties"] for e in events if e["Type"] == kind] for kind in ("S3", "SQS")}
    asynchronous = properties.get("EventInvokeConfig", {})
    failure = asynchronous.get("DestinationConfig", {}).get("OnFailure", {})
    return Function(
        name=name,
        code=properties["CodeUri"],
        handler=properties["Handler"],
        module=f"{folder}.{properties['Handler'].rpartition('.')[0]}",
        # An empty value is the same as none, and must not hide one of this machine's environment.
        environment={k: str(v) for k, v in variables.items() if v not in (None, "")},
        memory_mb=int(properties.get("MemorySize", 128)),
        timeout_s=int(properties.get("Timeout", 3)),
        buckets=[_bucket_event(event) for event in of["S3"]],
        queues=[
            QueueEvent(
                event["Queue"],
                int(event.get("BatchSize", 10)),
                int(event.get("MaximumBatchingWindowInSeconds", 0)),
            )
            for event in of["SQS"]
        ],
        retries=int(asynchronous.get("MaximumRetryAttempts", 2)),
        failure_queue_arn=failure.get("Destination"),
    )


def _bucket_event(event: dict[str, Any]) -> BucketEvent:
    events = event["Events"]
    rules = event.get("Filter", {}).get("S3Key", {}).get("Rules")
    return BucketEvent(
        bucket=event["Bucket"],
        events=[events] if isinstance(events, str) else events,
        filter={"Key": {"FilterRules": rules}} if rules else None,
    )
