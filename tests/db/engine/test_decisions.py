"""Who may decide, when, on what; and that of many who decide at once exactly one wins."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connections

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.rights import can_decide
from approvals.services.decisions import Decision, DecisionResult, decide, decide_many
from approvals.services.requests import (
    await_for_approval,
    cancel,
    comment,
    create_approval_request,
    get_pending_approvals,
    wait_for_approval,
)
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, task
from tests.db.engine.threads import at_once
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.models import Event, Membership, Timer, User, WorkflowExecution
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(scene: Scene, hand: DriverByHand) -> Callable[..., WorkflowStepApproval]:
    """Return a function that runs a workflow up to its gate and returns the request."""

    def make(**approval: Any) -> WorkflowStepApproval:
        execution = scene.run(gate("g", **approval), task("after", after=["g"]))
        hand.turn()
        return WorkflowStepApproval.objects.get(workflow_execution=execution)

    return make


Ask = Callable[..., WorkflowStepApproval]


def say(
    request: WorkflowStepApproval, user: User, outcome: str = "approved", **fields: Any
) -> DecisionResult:
    return decide(Decision(request.id, outcome, **fields), user=user, door=Door.PAGE)


def refusal_of(act: Callable[[], Any]) -> str:
    """Return the code with which ``act`` is refused, and "" where it is not."""
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


# --- the record ---------------------------------------------------------------------------


def test_a_decision_is_recorded_with_who_what_and_through_which_door(
    scene: Scene, ask: Ask
) -> None:
    request = ask()
    approver = scene.users["approver"]
    result = say(request, approver, feedback="Fine", response_data={"n": 1}, digest=request.digest)
    assert (result.repeated, result.approval.status) == (False, "approved")
    request.refresh_from_db()
    assert (request.status, request.approved_by, request.feedback) == ("approved", approver, "Fine")
    assert request.responded_at is not None
    row = ApprovalDecision.objects.get()
    assert (row.user, row.outcome, row.comment, row.door) == (approver, "approved", "Fine", "page")
    assert (row.digest, row.revision, row.response_data) == (request.digest, 1, {"n": 1})
    event = Event.objects.get(event_type="approval_granted")
    assert (event.actor, event.approval_id) == ("user:user123", request.id)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"outcome": "rejected"}, "feedback_required"),
        ({"outcome": "request_changes", "feedback": " \n"}, "feedback_required"),
        ({"outcome": "cancelled"}, "invalid_choice"),
        ({"outcome": "approved", "feedback": "x" * 10_001}, "too_long"),
        ({"outcome": "approved", "feedback": "a\0b"}, "nul_character"),
        ({"outcome": "approved", "response_data": {"x": float("nan")}}, "not_a_number"),
    ],
)
def test_what_is_malformed_is_refused(
    scene: Scene, ask: Ask, fields: dict[str, Any], code: str
) -> None:
    request = ask()
    with pytest.raises(InvalidInput) as refusal:
        decide(Decision(request.id, **fields), user=scene.users["approver"], door=Door.API)
    assert refusal.value.code == code
    assert not ApprovalDecision.objects.exists()


# --- who ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "code"),
    [
        ("viewer", "not_an_approver"),
        ("operator", "not_an_approver"),
        ("approver", ""),
        ("editor", ""),
        ("admin", ""),
    ],
)
def test_without_names_every_member_from_approver_up_may_decide(
    scene: Scene, ask: Ask, role: str, code: str
) -> None:
    request = ask()
    assert can_decide(scene.users[role], request).code == code
    assert refusal_of(lambda: say(request, scene.users[role])) == code


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (["editor"], {"editor"}),
        (["editor", "user123"], {"approver", "editor"}),
        (["role:editor"], {"editor", "admin"}),
        (["role:viewer"], {"approver", "editor", "admin"}),
        (["group:release"], {"admin"}),
        (["group:release", "editor"], {"admin", "editor"}),
    ],
)
def test_with_names_only_they_may_decide(
    scene: Scene, ask: Ask, names: list[str], allowed: set[str]
) -> None:
    group = Group.objects.create(name="release")
    group.user_set.add(scene.users["operator"], scene.users["admin"])
    request = ask(required_approvers=names)
    assert {r for r, user in scene.users.items() if can_decide(user, request).allowed} == allowed
    for role in set(scene.users) - allowed:
        assert refusal_of(lambda role=role: say(request, scene.users[role])) == "not_an_approver"
    assert refusal_of(lambda: say(request, scene.users[sorted(allowed)[0]])) == ""


def test_an_id_names_a_user_too(scene: Scene, ask: Ask) -> None:
    request = ask(required_approvers=[str(scene.users["editor"].pk)])
    assert can_decide(scene.users["editor"], request).allowed
    assert not can_decide(scene.users["admin"], request).allowed


def test_a_group_is_asked_at_the_moment_of_the_decision(scene: Scene, ask: Ask) -> None:
    group = Group.objects.create(name="release")
    group.user_set.add(scene.users["admin"])
    request = ask(required_approvers=["group:release"])
    assert refusal_of(lambda: say(request, scene.users["editor"])) == "not_an_approver"
    group.user_set.set([scene.users["editor"]])
    assert refusal_of(lambda: say(request, scene.users["admin"])) == "not_an_approver"
    assert refusal_of(lambda: say(request, scene.users["editor"])) == ""


def test_a_foreign_member_of_the_group_sees_nothing(scene: Scene, ask: Ask, outsider: User) -> None:
    group = Group.objects.create(name="release")
    group.user_set.add(scene.users["admin"], outsider)
    request = ask(required_approvers=["group:release"])
    with pytest.raises(NotVisible):
        say(request, outsider)
    assert not can_decide(outsider, request).allowed


def remove(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def promote(user: User) -> None:
    Membership.objects.filter(user=user).update(role="approver")


def demote(user: User) -> None:
    Membership.objects.filter(user=user).update(role="viewer")


@pytest.mark.parametrize(
    ("change", "names", "code"),
    [
        (remove, [], "not_found"),
        (remove, ["user123"], "not_found"),
        (deactivate, [], "not_found"),
        (deactivate, ["user123"], "not_found"),
        (demote, [], "not_an_approver"),
        (demote, ["role:approver"], "not_an_approver"),
        (demote, ["user123"], "not_an_approver"),
    ],
)
def test_a_right_that_is_lost_is_lost_at_once(
    scene: Scene, ask: Ask, change: Callable[[User], None], names: list[str], code: str
) -> None:
    request = ask(required_approvers=names)
    user = scene.users["approver"]
    assert can_decide(user, request).allowed
    change(user)
    assert refusal_of(lambda: say(request, user)) == code
    assert not can_decide(user, request).allowed
    assert not WorkflowStepApproval.objects.decidable_by(user).exists()


def test_a_name_that_has_gone_does_not_open_the_request_to_everybody(
    scene: Scene, ask: Ask, make_member: Callable[..., User]
) -> None:
    bob = make_member("bob", scene.workspace, "approver")
    request = ask(required_approvers=["bob"])
    bob.delete()
    assert refusal_of(lambda: say(request, scene.users["admin"])) == "not_an_approver"


def test_who_started_the_run_may_be_kept_from_deciding_on_it(scene: Scene, ask: Ask) -> None:
    promote(scene.users["operator"])
    operator = scene.users["operator"]
    names = ["operator", "user123"]
    request = ask(required_approvers=names, prevent_self_approval=True)
    assert can_decide(operator, request).code == "self_approval"
    assert refusal_of(lambda: say(request, operator)) == "self_approval"
    assert refusal_of(lambda: say(request, scene.users["approver"])) == ""
    assert refusal_of(lambda: say(ask(required_approvers=names), operator)) == ""


def test_a_workspace_may_keep_everybody_from_deciding_on_their_own(scene: Scene, ask: Ask) -> None:
    promote(scene.users["operator"])
    scene.workspace.settings = {"prevent_self_approval": True}
    scene.workspace.save()
    assert refusal_of(lambda: say(ask(), scene.users["operator"])) == "self_approval"
    assert refusal_of(lambda: say(ask(), scene.users["approver"])) == ""


def test_a_request_of_another_workspace_does_not_exist(
    ask: Ask, outsider: User, scene: Scene
) -> None:
    request = ask()
    assert refusal_of(lambda: say(request, outsider)) == "not_found"
    unknown = Decision(uuid4(), "approved")
    with pytest.raises(NotVisible):
        decide(unknown, user=scene.users["admin"], door=Door.API)


# --- on what ------------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [{"digest": "0" * 64}, {"revision": 2}])
def test_only_what_was_seen_can_be_decided_on(
    scene: Scene, ask: Ask, stale: dict[str, Any]
) -> None:
    request = ask()
    with pytest.raises(Conflict) as refusal:
        say(request, scene.users["approver"], **stale)
    assert refusal.value.code == "stale_digest"
    assert refusal.value.facts == {"digest": request.digest, "revision": 1}
    assert (
        refusal_of(lambda: say(request, scene.users["approver"], digest=request.digest, revision=1))
        == ""
    )


def test_the_digest_is_that_of_everything_that_is_shown(scene: Scene) -> None:
    def digest(**changes: Any) -> str:
        fields = {"title": "T", "description": "D", "approval_data": {"n": 1}} | changes
        made = create_approval_request(
            workspace=scene.workspace, user=scene.users["operator"], **fields
        )
        return made.digest

    assert digest() == digest()
    others = [digest(title="U"), digest(description="E"), digest(approval_data={"n": 2})]
    assert len({digest(), *others}) == 4


# --- when ---------------------------------------------------------------------------------


def test_who_comes_second_is_told_who_was_first_and_when(scene: Scene, ask: Ask) -> None:
    request = ask()
    first = say(request, scene.users["approver"])
    with pytest.raises(Conflict) as refusal:
        say(request, scene.users["admin"], "rejected", feedback="No")
    assert refusal.value.code == "already_decided"
    assert refusal.value.facts == {
        "status": "approved",
        "decided_by": "user123",
        "decided_at": first.approval.responded_at,
    }
    assert ApprovalDecision.objects.count() == 1


def test_the_winners_repeat_is_no_conflict_but_a_change_of_mind_is(scene: Scene, ask: Ask) -> None:
    request = ask()
    approver = scene.users["approver"]
    say(request, approver)
    assert say(request, approver).repeated
    code = refusal_of(lambda: say(request, approver, "rejected", feedback="No"))
    assert code == "already_decided"
    assert ApprovalDecision.objects.count() == 1
    assert Event.objects.filter(event_type="approval_granted").count() == 1


def test_nothing_is_left_to_decide_in_a_run_that_has_ended(scene: Scene, ask: Ask) -> None:
    request = ask()
    assert request.workflow_execution_id
    cancel_execution(request.workflow_execution_id, user=scene.users["operator"])
    code = refusal_of(lambda: say(request, scene.users["approver"]))
    assert code == "already_decided"
    assert not Timer.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_free", [False, True], ids=["of a run", "free-standing"])
def test_of_twenty_who_decide_at_once_exactly_one_wins(
    scene: Scene, ask: Ask, make_member: Callable[..., User], is_free: bool
) -> None:
    people = [make_member(f"person{n}", scene.workspace, "approver") for n in range(20)]
    for _ in range(3):
        request = (
            create_approval_request(
                workspace=scene.workspace, title="T", user=scene.users["operator"]
            )
            if is_free
            else ask()
        )

        def act(number: int, request: WorkflowStepApproval = request) -> DecisionResult | Conflict:
            outcome = ("approved", "rejected", "request_changes")[number % 3]
            try:
                return say(request, people[number], outcome, feedback="Because")
            except Conflict as conflict:
                return conflict

        answers = at_once(20, act)
        winners = [a for a in answers if isinstance(a, DecisionResult)]
        assert len(winners) == 1
        winner = winners[0].approval
        assert winner.approved_by is not None
        for refusal in [answer for answer in answers if isinstance(answer, Conflict)]:
            assert refusal.code == "already_decided"
            assert refusal.facts["status"] == winner.status
            assert refusal.facts["decided_by"] == winner.approved_by.username
            assert refusal.facts["decided_at"] == winner.responded_at
        assert ApprovalDecision.objects.filter(approval=winner).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_decision_and_a_cancellation_at_once_agree_on_one_end(scene: Scene, ask: Ask) -> None:
    for _ in range(5):
        request = ask()
        run = request.workflow_execution_id
        assert run

        def act(number: int, request: WorkflowStepApproval = request, run: Any = run) -> str:
            if number % 2:
                return refusal_of(lambda: cancel_execution(run, user=scene.users["operator"]))
            return refusal_of(lambda: say(request, scene.users["approver"]))

        at_once(6, act)
        request.refresh_from_db()
        execution = WorkflowExecution.objects.get(id=run)
        assert request.status in ("approved", "cancelled")
        assert execution.status == "cancelled"


# --- many at once -------------------------------------------------------------------------


def test_many_are_decided_together_with_an_answer_for_each(
    scene: Scene, ask: Ask, outsider: User
) -> None:
    requests = [ask() for _ in range(4)]
    say(requests[1], scene.users["admin"], "rejected", feedback="No")
    decisions = [
        Decision(requests[0].id, "approved"),
        Decision(requests[1].id, "approved"),
        Decision(requests[2].id, "rejected"),
        Decision(requests[2].id, "rejected", "No"),
        Decision(uuid4(), "approved"),
        Decision(requests[0].id, "approved"),
        Decision(requests[3].id, "approved", digest="stale"),
    ]
    answers = decide_many(decisions, user=scene.users["approver"], door=Door.API)
    told = [
        a.code if isinstance(a, MgxError) else ["done", "repeated"][a.repeated] for a in answers
    ]
    assert told == [
        "done",
        "already_decided",
        "feedback_required",
        "done",
        "not_found",
        "repeated",
        "stale_digest",
    ]
    statuses = [WorkflowStepApproval.objects.get(id=request.id).status for request in requests]
    assert statuses == ["approved", "rejected", "rejected", "pending"]
    assert decide_many([], user=scene.users["approver"], door=Door.API) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_free", [False, True], ids=["of runs", "free-standing"])
def test_those_who_decide_many_in_different_orders_do_not_wait_for_each_other_for_ever(
    scene: Scene, ask: Ask, make_member: Callable[..., User], is_free: bool
) -> None:
    people = [make_member(f"person{n}", scene.workspace, "approver") for n in range(8)]
    requests = [
        create_approval_request(workspace=scene.workspace, title="T", user=scene.users["operator"])
        if is_free
        else ask()
        for _ in range(10)
    ]

    def act(number: int) -> int:
        order = requests if number % 2 else requests[::-1]
        decisions = [Decision(request.id, "approved") for request in order]
        answers = decide_many(decisions, user=people[number], door=Door.API)
        return sum(isinstance(answer, DecisionResult) for answer in answers)

    assert sum(at_once(8, act)) == 10


# --- free-standing requests ---------------------------------------------------------------


def test_a_request_may_stand_alone(scene: Scene) -> None:
    operator = scene.users["operator"]
    request = create_approval_request(
        workspace=scene.workspace, title="Buy it?", user=operator, required_approvers=["user123"]
    )
    assert list(get_pending_approvals(scene.workspace)) == [request]
    assert wait_for_approval(request.id, user=operator, timeout=0).status == "pending"
    say(request, scene.users["approver"])
    assert wait_for_approval(request.id, user=operator, timeout=60).status == "approved"
    assert not get_pending_approvals(scene.workspace).exists()


@pytest.mark.django_db(transaction=True)
async def test_who_waits_is_told_when_it_is_decided(scene: Scene) -> None:

    operator, approver = scene.users["operator"], scene.users["approver"]
    request = await sync_to_async(create_approval_request)(
        workspace=scene.workspace, title="Buy it?", user=operator
    )
    waiting = asyncio.create_task(await_for_approval(request.id, user=operator, timeout=20))
    await sync_to_async(say)(request, approver)
    assert (await waiting).status == "approved"
    await sync_to_async(connections.close_all)()


def test_a_request_that_stands_alone_can_be_withdrawn_once(scene: Scene, ask: Ask) -> None:
    operator = scene.users["operator"]
    request = create_approval_request(workspace=scene.workspace, title="T", user=operator)
    assert refusal_of(lambda: cancel(request.id, user=scene.users["editor"])) == "permission_denied"
    assert cancel(request.id, user=operator).status == "cancelled"
    assert refusal_of(lambda: cancel(request.id, user=operator)) == "already_decided"
    assert refusal_of(lambda: say(request, scene.users["approver"])) == "already_decided"
    assert refusal_of(lambda: cancel(ask().id, user=operator)) == "belongs_to_a_run"


def test_a_request_that_cannot_be_is_refused_with_all_that_is_wrong(scene: Scene) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_approval_request(
            workspace=scene.workspace,
            title=" ",
            user=scene.users["operator"],
            description="\0",
            approval_data={"x": float("inf")},
            required_approvers=["nobody", "user123"],
            auto_approve_after_seconds=60,
            expires_after_seconds=60,
        )
    assert {problem.path for problem in refusal.value.problems} == {
        "/title",
        "/description",
        "/approval_data/x",
        "/required_approvers/0",
        "/auto_approve_after_seconds",
    }
    with pytest.raises(NotPermitted):
        create_approval_request(workspace=scene.workspace, title="T", user=scene.users["viewer"])


def test_a_comment_decides_nothing(scene: Scene, ask: Ask, outsider: User) -> None:
    request = ask()
    remark = comment(request.id, author=scene.users["viewer"], body="Why?")
    assert (remark.body, WorkflowStepApproval.objects.get().status) == ("Why?", "pending")
    assert refusal_of(lambda: comment(request.id, author=outsider, body="x")) == "not_found"
    assert refusal_of(lambda: comment(request.id, author=outsider, body=" ")) == "required"
    assert Event.objects.get(event_type="approval_commented").actor == "user:viewer"
