"""Free-standing requests on a gate's terms, and their revisions."""

from typing import Any

import pytest

from approvals.models import Door, WorkflowStepApproval
from approvals.services.asking import create_approval_request
from approvals.services.decisions import Decision, decide
from approvals.tally import tally
from tests.db.engine.scenes import Scene
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.models import Event, Timer, User, Workspace

pytestmark = pytest.mark.django_db


def ask(scene: Scene, role: str = "operator", **fields: Any) -> WorkflowStepApproval:
    values = {"workspace": scene.workspace, "title": "Buy it?", "user": scene.users[role]}
    return create_approval_request(**values | fields)


def refused(scene: Scene, **fields: Any) -> dict[str, str]:
    """Return what is told to be wrong, by its place."""
    with pytest.raises(InvalidInput) as refusal:
        ask(scene, **fields)
    assert not WorkflowStepApproval.objects.exists()
    return {problem.path: problem.error_type for problem in refusal.value.problems}


def say(request: WorkflowStepApproval, user: User, outcome: str = "approved") -> None:
    decide(Decision(request.id, outcome, "Because"), user=user, door=Door.API)


def test_the_terms_are_those_of_a_gate(scene: Scene) -> None:
    request = ask(
        scene,
        required_approvers=["user123", "editor", "admin"],
        min_approvals=2,
        form_schema={"properties": {"ticket": {"type": "string"}}},
        risk="high",
        prevent_self_approval=True,
        reminders=[60],
        escalate_after_seconds=120,
        escalate_to=["role:admin"],
        expires_after_seconds=600,
        callback_url="https://example.org/decided",
        files=[{"path": "a.txt", "before": None, "after": "new"}],
        approval_data={"price": 5},
    )
    request.refresh_from_db()
    assert (request.risk, request.prevent_self_approval) == ("high", True)
    assert request.approval_data["files"][0]["path"] == "a.txt"
    assert request.callback_url == "https://example.org/decided"
    assert request.approval_metadata == {
        "min_approvals": 2,
        "form_schema": {"properties": {"ticket": {"type": "string"}}},
        "reminders": [60],
        "escalate_after_seconds": 120,
        "escalate_to": ["role:admin"],
        "max_revisions": 5,
    }
    kinds = Timer.objects.filter(subject_id=request.id).values_list("kind", flat=True)
    assert set(kinds) == {"approval_expiry", "approval_reminder", "approval_escalation"}
    say(request, scene.users["editor"])
    assert (tally(request).given, tally(request).needed) == (1, 2)
    assert [entry.name for entry in request.approvers.order_by("id")] == request.required_approvers


def test_a_policy_names_the_approvers(scene: Scene) -> None:
    request = ask(scene, policy={"all_of": ["user123", {"any_of": ["editor", "admin"]}]})
    assert request.required_approvers == ["user123", "editor", "admin"]
    say(request, scene.users["editor"])
    say(request, scene.users["approver"])
    request.refresh_from_db()
    assert request.status == "approved"


def test_a_request_may_wait_for_ever(scene: Scene) -> None:
    request = ask(scene, expires_after_seconds=None, auto_approve_after_seconds=200_000)
    assert request.expires_at is None


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"title": ""}, "/title"),
        ({"min_approvals": 0}, "/min_approvals"),
        ({"min_approvals": "some"}, "/min_approvals"),
        ({"required_approvers": ["operator"]}, "/required_approvers/0"),
        ({"required_approvers": ["user123"], "min_approvals": 2}, "/min_approvals"),
        ({"risk": "none"}, "/risk"),
        ({"reminders": [0]}, "/reminders/0"),
        ({"escalate_to": ["nobody"], "escalate_after_seconds": 9}, "/escalate_to/0"),
        ({"on_timeout": "some_step"}, "/on_timeout"),
        ({"form_schema": {"type": "array"}}, "/form_schema"),
        ({"callback_url": "http://127.0.0.1/x"}, "/callback_url"),
        ({"callback_url": "ftp://example.org"}, "/callback_url"),
        ({"files": [{"path": "../x", "after": "a"}]}, "/approval_data/files/0/path"),
        ({"expires_after_seconds": 0}, "/expires_after_seconds"),
    ],
)
def test_terms_that_cannot_be_are_refused_with_their_place(
    scene: Scene, fields: dict[str, Any], place: str
) -> None:
    assert place in refused(scene, **fields)


def test_what_was_sent_back_is_asked_again_by_who_asked(
    scene: Scene, outsider: User, other_workspace: Workspace
) -> None:
    request = ask(scene, max_revisions=1)
    parent = {"parent_approval_id": request.id}
    with pytest.raises(Conflict) as refusal:
        ask(scene, **parent)
    assert refusal.value.code == "not_sent_back"
    say(request, scene.users["approver"], "request_changes")
    with pytest.raises(NotPermitted):
        ask(scene, role="editor", **parent)
    with pytest.raises(NotVisible):
        create_approval_request(workspace=other_workspace, title="T", user=outsider, **parent)
    again = ask(scene, title="Cheaper?", max_revisions=50, **parent)
    assert (again.revision_count, again.parent_approval_id) == (1, request.id)
    assert again.approval_metadata["max_revisions"] == 1, "a revision widens no limit"
    assert again.digest != request.digest
    assert Event.objects.filter(approval_id=again.id, event_type="approval_required").exists()
    with pytest.raises(MgxError) as limit:
        say(again, scene.users["approver"], "request_changes")
    assert limit.value.code == "revision_limit"
    with pytest.raises(Conflict) as twice:
        ask(scene, **parent)
    assert twice.value.code == "already_revised"
