"""What template.yaml says about costs, alarms, the dashboard, and the checks of machines."""

import json
import re

from tests.declared import FUNCTIONS, TEMPLATE, of_type


def test_what_a_month_can_cost_has_a_ceiling() -> None:
    for name, parameter in (("ApiFunction", "Api"), ("S3TriggerFunction", "Uploads")):
        assert FUNCTIONS[name]["ReservedConcurrentExecutions"] == {
            "Fn::If": [
                f"HasReserved{parameter}",
                {"Ref": f"{parameter}ReservedConcurrency"},
                {"Ref": "AWS::NoValue"},
            ]
        }
    plan = TEMPLATE["Resources"]["Api"]["Properties"]["Auth"]["UsagePlan"]
    assert plan["Quota"] == {"Limit": {"Ref": "QuotaPerMonth"}, "Period": "MONTH"}
    budget = of_type("AWS::Budgets::Budget")["Budget"]
    assert TEMPLATE["Resources"]["Budget"]["Condition"] == "HasBudget"
    assert budget["Budget"]["BudgetLimit"]["Amount"] == {"Ref": "MonthlyBudgetUSD"}
    for notified in budget["NotificationsWithSubscribers"]:
        assert notified["Subscribers"] == [
            {"SubscriptionType": "SNS", "Address": {"Ref": "AlarmTopic"}}
        ]


def test_every_alarm_is_published() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
    watched = {alarm["MetricName"] for alarm in alarms.values()}
    assert {"Errors", "Throttles", "Latency", "ApproximateNumberOfMessagesVisible"} <= watched
    assert "KmsMasterKeyId" not in of_type("AWS::SNS::Topic")["AlarmTopic"]


def test_alarms_of_machines_outlast_a_late_check_and_notice_that_there_is_none() -> None:
    alarms = of_type("AWS::CloudWatch::Alarm")
    for name in ("SilentMachinesAlarm", "FailingMachinesAlarm"):
        assert alarms[name]["TreatMissingData"] == "ignore"
    checks = alarms["MachinesCheckAlarm"]
    assert (checks["Statistic"], checks["TreatMissingData"]) == ("SampleCount", "breaching")
    assert checks["ComparisonOperator"] == "LessThanThreshold"
    (rule,) = of_type("AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(5 minutes)"
    assert checks["Period"] * checks["EvaluationPeriods"] >= 3 * 300


def test_the_dashboard_is_json() -> None:
    body = of_type("AWS::CloudWatch::Dashboard")["Dashboard"]["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(body)["widgets"]
    assert len(widgets) == 9
    for name in re.findall(r"\$\{(\w+)[.}]", body):
        assert name in TEMPLATE["Resources"] | TEMPLATE["Parameters"]


def test_machines_are_checked_by_a_rule_that_may_only_write_to_the_jobs_queue() -> None:
    (rule,) = of_type("AWS::Events::Rule").values()
    assert [target["Arn"] for target in rule["Targets"]] == [{"Fn::GetAtt": ["JobsQueue", "Arn"]}]
    policies = of_type("AWS::SQS::QueuePolicy").values()
    (statement,) = [
        statement
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Resource"] == {"Fn::GetAtt": ["JobsQueue", "Arn"]}
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["CheckMachines", "Arn"]}}
    }
