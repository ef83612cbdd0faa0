"""Deciding in the admin: the same rules as everywhere, recorded with its door."""

import pytest
from admin_addresses import list_of, messages_on, page_of

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.requests import create_approval_request

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_of(workspace, users):
    """Return a function that makes a request of the operator."""

    def make(title, **options):
        return create_approval_request(
            workspace=workspace, title=title, user=users["operator"], **options
        )

    return make


def say(client, approval, outcome, feedback="", **changes):
    data = {"outcome": outcome, "feedback": feedback, "digest": approval.digest, **changes}
    return client.post(page_of(approval), data, follow=True)


@pytest.mark.parametrize(
    ("outcome", "feedback"),
    [("approved", ""), ("rejected", "Too risky"), ("request_changes", "Name the host")],
)
def test_a_decision_is_recorded_with_its_door(staff, users, request_of, outcome, feedback):
    approval = request_of("May it?")
    page = say(staff("approver"), approval, outcome, feedback)
    approval.refresh_from_db()
    decision = ApprovalDecision.objects.get()
    assert (approval.status, approval.approved_by) == (outcome, users["approver"])
    assert (decision.door, decision.comment) == ("admin", feedback)
    assert "is recorded" in messages_on(page)[0]


@pytest.mark.parametrize("outcome", ["rejected", "request_changes"])
def test_feedback_is_asked_for_at_its_field(staff, request_of, outcome):
    approval = request_of("May it?")
    page = say(staff("approver"), approval, outcome, "  ")
    assert "Write" in page.context["decision_form"].errors["feedback"][0]
    assert page.context["decision_form"]["outcome"].value() == outcome
    assert not ApprovalDecision.objects.exists()


def test_no_choice_is_made_for_anybody(staff, request_of):
    approval = request_of("May it?")
    client = staff("approver")
    assert client.get(page_of(approval)).context["decision_form"]["outcome"].value() is None
    page = client.post(page_of(approval), {"digest": approval.digest})
    assert "outcome" in page.context["decision_form"].errors


def test_content_that_changed_meanwhile_is_not_decided(staff, request_of):
    approval = request_of("May it?")
    page = say(staff("approver"), approval, "approved", digest="0" * 64)
    assert "changed while you were reading" in messages_on(page)[0]
    assert WorkflowStepApproval.objects.get().status == "pending"


def test_the_loser_is_told_who_won(staff, users, request_of):
    approval = request_of("May it?")
    client = staff("approver")
    decide(Decision(approval.pk, "approved"), user=users["admin"], door="page")
    page = say(client, approval, "rejected", "No")
    assert "admin was before you" in messages_on(page)[0]
    assert WorkflowStepApproval.objects.get().status == "approved"


def test_a_repeat_is_no_second_decision(staff, request_of):
    approval = request_of("May it?")
    client = staff("approver")
    say(client, approval, "approved")
    page = say(client, approval, "approved")
    assert "already recorded" in messages_on(page)[0]
    assert ApprovalDecision.objects.count() == 1


def test_who_may_not_decide_is_told_why_and_has_no_form(staff, request_of):
    approval = request_of("May it?")
    client = staff("operator")
    page = client.get(page_of(approval))
    assert "Deciding needs the role approver" in page.content.decode()
    assert 'name="outcome"' not in page.content.decode()
    page = say(client, approval, "approved")
    assert "Deciding needs the role approver" in messages_on(page)[0]
    assert not ApprovalDecision.objects.exists()


def test_a_superuser_who_is_no_member_decides_nothing(superuser, request_of):
    approval = request_of("May it?")
    page = say(superuser, approval, "approved")
    assert messages_on(page)
    assert not ApprovalDecision.objects.exists()


def test_staff_of_another_workspace_decide_nothing(stranger, request_of):
    approval = request_of("May it?")
    say(stranger, approval, "approved")
    assert not ApprovalDecision.objects.exists()


def test_the_row_itself_is_never_changed_by_a_post(staff, request_of):
    approval = request_of("May it?")
    say(staff("approver"), approval, "approved", title="Other", approval_data="{}", status="x")
    assert WorkflowStepApproval.objects.get().title == "May it?"


def test_several_are_decided_with_one_record_each(staff, users, request_of):
    approvals = [request_of(f"May {number}?") for number in range(3)]
    client = staff("approver")
    keys = [str(approval.pk) for approval in approvals]
    data = {"action": "reject_selected", "_selected_action": keys}
    page = client.post(list_of(WorkflowStepApproval), data)
    assert all(approval.digest in page.content.decode() for approval in approvals)
    assert not ApprovalDecision.objects.exists()

    data |= {f"digest-{approval.pk}": approval.digest for approval in approvals}
    page = client.post(list_of(WorkflowStepApproval), {**data, "confirmed": "1"})
    assert "feedback" in page.context["form"].errors

    decide(Decision(approvals[0].pk, "approved"), user=users["admin"], door="page")
    data[f"digest-{approvals[1].pk}"] = "0" * 64
    data |= {"confirmed": "1", "feedback": "Not today"}
    page = client.post(list_of(WorkflowStepApproval), data, follow=True)
    said = " ".join(messages_on(page))
    assert "admin was before you" in said
    assert "changed while you were reading" in said
    statuses = dict(WorkflowStepApproval.objects.values_list("title", "status"))
    assert statuses == {"May 0?": "approved", "May 1?": "pending", "May 2?": "rejected"}


def test_what_an_agent_wrote_is_text_in_a_frame(staff, request_of):
    approval = request_of(
        "<b>May</b> it?", description="<script>1</script>", approval_data={"x": "<img src=y>"}
    )
    page = staff("approver").get(page_of(approval)).content.decode()
    assert "MGX has not checked any of it" in page
    for markup in ("<b>May", "<script>1", "<img src=y"):
        assert markup not in page


def test_a_high_risk_is_not_decided_by_a_session_of_long_ago(staff, request_of):
    client = staff("approver")
    session = client.session
    session["signed_in_at"] -= 16 * 60
    session.save()
    approval = request_of("May it?", risk="high")
    page = say(client, approval, "approved")
    assert "Enter your password on the request’s own page." in messages_on(page)[0]
    assert not ApprovalDecision.objects.exists()
