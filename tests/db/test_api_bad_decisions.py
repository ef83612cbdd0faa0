"""What must not decide: wrong moments, persons, ways and bodies, each refused over REST."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from approvals.models import ApprovalDecision, WorkflowStepApproval
from tests.db.engine.by_hand import DriverByHand
from workflows.models import Membership, User, Workspace

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P16 bad decisions over REST"),
]

URL = "/api/v1/approvals/"
WORKFLOWS = "/api/v1/workflows/"
RUNS = "/api/v1/executions/"
APPROVE = {"outcome": "approved"}


@pytest.fixture
def asked(api):
    """The address of a request that waits."""
    made = api("operator").post(URL, {"title": "Deploy?"}, format="json").json()
    return f"{URL}{made['id']}/"


def decide(client, address, body=None):
    return client.post(f"{address}decisions/", body or APPROVE, format="json")


def refused(answer, status, code=None):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert code in (None, answer.json()["code"])
    assert not ApprovalDecision.objects.filter(outcome="approved").exists()
    return answer.json()


def gate(**approval):
    """A workflow whose only step is a gate."""
    step = {"name": "gate", "step_type": "approval", "config": {"approval": approval}}
    return {"name": "Gate", "steps": [step]}


class TestMoments:
    def test_expired_but_not_noticed_yet_is_409_and_then_timed_out(self, api, asked):
        WorkflowStepApproval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        refused(decide(api("approver"), asked), 409, "expired")
        assert WorkflowStepApproval.objects.get().status == "timeout"

    def test_after_a_rejection_an_approval_is_409_with_the_winner(self, api, asked):
        decide(api("approver"), asked, {"outcome": "rejected", "feedback": "No"})
        document = refused(decide(api("admin"), asked), 409, "already_decided")
        assert document["decided_by"] == "user123"
        assert document["decided_at"]

    def test_of_a_cancelled_request_nothing_can_be_decided(self, api, asked):
        api("operator").post(f"{asked}cancel/")
        refused(decide(api("approver"), asked), 409, "already_decided")


class TestPersons:
    def test_nobody_is_401_a_stranger_404_and_who_is_no_approver_403(
        self, api, make_api, asked, outsider
    ):
        refused(decide(APIClient(), asked), 401)
        refused(decide(make_api(outsider), asked), 404)
        for role in ("viewer", "operator"):
            refused(decide(api(role), asked), 403, "not_an_approver")

    def test_who_is_deactivated_is_401_and_who_was_removed_404(self, api, users, asked):
        clients = {role: api(role) for role in ("approver", "admin")}
        User.objects.filter(pk=users["approver"].pk).update(is_active=False)
        Membership.objects.filter(user=users["admin"]).delete()
        refused(decide(clients["approver"], asked), 401)
        refused(decide(clients["admin"], asked), 404)

    def test_where_it_is_prevented_nobody_decides_on_their_own_request(self, api, workspace):
        made = api("admin").post(URL, {"title": "Deploy?"}, format="json").json()
        WorkflowStepApproval.objects.update(prevent_self_approval=True)
        refused(decide(api("admin"), f"{URL}{made['id']}/"), 403, "self_approval")
        assert decide(api("approver"), f"{URL}{made['id']}/").status_code == 200


class TestWays:
    def test_get_is_405_no_csrf_token_403_and_plain_text_415(self, api, users, asked):
        for verb in ("decisions", "approve", "reject", "request-changes"):
            refused(api("approver").get(f"{asked}{verb}/"), 405)
            text = api("approver").generic(
                "POST", f"{asked}{verb}/", '{"outcome": "approved"}', content_type="text/plain"
            )
            refused(text, 415)
            browser = Client(enforce_csrf_checks=True)
            browser.force_login(users["approver"], "django.contrib.auth.backends.ModelBackend")
            sent = browser.post(f"{asked}{verb}/", APPROVE, content_type="application/json")
            refused(sent, 403, "csrf_failed")

    @pytest.mark.parametrize("address", ["../x", "%2e%2e%2f", "' OR 1", "1", "x" * 36])
    def test_what_is_no_id_is_404(self, api, asked, address):
        refused(api("approver").post(f"{URL}{address}/decisions/", APPROVE, format="json"), 404)


class TestBodies:
    @pytest.mark.parametrize("outcome", ["rejected", "request_changes"])
    @pytest.mark.parametrize("feedback", [None, "", " \n"])
    def test_what_sends_back_needs_feedback(self, api, asked, outcome, feedback):
        body = {"outcome": outcome} | ({} if feedback is None else {"feedback": feedback})
        document = refused(decide(api("approver"), asked, body), 400)
        assert [error["pointer"] for error in document["errors"]] == ["/feedback"]

    @pytest.mark.parametrize(
        "column", ["status", "approved_by", "workspace_id", "decided_at", "is_final", "door"]
    )
    def test_a_column_in_the_body_is_never_applied(self, api, asked, column):
        document = refused(decide(api("approver"), asked, {**APPROVE, column: "approved"}), 400)
        assert [error["pointer"] for error in document["errors"]] == [f"/{column}"]
        made = api("operator").post(URL, {"title": "x", column: "approved"}, format="json")
        assert made.status_code == 400

    @pytest.mark.parametrize(
        "query", ["limit=-1", "limit=1000000000", "cursor=eyJ4IjoxfQ", "cursor=-"]
    )
    def test_a_page_that_cannot_be_is_400(self, api, asked, query):
        refused(api("approver").get(f"{URL}?{query}"), 400)


class TestDefinitions:
    @pytest.mark.parametrize(
        ("approval", "code", "pointer"),
        [
            (
                {"auto_approve_after_seconds": 90_000},
                "auto_approve_after_expiry",
                "/auto_approve_after_seconds",
            ),
            ({"required_approvers": ["ghost"]}, "unknown_approver", "/required_approvers/0"),
            ({"required_approvers": ["outsider"]}, "unknown_approver", "/required_approvers/0"),
            ({"required_approvers": ["idle"]}, "unknown_approver", "/required_approvers/0"),
        ],
    )
    def test_a_gate_that_cannot_work_is_400_and_not_stored(
        self, api, workspace, outsider, make_member, approval, code, pointer
    ):
        idle = make_member("idle", workspace, "approver")
        User.objects.filter(pk=idle.pk).update(is_active=False)
        answer = api("editor").post(WORKFLOWS, gate(**approval), format="json")
        document = refused(answer, 400)
        assert [(error["code"], error["pointer"]) for error in document["errors"]] == [
            (code, f"/steps/0/config/approval{pointer}")
        ]
        assert api("editor").get(WORKFLOWS).json()["results"] == []

    def test_the_missions_own_gate_is_accepted_unless_the_workspace_forbids_it(self, api):
        own = gate(
            required_approvers=["user123"],
            auto_approve_after_seconds=3_600,
            expires_after_seconds=86_400,
        )
        assert api("editor").post(WORKFLOWS, own, format="json").status_code == 201
        Workspace.objects.update(settings={"forbid_auto_approval": True})
        answer = api("editor").post(WORKFLOWS, {**own, "name": "Second"}, format="json")
        refused(answer, 400)


def test_response_data_reaches_its_own_place_only(api, workflow):
    """Whatever an answer's keys are called: they override no step, no variable, no decision."""
    keys = {"approved": False, "status": "rejected", "steps": {}, "task_description": "evil"}
    start = {"workflow": "Deploy", "input_variables": {"task_description": "x"}}
    run = f"/api/v1/executions/{api('operator').post(RUNS, start, format='json').json()['id']}/"
    driver = DriverByHand()
    driver.work()
    gate = api("approver").get(f"{URL}?status=pending").json()["results"][0]
    answer = decide(api("approver"), f"{URL}{gate['id']}/", {**APPROVE, "response_data": keys})
    assert answer.status_code == 200, answer.content
    driver.work()
    ended = api("viewer").get(run).json()
    assert (ended["status"], ended["input_variables"]) == ("completed", start["input_variables"])
    steps = {step["name"]: step for step in api("viewer").get(f"{run}steps/").json()["results"]}
    output = steps["approval_gate"]["output_data"]
    assert (output["approved"], output["status"]) == (True, "approved")
    assert output["response_data"] == keys
