"""Rules of more than one, forms and files of decisions in the admin."""

import csv
import io

import pytest
from admin_addresses import list_of, messages_on, page_of

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.services.asking import create_approval_request
from approvals.services.decisions import Decision, decide

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {
        "window": {"type": "string", "enum": ["night", "day"]},
        "hosts": {"type": "integer", "minimum": 1, "x-edits": "/hosts"},
        "<b>": {"type": "string"},
    },
    "required": ["window"],
}


@pytest.fixture
def request_of(workspace, users):
    """Return a function that makes a request of the operator."""

    def make(title="May it?", **options):
        return create_approval_request(
            workspace=workspace, title=title, user=users["operator"], **options
        )

    return make


def say(client, approval, **fields):
    data = {"outcome": "approved", "digest": approval.digest, "revision": approval.revision}
    return client.post(page_of(approval), {**data, **fields}, follow=True)


def test_a_vote_is_recorded_and_what_is_missing_shown(staff, users, request_of):
    approval = request_of(required_approvers=["user123", "admin"], min_approvals=2)
    client = staff("approver")
    page = say(client, approval)
    assert messages_on(page) == ["“May it?”: your decision is recorded. More approvals are needed."]
    assert "1 of 2; missing: admin" in page.content.decode()
    decide(Decision(approval.pk, "approved"), user=users["admin"], door="page")
    page = client.get(page_of(approval)).content.decode()
    assert "2 of 2" in page


def test_another_revision_is_not_decided(staff, request_of):
    approval = request_of()
    page = say(staff("approver"), approval, revision="2")
    assert "changed while you were reading" in messages_on(page)[0]
    assert not ApprovalDecision.objects.exists()


def test_the_form_is_filled_in_as_json_and_may_edit(staff, request_of):
    approval = request_of(form_schema=SCHEMA, approval_data={"hosts": 3})
    client = staff("approver")
    page = client.get(page_of(approval))
    field = page.context["decision_form"]["response_data"]
    assert '"hosts": 3' in field.as_widget().replace("&quot;", '"')
    assert "window (needed)" in page.content.decode()
    assert "<b>" not in page.content.decode()
    for text, says in (
        ("", "window"),
        ('{"window": "noon"}', "window"),
        ('{"window": "day", "window": "day"}', "twice"),
    ):
        page = say(client, approval, response_data=text)
        assert says in page.context["decision_form"].errors["response_data"][0]
    say(client, approval, response_data='{"window": "day", "hosts": 5}')
    approval.refresh_from_db()
    assert (approval.status, approval.approval_data) == ("approved", {"hosts": 5})


def test_without_a_schema_there_is_no_such_field(staff, request_of):
    page = staff("approver").get(page_of(request_of()))
    assert "response_data" not in page.context["decision_form"].fields


def test_decisions_are_exported_with_their_hashes_and_without_formulas(staff, users, request_of):
    approval = request_of("=cmd|'/c calc'!A1")
    said = Decision(approval.pk, "rejected", '=HYPERLINK("x")')
    decide(said, user=users["approver"], door="page")
    decision = ApprovalDecision.objects.get()
    client = staff("viewer")
    for model, key in ((ApprovalDecision, decision.pk), (WorkflowStepApproval, approval.pk)):
        answer = client.post(
            list_of(model), {"action": "export_selected", "_selected_action": [str(key)]}
        )
        (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
        assert not any(value.startswith("=") for value in row.values())
        assert row["id"] == str(key)
        if model is ApprovalDecision:
            assert (row["hash"], row["record_number"]) == (decision.hash, "1")


def test_a_decision_shows_its_place_in_the_record(staff, users, request_of):
    approval = request_of(form_schema=SCHEMA, approval_data={"hosts": 3})
    answer = {"window": "day", "hosts": 5}
    decide(
        Decision(approval.pk, "approved", response_data=answer), user=users["admin"], door="page"
    )
    decision = ApprovalDecision.objects.get()
    page = staff("viewer").get(page_of(decision)).content.decode()
    assert decision.hash in page
    assert "&quot;hosts&quot;: 5" in page


@pytest.mark.parametrize("query", ["escalated_at__isempty=1", "clock_stopped_at__isempty=1"])
def test_lists_are_narrowed(staff, request_of, query):
    approval = request_of()
    page = staff("viewer").get(f"{list_of(WorkflowStepApproval)}?{query}")
    assert list(page.context["cl"].result_list) == [approval]
