"""Every statement of every role: what it is for, and that exactly this is used.

The functions run in moto, which allows everything. What they call is recorded, and has to be what
template.yaml allows: an unused permission fails here as well as a missing one.
"""

import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from functions.api.app import app
from functions.s3_trigger.app import handler as on_upload
from functions.sqs_trigger.app import handler as on_batch
from oddsound import runtime
from oddsound.aws.uploads import upload_key
from oddsound_workbench import models_files, signing
from oddsound_workbench.deploy import template
from oddsound_workbench.files import TEMPLATE as TEMPLATE_PATH
from tests.cloud import FAULTY, INPUT, MODELS, NORMAL, RESULTS, Cloud, LambdaContext, notification
from tests.cloud import batch as batch_of
from tests.machines.conftest import TABLE, table_of_the_template

pytestmark = pytest.mark.slow

RESOURCES = template.load(TEMPLATE_PATH)["Resources"]

PURPOSE = {
    ("ReadModels", "ReadModels"): "load models.json and the artifacts that it names",
    ("ReadModels", "TellMissingModels"): "404 instead of 403 for an object that is missing",
    ("ReadModels", "VerifyModels"): "verify the signature of models.json, if it must have one",
    ("KeepHistory", "KeepHistory"): "machines, their states, and a row for each recording",
    ("ScoreRecordings", "ReadRecordings"): "HEAD and GET of the recording",
    ("ScoreRecordings", "TellMissingRecordings"): "a deleted recording is told from a denied one",
    ("ScoreRecordings", "StoreResults"): "a result is read, then stored on a condition",
    ("ScoreRecordings", "TellMissingResults"): "no result yet is told from a denied one",
    ("ScoreRecordings", "AnnounceAnomalies"): "publish to the topic of anomalies",
    ("ApiRole", "WriteLog"): "by Lambda",
    ("ApiRole", "SignUploads"): "by whoever has a form of POST /uploads",
    ("ApiRole", "PlayRecordings"): "by whoever has a link of GET /recordings",
    ("ApiRole", "ReadResults"): "GET /results",
    ("ApiRole", "TellMissingResults"): "404 while there is no result",
    ("S3TriggerRole", "WriteLog"): "by Lambda",
    ("S3TriggerRole", "ParkFailures"): "by Lambda, for an event that failed three times",
    ("SqsTriggerRole", "WriteLog"): "by Lambda",
    ("SqsTriggerRole", "ReceiveJobs"): "by Lambda's poller",
    ("BackfillRole", "ListRecordings"): "list the objects under a prefix",
    ("BackfillRole", "ScoreRecordings"): "invoke the function for uploads with each of them",
    ("BackfillRole", "WriteOutcomes"): "store the outcomes, also in parts",
    ("BackfillRole", "StartChildren"): "a Distributed Map starts executions of its own machine",
    ("BackfillRole", "FollowChildren"): "and waits for them",
    ("BackfillRole", "DeliverLogs"): "write the log of failed executions",
    ("ModelsWriterRole", "ReadAndWriteModels"): "oddsound push and rollback, make destroy",
    ("ModelsWriterRole", "ListModels"): "404 for what is not uploaded yet; make destroy",
}
"""Owner and Sid of a statement -> what it is for."""

BY_OTHERS = {"WriteLog", "SignUploads", "PlayRecordings", "ParkFailures", "ReceiveJobs"}
"""Statements that AWS uses in the name of a function, or the holder of a signature."""

S3_ACTIONS = {
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "HeadBucket": "s3:ListBucket",
}

type Used = set[tuple[str, str]]
"""Pairs of an action and what it was called for: a bucket, its objects, the topic or the table."""


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of the stack's roles and managed policies, with the name of its owner."""
    for name, resource in RESOURCES.items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                yield name, statement
        elif resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    yield name, statement


def allowed(role: str) -> Used:
    """What the code of a function may do: the statements of its role and of the role's policies."""
    policies = [ref["Ref"] for ref in RESOURCES[role]["Properties"]["ManagedPolicyArns"]]
    found: Used = set()
    for owner, statement in statements():
        if owner in [role, *policies] and statement["Sid"] not in BY_OTHERS:
            actions, resource = statement["Action"], json.dumps(statement["Resource"])
            for action in [actions] if isinstance(actions, str) else actions:
                found.add((action, _of_resource(resource)))
    return found


def _of_resource(resource: str) -> str:
    """The resource of a statement in the words of `recorded`."""
    if "HistoryTable" in resource:
        return "table"
    if "ModelsKeyArn" in resource:
        return "key"
    if "AnomalyTopic" in resource:
        return "topic"
    parts = {"-input-": INPUT, "ResultsBucket": RESULTS, "ModelsBucket": MODELS}
    (bucket,) = [name for part, name in parts.items() if part in resource]
    return f"{bucket}/*" if resource.rstrip('"}]').endswith("/*") else bucket


@pytest.fixture
def recorded(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Used]:
    """Returns what the service has used, after its clients were created."""
    table_of_the_template(boto3.client("dynamodb"))
    monkeypatch.setenv("HISTORY", f"dynamodb:{TABLE}")
    monkeypatch.setenv("MODELS_PUBLIC_KEY", sign_models(cloud))
    runtime.clear()
    used: Used = set()

    def on_answer(http_response: Any, model: Any, context: Any, **_: Any) -> None:
        service, operation = model.service_model.service_name, model.name
        if service == "dynamodb":
            used.add((f"dynamodb:{operation}", "table"))
        elif service == "sns":
            used.add((f"sns:{operation}", "topic"))
        elif service == "kms":
            used.add((f"kms:{operation}", "key"))
        else:
            bucket = context["s3_redirect"]["bucket"]
            action = S3_ACTIONS[operation]
            used.add((action, bucket if action == "s3:ListBucket" else f"{bucket}/*"))
            if http_response.status_code == 404:  # without ListBucket, this would be 403
                used.add(("s3:ListBucket", bucket))

    for client in (
        runtime.s3_client(),
        runtime.sns_client(),
        runtime.dynamodb_client(),
        runtime.kms_client(),
    ):
        client.meta.events.register("after-call", on_answer)
    return lambda: used


def sign_models(cloud: Cloud) -> str:
    """Sign the models of the service with a key of KMS. Returns its ARN."""
    client: Any = boto3.client("kms")
    made = client.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    arn: str = made["KeyMetadata"]["Arn"]
    sign_with(arn, cloud)
    return arn


def sign_with(arn: str, cloud: Cloud) -> None:
    file = models_files.S3Object(f"s3://{MODELS}/models.json", cloud.s3)
    signing.sign_models(file, signing.signer(arn, lambda: boto3.client("kms")))


def test_every_statement_has_a_purpose() -> None:
    found = [(owner, statement.get("Sid")) for owner, statement in statements()]
    assert sorted(found) == sorted(PURPOSE)
    assert len(set(found)) == len(found)


def upload_and_delete(cloud: Cloud) -> list[Any]:
    """An anomaly, a recording of a machine, one that is gone, and one of an unknown model."""
    jobs = [
        cloud.put("fan.wav", FAULTY),
        cloud.put("hall-3/pump-07/1.wav", NORMAL),
        cloud.put("gone.wav", NORMAL),
    ]
    cloud.s3.delete_object(Bucket=INPUT, Key="gone.wav")
    return jobs


def test_the_function_for_uploads_uses_what_its_role_allows(
    cloud: Cloud, recorded: Callable[[], Used]
) -> None:
    on_upload(notification(*upload_and_delete(cloud)), LambdaContext())
    lose_a_model(cloud)
    assert recorded() == allowed("S3TriggerRole")


def test_the_function_for_jobs_uses_what_its_role_allows(
    cloud: Cloud, recorded: Callable[[], Used]
) -> None:
    messages = [{"bucket": job.bucket, "key": job.key} for job in upload_and_delete(cloud)]
    assert on_batch(batch_of(*messages), LambdaContext()) == {"batchItemFailures": []}
    lose_a_model(cloud)
    assert recorded() == allowed("SqsTriggerRole")


def test_the_api_uses_what_its_role_allows(cloud: Cloud, recorded: Callable[[], Used]) -> None:
    client = TestClient(app)
    machine = {"machine": "hall-3/pump-07"}
    assert client.post("/predict-anomaly", files={"file": NORMAL}, data=machine).is_success
    for path in ("/models", "/machines", "/machines/hall-3/pump-07/history"):
        assert client.get(path).status_code == 200
    assert client.post("/uploads", json={"filename": "fan.wav"}).status_code == 200
    assert client.get("/results/fan.wav").status_code == 404
    lose_a_model(cloud)
    assert recorded() == allowed("ApiRole")


def lose_a_model(cloud: Cloud) -> None:
    """Load a model whose artifact is missing: S3 tells that only to whom may list the bucket."""
    key = json.loads(cloud.s3.get_object(Bucket=MODELS, Key="models.json")["Body"].read())
    cloud.s3.delete_object(Bucket=MODELS, Key=key["bearing"]["compiled_path"])
    with pytest.raises(Exception, match="no such object"):
        runtime.registry().get("bearing")


@pytest.mark.parametrize("model", [None, "fan", "a model with spaces & ümlauts"])
def test_a_signed_upload_goes_where_its_role_may_write(model: str | None) -> None:
    (signing,) = [s for owner, s in statements() if s["Sid"] == "SignUploads"]
    patterns = [
        resource["Fn::Sub"].partition("${AWS::Region}/")[2] for resource in signing["Resource"]
    ]
    assert sorted(patterns) == ["models/*", "uploads/*"]
    key = upload_key("../../etc/Lüfter 7.wav", model)
    assert [fnmatchcase(key, pattern) for pattern in patterns].count(True) == 1


def test_only_its_own_role_writes_to_the_models_bucket() -> None:
    statements_of = RESOURCES["ModelsBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (deny,) = [s for s in statements_of if s["Sid"] == "WrittenByItsRoleOnly"]
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert deny["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["ModelsWriterRole", "Arn"]}}
    }
    writing = {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"}
    assert set(deny["Action"]) == writing
    for owner, statement in statements():
        may_write = "ModelsBucket" in json.dumps(statement["Resource"]) and writing & set(
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
        assert bool(may_write) is (statement["Sid"] == "ReadAndWriteModels"), owner


def test_queues_topics_and_buckets_take_requests_over_tls_only() -> None:
    covered: list[str] = []
    for resource in RESOURCES.values():
        properties = resource.get("Properties", {})
        for statement in properties.get("PolicyDocument", {}).get("Statement", []):
            if statement.get("Sid") == "TlsOnly":
                assert statement["Effect"] == "Deny"
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                targets = [properties.get("Bucket"), *properties.get("Queues", [])]
                targets += properties.get("Topics", [])
                covered += [target["Ref"] for target in targets if target]
    kinds = ("AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::SNS::Topic")
    assert sorted(covered) == sorted(n for n, r in RESOURCES.items() if r["Type"] in kinds)


def test_no_second_policy_replaces_the_first_one_of_a_queue_or_topic() -> None:
    targets = [
        target["Ref"]
        for resource in RESOURCES.values()
        if resource["Type"] in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for kind in ("Queues", "Topics")
        for target in resource["Properties"].get(kind, [])
    ]
    assert sorted(targets) == sorted(set(targets))


def test_services_may_publish_alarms_of_this_account_only() -> None:
    allowed_to = {
        statement["Principal"]["Service"]: statement["Condition"]
        for statement in RESOURCES["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert set(allowed_to) == {"cloudwatch.amazonaws.com", "budgets.amazonaws.com"}
    for condition in allowed_to.values():
        assert condition["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        assert "${AWS::AccountId}" in condition["ArnLike"]["aws:SourceArn"]["Fn::Sub"]
