"""Checks of template.yaml that fail before a deployment would."""

import json
import re
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from oddsound.http.headers import HSTS
from oddsound.http.recording import FORM_TYPE, RAW_TYPES
from oddsound.settings import Settings
from oddsound_workbench.deploy import events, template
from oddsound_workbench.deploy.backfill import OUTCOMES
from oddsound_workbench.files import PROJECT
from oddsound_workbench.files import TEMPLATE as TEMPLATE_PATH
from tests.declared import (
    BUCKETS,
    FUNCTIONS,
    GLOBALS,
    TEMPLATE,
    as_list,
    environment,
    of_type,
    statements,
)

LIBRARY_VARIABLES = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "JOBLIB_MULTIPROCESSING"}
"""Variables that third-party libraries read."""


def test_no_yaml_alias_is_used_because_cloudformation_does_not_support_them() -> None:
    assert not [
        event
        for event in yaml.parse(TEMPLATE_PATH.read_text())
        if isinstance(event, yaml.AliasEvent)
    ]


def test_there_are_three_functions_with_both_layers() -> None:
    assert set(FUNCTIONS) == {"ApiFunction", "S3TriggerFunction", "SqsTriggerFunction"}
    assert GLOBALS["Layers"] == [{"Ref": "DependenciesLayer"}, {"Ref": "SharedLayer"}]
    assert GLOBALS["Runtime"] == "python3.13"
    assert GLOBALS["Handler"] == "app.handler"
    for function in FUNCTIONS.values():
        assert not {"Layers", "Runtime", "Handler", "Architectures"} & set(function)


def test_the_alias_follows_the_code_the_layers_and_the_snapshot() -> None:
    assert GLOBALS["AutoPublishAlias"] == "live"
    assert GLOBALS["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    for function in FUNCTIONS.values():
        assert function["AutoPublishAliasAllProperties"] is True
    layers = of_type("AWS::Serverless::LayerVersion")
    assert len(layers) == 2
    for name, layer in layers.items():
        assert layer["PublishLambdaVersion"] is True, name
        makefile = (PROJECT / layer["ContentUri"] / "Makefile").read_text()
        assert f"\nbuild-{name}:" in makefile


def test_a_gradual_deployment_returns_upon_the_alarms_of_its_function() -> None:
    parameter = TEMPLATE["Parameters"]["Deployment"]
    assert parameter["Default"] == "AllAtOnce"
    assert TEMPLATE["Conditions"]["IsGradual"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "Deployment"}, "AllAtOnce"]}]
    }
    alarms = of_type("AWS::CloudWatch::Alarm")
    for name, function in FUNCTIONS.items():
        preference = function["DeploymentPreference"]
        assert preference["Type"] == {"Ref": "Deployment"}
        condition, found, otherwise = preference["Alarms"]["Fn::If"]
        assert (condition, otherwise) == ("IsGradual", [{"Ref": "AWS::NoValue"}])
        watched = [alarms[alarm["Ref"]] for alarm in found]
        assert {"Name": "FunctionName", "Value": {"Ref": name}} in watched[0]["Dimensions"]
        assert watched[0]["MetricName"] == "Errors"


def test_every_function_has_its_own_role_and_log_group() -> None:
    roles = [function["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS.values()]
    groups = [function["LoggingConfig"]["LogGroup"]["Ref"] for function in FUNCTIONS.values()]
    assert len(set(roles)) == len(set(groups)) == 3
    for group in groups:
        assert TEMPLATE["Resources"][group]["Properties"]["RetentionInDays"] == {
            "Ref": "LogRetentionDays"
        }


def test_no_permission_has_a_wildcard() -> None:
    found = list(statements())
    assert len(found) > 10
    for name, statement in found:
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            assert "*" not in action, name
        if statement["Sid"] == "DeliverLogs":
            continue  # AWS defines no resources for these actions
        for resource in as_list(statement["Resource"]):
            assert isinstance(resource, dict), f"{name}: {resource}"
            text = json.dumps(resource)
            # The objects of a bucket, or the executions of a state machine.
            ending = ':*"}' if ":execution:" in text else '/*"}'
            assert "*" not in text.removesuffix(ending), f"{name}: {resource}"
    assert "ManagedPolicyArns" not in GLOBALS
    for role in of_type("AWS::IAM::Role").values():
        for policy in role.get("ManagedPolicyArns", []):
            assert policy["Ref"] in TEMPLATE["Resources"]


def test_the_role_of_the_s3_function_does_not_refer_to_the_input_bucket() -> None:
    for name in ("S3TriggerRole", "ScoreRecordings", "S3TriggerFunction"):
        text = json.dumps(TEMPLATE["Resources"][name]["Properties"] | {"Events": None})
        assert not re.search(r"InputBucket(\.|\"|\})", text), name
    assert "InputBucket" not in json.dumps(GLOBALS)


def test_a_message_stays_hidden_for_six_timeouts() -> None:
    seconds = TEMPLATE["Mappings"]["JobsVisibility"]
    allowed = TEMPLATE["Parameters"]["WorkerTimeoutSeconds"]["AllowedValues"]
    assert set(seconds) == set(allowed)
    for timeout in allowed:
        assert seconds[timeout]["Seconds"] >= 6 * int(timeout)
    queue = of_type("AWS::SQS::Queue")["JobsQueue"]
    assert queue["VisibilityTimeout"] == {
        "Fn::FindInMap": ["JobsVisibility", {"Ref": "WorkerTimeoutSeconds"}, "Seconds"]
    }
    assert FUNCTIONS["SqsTriggerFunction"]["Timeout"] == {"Ref": "WorkerTimeoutSeconds"}
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["JobsDeadLetterQueue", "Arn"]},
        "maxReceiveCount": 5,
    }
    jobs = FUNCTIONS["SqsTriggerFunction"]["Events"]["Jobs"]["Properties"]
    assert jobs["BatchSize"] == 1
    assert jobs["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert jobs["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "JobsMaxConcurrency"}}


def test_failed_messages_are_kept_for_the_maximum_of_14_days() -> None:
    queues = of_type("AWS::SQS::Queue")
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True, name
    for name in ("JobsDeadLetterQueue", "FailureQueue"):
        assert queues[name]["MessageRetentionPeriod"] == 14 * 24 * 3600
    failure = FUNCTIONS["S3TriggerFunction"]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    assert failure == {"Type": "SQS", "Destination": {"Fn::GetAtt": ["FailureQueue", "Arn"]}}


@pytest.mark.parametrize("name", sorted(BUCKETS))
def test_a_bucket_is_private_encrypted_and_has_a_lifecycle(name: str) -> None:
    bucket = BUCKETS[name]
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert len(bucket["LifecycleConfiguration"]["Rules"]) == 2
    versioned = bucket.get("VersioningConfiguration") == {"Status": "Enabled"}
    assert versioned is (name in ("ResultsBucket", "ModelsBucket"))
    statement, *more = TEMPLATE["Resources"][f"{name}Policy"]["Properties"]["PolicyDocument"][
        "Statement"
    ]
    assert len(more) == (name == "ModelsBucket")
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert len(statement["Resource"]) == 2


def test_a_backfill_scores_through_the_function_for_uploads() -> None:
    machine = of_type("AWS::StepFunctions::StateMachine")["Backfill"]
    assert machine["DefinitionSubstitutions"]["ScoreFunction"] == {"Ref": "S3TriggerFunction.Alias"}
    assert machine["LoggingConfiguration"]["Destinations"]
    each = machine["Definition"]["States"]["Recordings"]
    assert each["ItemReader"]["Resource"].endswith(":::s3:listObjectsV2")
    assert each["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert each["ItemProcessor"]["States"]["Score"]["Retry"]
    # The fields that the command names are those that the machine reads, and each has a default.
    defaults = machine["Definition"]["States"]["Defaults"]["Parameters"]["merged.$"]
    given = json.loads(re.search(r"\{.*\}", defaults)[0])  # type: ignore[index]
    read = set(re.findall(r"\"\$\.(\w+)\"", json.dumps(each))) - {"key", "Payload"}
    assert set(given) == read
    assert each["ResultWriter"]["Parameters"]["Prefix"] == OUTCOMES
    names = {"StateMachineName": machine["StateMachineName"]["Fn::Sub"]}
    for name, statement in statements():
        if name == "BackfillRole" and statement["Sid"] in ("StartChildren", "FollowChildren"):
            for resource in as_list(statement["Resource"]):
                assert f":{names['StateMachineName']}" in resource["Fn::Sub"]


def test_the_bucket_names_are_the_same_everywhere() -> None:
    for name, variable in (("InputBucket", "INPUT_BUCKET"), ("ResultsBucket", "RESULTS_BUCKET")):
        assert GLOBALS["Environment"]["Variables"][variable] == BUCKETS[name]["BucketName"]
    models = BUCKETS["ModelsBucket"]["BucketName"]["Fn::Sub"]
    config = GLOBALS["Environment"]["Variables"]["MODELS_CONFIG_PATH"]
    assert config == {"Fn::Sub": f"s3://{models}/models.json"}
    longest = "${AWS::StackName}-results-${AWS::AccountId}-${AWS::Region}"
    assert BUCKETS["ResultsBucket"]["BucketName"] == {"Fn::Sub": longest}
    resolved = longest.replace("${AWS::AccountId}", "1" * 12).replace(
        "${AWS::Region}", "ap-southeast-1"
    )
    assert len(resolved.replace("${AWS::StackName}", "audio-anomaly-prod")) <= 63


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_variable_is_a_setting(function: str) -> None:
    found = set(environment(function)) - LIBRARY_VARIABLES
    known = {name.upper() for name in Settings.model_fields}
    assert found <= known
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert environment(function)[variable] == "1"


def test_an_upload_fits_into_a_synchronous_invocation() -> None:
    limit = environment("ApiFunction")["MAX_UPLOAD_BYTES"]
    overhead = 64 * 1024
    assert (limit + overhead) * 4 / 3 < 6 * 1024 * 1024 - overhead
    detail = TEMPLATE["Resources"]["Api"]["Properties"]["GatewayResponses"]["REQUEST_TOO_LARGE"]
    answer = json.loads(detail["ResponseTemplates"]["application/json"])
    assert f"{limit:,}" in answer["detail"]


def test_a_key_for_models_is_one_of_kms_and_the_only_one_that_may_be_used() -> None:
    parameter = TEMPLATE["Parameters"]["ModelsKeyArn"]
    assert parameter["Default"] == ""
    allowed = re.compile(parameter["AllowedPattern"])
    assert allowed.fullmatch("")
    assert allowed.fullmatch("arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab")
    assert not allowed.fullmatch("alias/models")
    assert GLOBALS["Environment"]["Variables"]["MODELS_PUBLIC_KEY"] == {"Ref": "ModelsKeyArn"}
    (statement,) = [s for _, s in statements() if s["Sid"] == "VerifyModels"]
    assert statement["Action"] == "kms:Verify"
    condition, key, none = statement["Resource"]["Fn::If"]
    assert (condition, key) == ("HasModelsKey", {"Ref": "ModelsKeyArn"})
    assert none["Fn::Sub"].endswith(":key/none")


def test_only_the_documentation_needs_no_key() -> None:
    api = TEMPLATE["Resources"]["Api"]["Properties"]
    assert api["Auth"]["ApiKeyRequired"] is True
    routes = [event["Properties"] for event in FUNCTIONS["ApiFunction"]["Events"].values()]
    (preflight,) = [route for route in routes if route["Method"] == "options"]
    assert preflight["Path"] == "/{proxy+}"
    assert preflight["Auth"] == {"ApiKeyRequired": False}
    routes.remove(preflight)
    keyless = {route["Path"] for route in routes if "Auth" in route}
    assert keyless == {"/", "/docs", "/docs/{proxy+}", "/openapi.json", "/ui", "/ui/{proxy+}"}
    assert {route["Path"] for route in routes} - keyless == {"/{proxy+}"}


def test_recordings_reach_the_function_as_bytes() -> None:
    types = TEMPLATE["Resources"]["Api"]["Properties"]["BinaryMediaTypes"]
    assert [name.replace("~1", "/") for name in types] == [FORM_TYPE, *RAW_TYPES]


def test_cors_is_off_by_default_and_covers_the_api_and_the_input_bucket() -> None:
    assert TEMPLATE["Parameters"]["CorsOrigins"]["Default"] == ""
    assert environment("ApiFunction")["CORS_ORIGINS"] == {"Ref": "CorsOrigins"}
    (rule,) = BUCKETS["InputBucket"]["CorsConfiguration"]["CorsRules"]
    assert rule["AllowedMethods"] == ["POST"]
    name, with_others, (own,) = rule["AllowedOrigins"]["Fn::If"]
    assert name == "HasCorsOrigins"
    # The page of the service itself uploads from the host of the API.
    assert own == {"Fn::Sub": "https://*.execute-api.${AWS::Region}.${AWS::URLSuffix}"}
    assert with_others == {"Fn::Split": [",", {"Fn::Sub": f"{own['Fn::Sub']},${{CorsOrigins}}"}]}
    for answer in TEMPLATE["Resources"]["Api"]["Properties"]["GatewayResponses"].values():
        headers = answer["ResponseParameters"]["Headers"]
        assert headers["Access-Control-Allow-Origin"] == {
            "Fn::If": ["HasCorsOrigins", "'*'", {"Ref": "AWS::NoValue"}]
        }
        assert headers["X-Content-Type-Options"] == "'nosniff'"
        assert headers["Strict-Transport-Security"] == f"'{HSTS}'"


@pytest.mark.slow
def test_moto_creates_the_resources_that_need_no_transform() -> None:
    """This is not a deployment, but it finds an invalid bucket, queue or topic."""
    with mock_aws():
        formation: Any = boto3.client("cloudformation", region_name=events.REGION)
        functions, _ = template.create(TEMPLATE_PATH, formation, "audio-anomaly-dev")
        s3 = boto3.client("s3", region_name=events.REGION)
        names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert names == {events.INPUT_BUCKET, events.RESULTS_BUCKET, events.MODELS_BUCKET}
    assert {function.name for function in functions} == set(FUNCTIONS)


def test_the_endpoint_of_a_local_aws_is_declared_and_not_set() -> None:
    """`sam local invoke --env-vars` sets only declared variables; on AWS it must stay unset."""
    assert GLOBALS["Environment"]["Variables"]["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}
    with mock_aws():
        formation: Any = boto3.client("cloudformation", region_name=events.REGION)
        functions, _ = template.create(TEMPLATE_PATH, formation, "audio-anomaly-dev")
    for function in functions:
        assert "AWS_ENDPOINT_URL" not in function.environment
        # An empty parameter must not hide the variable of the machine that runs the stack.
        assert "CORS_ORIGINS" not in function.environment


def test_the_history_is_kept_whatever_happens_to_the_stack() -> None:
    table = TEMPLATE["Resources"]["HistoryTable"]
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    properties = table["Properties"]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["DeletionProtectionEnabled"] is True
    assert GLOBALS["Environment"]["Variables"]["HISTORY"] == {"Fn::Sub": "dynamodb:${HistoryTable}"}
    (statement,) = [s for name, s in statements() if name == "KeepHistory"]
    assert statement["Resource"] == {"Fn::GetAtt": ["HistoryTable", "Arn"]}
    assert not {"dynamodb:DeleteItem", "dynamodb:Scan"} & set(statement["Action"])
