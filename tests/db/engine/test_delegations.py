"""Delegation: who stands in decides by the right of whom they stand in for, and no further."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group

from approvals.models import ApprovalDecision, Delegation, Door, WorkflowStepApproval
from approvals.rights import can_decide
from approvals.services.decisions import Decision, decide
from approvals.services.delegations import delegate, delegate_all, revoke_delegation
from approvals.services.requests import create_approval_request
from tests.db.engine.passing import let_pass
from tests.db.engine.scenes import Scene
from workflows.clock import database_now
from workflows.errors import InvalidInput, MgxError
from workflows.models import Event, Membership, User

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def anna(scene: Scene, make_member: Any) -> User:
    """Who is named, and delegates."""
    return make_member("anna", scene.workspace, "approver")


@pytest.fixture
def bert(scene: Scene, make_member: Any) -> User:
    """Who stands in for her."""
    return make_member("bert", scene.workspace, "approver")


@pytest.fixture
def request_(scene: Scene, anna: User) -> WorkflowStepApproval:
    return ask(scene, required_approvers=["anna"])


def ask(scene: Scene, **fields: Any) -> WorkflowStepApproval:
    return create_approval_request(
        workspace=scene.workspace, title="T", user=scene.users["operator"], **fields
    )


def refusal_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


def away(scene: Scene, user: User, to: str, **fields: Any) -> Delegation:
    """Let ``user`` be out of office for an hour from now, unless told otherwise."""
    times = {"starts_at": None, "ends_at": database_now() + HOUR} | fields
    return delegate_all(scene.workspace, to=to, user=user, **times)


# --- one request --------------------------------------------------------------------------


def test_one_request_can_be_handed_to_another(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval
) -> None:
    other = ask(scene, required_approvers=["anna"])
    assert not can_decide(bert, request_).allowed
    made = delegate(request_.id, to="bert", user=anna, reason="He knows it")
    assert (can_decide(bert, request_).allowed, can_decide(bert, other).allowed) == (True, False)
    assert delegate(request_.id, to="bert", user=anna) == made
    [event] = Event.objects.filter(event_type="approval_delegated")
    assert (event.actor, event.approval_id) == ("user:anna", request_.id)
    assert (event.data["delegator"], event.data["delegate"]) == ("anna", "bert")
    assert event.data["reason"] == "He knows it"
    decide(Decision(request_.id, "approved"), user=bert, door=Door.API)
    decision = ApprovalDecision.objects.get()
    assert (decision.user, decision.on_behalf_of) == (bert, anna)


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("nobody", "unknown_member"),
        ("outsider", "unknown_member"),
        ("operator", "not_an_approver"),
        ("anna", "to_yourself"),
    ],
)
def test_only_another_member_who_may_approve_can_stand_in(
    scene: Scene, anna: User, request_: WorkflowStepApproval, outsider: User, to: str, code: str
) -> None:
    assert refusal_of(lambda: delegate(request_.id, to=to, user=anna)) == code
    assert refusal_of(lambda: away(scene, anna, to)) == code
    assert not Delegation.objects.exists()


def test_who_has_no_right_of_their_own_has_none_to_give(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval, outsider: User
) -> None:
    for user, code in ((bert, "not_an_approver"), (outsider, "not_found")):
        act = refusal_of(lambda user=user: delegate(request_.id, to="user123", user=user))
        assert act == code
    viewer = scene.users["viewer"]
    assert refusal_of(lambda: away(scene, viewer, "bert")) == "permission_denied"


def test_what_one_holds_for_another_cannot_be_handed_on(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval
) -> None:
    away(scene, anna, "bert")
    away(scene, bert, "user123")
    assert can_decide(bert, request_).allowed
    assert not can_decide(scene.users["approver"], request_).allowed
    act = refusal_of(lambda: delegate(request_.id, to="user123", user=bert))
    assert act == "not_an_approver"


def test_what_is_decided_or_has_expired_cannot_be_delegated(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval
) -> None:
    expired = ask(scene, required_approvers=["anna"])
    WorkflowStepApproval.objects.filter(id=expired.id).update(expires_at=database_now())
    assert refusal_of(lambda: delegate(expired.id, to="bert", user=anna)) == "expired"
    decide(Decision(request_.id, "approved"), user=anna, door=Door.API)
    assert refusal_of(lambda: delegate(request_.id, to="bert", user=anna)) == "already_decided"


# --- for a time ---------------------------------------------------------------------------


def test_who_is_away_is_stood_in_for_until_they_are_back(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval
) -> None:
    now = database_now()
    away(scene, anna, "bert", starts_at=now + HOUR, ends_at=now + 2 * HOUR)
    assert not can_decide(bert, request_).allowed
    let_pass(3_600)
    assert can_decide(bert, request_).allowed
    assert list(WorkflowStepApproval.objects.decidable_by(bert)) == [request_]
    assert can_decide(anna, request_).allowed
    let_pass(3_600)
    assert not can_decide(bert, request_).allowed


def test_absences_may_overlap(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval
) -> None:
    first = away(scene, anna, "bert")
    away(scene, anna, "bert", ends_at=database_now() + 2 * HOUR)
    away(scene, anna, "user123")
    revoke_delegation(first.id, user=anna)
    assert can_decide(bert, request_).allowed
    let_pass(3_600)
    assert can_decide(bert, request_).allowed
    assert not can_decide(scene.users["approver"], request_).allowed


def test_it_is_taken_back_at_once_and_once(
    scene: Scene, anna: User, bert: User, request_: WorkflowStepApproval, outsider: User
) -> None:
    made = away(scene, anna, "bert")
    for user, code in ((bert, "permission_denied"), (outsider, "not_found")):
        assert refusal_of(lambda user=user: revoke_delegation(made.id, user=user)) == code
    first = revoke_delegation(made.id, user=scene.users["admin"])
    assert not can_decide(bert, request_).allowed
    again = revoke_delegation(made.id, user=anna)
    assert first.revoked_at == again.revoked_at is not None
    [event] = Event.objects.filter(event_type="delegation_revoked")
    assert event.actor == "user:admin"


def demote(user: User) -> None:
    Membership.objects.filter(user=user).update(role="operator")


def remove(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("who", ["anna", "bert"])
@pytest.mark.parametrize("change", [demote, remove, deactivate])
def test_it_ends_with_the_right_of_either(
    scene: Scene,
    anna: User,
    bert: User,
    request_: WorkflowStepApproval,
    change: Callable[[User], None],
    who: str,
) -> None:
    away(scene, anna, "bert")
    assert can_decide(bert, request_).allowed
    change({"anna": anna, "bert": bert}[who])
    assert not can_decide(bert, request_).allowed
    with pytest.raises(MgxError):
        decide(Decision(request_.id, "approved"), user=bert, door=Door.API)


def test_a_member_of_a_group_is_stood_in_for_too(scene: Scene, anna: User, bert: User) -> None:
    group = Group.objects.create(name="release")
    group.user_set.add(anna)
    request = ask(scene, required_approvers=["group:release"])
    away(scene, anna, "bert")
    assert can_decide(bert, request).allowed
    group.user_set.clear()
    assert not can_decide(bert, request).allowed


def test_who_stands_in_for_the_requester_cannot_decide_either(
    scene: Scene, anna: User, bert: User
) -> None:
    request = create_approval_request(workspace=scene.workspace, title="T", user=anna)
    WorkflowStepApproval.objects.update(prevent_self_approval=True)
    request.refresh_from_db()
    assert can_decide(bert, request).allowed
    away(scene, anna, "bert")
    assert can_decide(bert, request).code == "self_approval"
    act = refusal_of(lambda: delegate(request.id, to="anna", user=scene.users["admin"]))
    assert act == "self_approval"


def test_a_wrong_time_or_reason_is_refused_with_all_that_is_wrong(
    scene: Scene, anna: User, bert: User
) -> None:
    now = database_now()
    for times in (
        {"ends_at": now - HOUR},
        {"starts_at": now + HOUR, "ends_at": now + HOUR},
        {"ends_at": now + timedelta(days=400)},
    ):
        with pytest.raises(InvalidInput) as refusal:
            away(scene, anna, "nobody", reason="x" * 501, **times)
        assert {p.path for p in refusal.value.problems} == {"/to", "/reason", "/ends_at"}
