"""Standing grants: they vote for who gave them, within their limits, and as long as they could."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from approvals.models import ApprovalDecision, Door, StandingGrant, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.grants import apply_grants, give_grant, revoke_grant
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.passing import fire, let_pass
from tests.db.engine.scenes import Scene, ended, gate, statuses, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.engine.driver import Driver
from workflows.errors import InvalidInput, MgxError
from workflows.events import append_events
from workflows.models import Event, Membership, Timer, User, Workflow
from workflows.policies import FORBID_STANDING_GRANTS

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def workflow_of(scene: Scene, **approval: Any) -> Workflow:
    """Publish a workflow whose gate asks for an amount."""
    asking = gate("g", **approval)
    asking["config"]["inputs"] = {"amount": "${amount}", "to": "bank"}
    amount = {"name": "amount", "data_type": "json", "is_required": True}
    return scene.workflow(asking, task("after", after=["g"]), variables=[amount])


def grant(scene: Scene, workflow: Workflow, role: str = "approver", **fields: Any) -> StandingGrant:
    options = {"max_uses": 10, "expires_at": database_now() + HOUR} | fields
    return give_grant(workflow, user=scene.users[role], **options)


def refusal_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except MgxError as refusal:
        return refusal.code
    return ""


@pytest.fixture
def ask(scene: Scene, hand: DriverByHand) -> Callable[..., WorkflowStepApproval]:
    """Return a function that runs a workflow up to its gate, and what has been given ahead."""

    def make(workflow: Workflow, amount: Any = 100) -> WorkflowStepApproval:
        execution = scene.start(workflow, amount=amount)
        hand.turn()
        fire()
        hand.work()
        return WorkflowStepApproval.objects.get(workflow_execution=execution)

    return make


Ask = Callable[..., WorkflowStepApproval]


# --- use ----------------------------------------------------------------------------------


def test_a_grant_approves_for_who_gave_it_and_its_use_is_on_record(scene: Scene, ask: Ask) -> None:
    workflow = workflow_of(scene)
    given = grant(scene, workflow, note="Small sums")
    request = ask(workflow)
    assert (request.status, request.approved_by) == ("approved", scene.users["approver"])
    assert statuses(request.workflow_execution) == {"g": "completed", "after": "completed"}
    decision = ApprovalDecision.objects.get()
    assert (decision.grant, decision.door, decision.comment) == (given, "grant", "Small sums")
    given.refresh_from_db()
    assert given.uses == 1
    events = Event.objects.filter(approval_id=request.id).order_by("seq")
    told = list(events.values_list("event_type", flat=True))
    assert told == ["approval_required", "approval_granted"]
    assert not Timer.objects.exists()


@pytest.mark.parametrize(
    ("predicate", "amount", "status"),
    [
        ("payload.amount <= 100", 100, "approved"),
        ("payload.amount <= 100", 101, "pending"),
        ('payload.to == "bank" && risk == "medium" && title == "g"', 1, "approved"),
        ('payload.amount.currency == "EUR"', {"currency": "EUR"}, "approved"),
    ],
)
def test_it_counts_for_what_its_predicate_holds_of(
    scene: Scene, ask: Ask, predicate: str, amount: Any, status: str
) -> None:
    workflow = workflow_of(scene)
    grant(scene, workflow, predicate=predicate)
    assert ask(workflow, amount).status == status


@pytest.mark.parametrize("predicate", ["payload.limit > 1", "payload.amount", "payload.to > 1"])
def test_a_predicate_that_fails_does_not_match_and_the_request_says_so(
    scene: Scene, ask: Ask, predicate: str, client: Client
) -> None:
    workflow = workflow_of(scene)
    given = grant(scene, workflow, predicate=predicate)
    request = ask(workflow)
    assert request.status == "pending"
    [event] = Event.objects.filter(event_type="grant_not_applied")
    assert (event.approval_id, event.data["grant_id"]) == (request.id, str(given.id))
    assert event.data["error"] in event.message
    client.force_login(scene.users["viewer"], "django.contrib.auth.backends.ModelBackend")
    assert b"counts, " in client.get(f"/approvals/{request.id}/").content
    given.refresh_from_db()
    assert given.uses == 0


def test_it_may_be_for_one_step_of_the_workflow(scene: Scene, hand: DriverByHand) -> None:
    workflow = scene.workflow(gate("a"), gate("b"))
    grant(scene, workflow, step_name="b")
    execution = scene.start(workflow)
    hand.turn()
    fire()
    hand.work()
    assert statuses(execution) == {"a": "waiting", "b": "completed"}


def test_it_is_for_every_round_of_a_step_in_a_block(scene: Scene, hand: DriverByHand) -> None:
    each = {
        "name": "all",
        "step_type": "parallel",
        "config": {"for_each": "${[1, 2, 3]}", "steps": [gate("g")]},
    }
    workflow = scene.workflow(each)
    given = grant(scene, workflow, step_name="g")
    execution = scene.start(workflow)
    hand.turn()
    fire()
    hand.work()
    assert set(statuses(execution).values()) == {"completed"}
    given.refresh_from_db()
    assert given.uses == 3


def test_another_workflow_is_not_meant(scene: Scene, ask: Ask) -> None:
    grant(scene, workflow_of(scene))
    assert ask(workflow_of(scene)).status == "pending"


def test_it_is_one_vote_of_those_that_are_needed(scene: Scene, ask: Ask) -> None:
    workflow = workflow_of(scene, min_approvals=2)
    first, same_person = grant(scene, workflow), grant(scene, workflow)
    request = ask(workflow)
    assert (request.status, ApprovalDecision.objects.count()) == ("pending", 1)
    decide(Decision(request.id, "approved"), user=scene.users["editor"], door=Door.API)
    second = grant(scene, workflow, role="admin")
    assert ask(workflow).status == "approved"
    uses = dict(StandingGrant.objects.values_list("id", "uses"))
    assert uses == {first.id: 2, same_person.id: 0, second.id: 1}


# --- limits -------------------------------------------------------------------------------


def test_it_ends_with_its_uses_with_its_time_and_when_it_is_revoked(scene: Scene, ask: Ask) -> None:
    workflow = workflow_of(scene)
    grant(scene, workflow, max_uses=1)
    assert [ask(workflow).status for _ in range(2)] == ["approved", "pending"]
    grant(scene, workflow)
    let_pass(3_600)
    assert ask(workflow).status == "pending"
    given = grant(scene, workflow)
    assert ask(workflow).status == "approved"
    revoke_grant(given.id, user=scene.users["approver"])
    assert ask(workflow).status == "pending"


@pytest.mark.django_db(transaction=True)
def test_with_several_drivers_it_is_never_used_beyond_its_limit(
    scene: Scene, hand: DriverByHand
) -> None:
    workflow = workflow_of(scene)
    given = grant(scene, workflow, max_uses=7)
    runs = [scene.start(workflow, amount=1) for _ in range(20)]
    hand.turn()
    requests = list(WorkflowStepApproval.objects.values_list("id", flat=True))
    assert len(requests) == len(runs)

    def apply(number: int) -> None:
        with transaction.atomic():
            now = database_now()
            append_events(apply_grants(requests[number % 2 :: 2], now), now)

    at_once(4, apply)
    given.refresh_from_db()
    used = ApprovalDecision.objects.filter(grant=given)
    assert (given.uses, used.count(), used.values("approval").distinct().count()) == (7, 7, 7)
    assert WorkflowStepApproval.objects.filter(status="approved").count() == 7


def demote(user: User) -> None:
    Membership.objects.filter(user=user).update(role="operator")


def remove(user: User) -> None:
    Membership.objects.filter(user=user).delete()


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("change", [demote, remove, deactivate])
def test_it_counts_no_longer_once_who_gave_it_has_lost_the_right(
    scene: Scene, ask: Ask, change: Callable[[User], None]
) -> None:
    workflow = workflow_of(scene)
    grant(scene, workflow)
    change(scene.users["approver"])
    assert ask(workflow).status == "pending"


@pytest.mark.parametrize(
    "rules",
    [
        {"required_approvers": ["admin"]},
        {"risk": "high"},
    ],
)
def test_it_gives_no_right_that_its_giver_has_not(
    scene: Scene, ask: Ask, rules: dict[str, Any]
) -> None:
    workflow = workflow_of(scene, **rules)
    grant(scene, workflow)
    assert ask(workflow).status == "pending"


def test_nobody_approves_their_own_run_ahead(scene: Scene, ask: Ask, hand: DriverByHand) -> None:
    Membership.objects.filter(user=scene.users["operator"]).update(role="approver")
    workflow = workflow_of(scene, prevent_self_approval=True)
    give_grant(workflow, user=scene.users["operator"], max_uses=1, expires_at=database_now() + HOUR)
    assert ask(workflow).status == "pending"


def test_a_workspace_can_forbid_them(scene: Scene, ask: Ask) -> None:
    workflow = workflow_of(scene)
    grant(scene, workflow)
    scene.workspace.settings = {FORBID_STANDING_GRANTS: True}
    scene.workspace.save()
    assert ask(workflow).status == "pending"
    assert refusal_of(lambda: grant(scene, workflow)) == "grants_forbidden"


# --- giving and taking back ---------------------------------------------------------------


def test_a_grant_that_cannot_be_is_refused_with_all_that_is_wrong(scene: Scene) -> None:
    workflow = workflow_of(scene)
    with pytest.raises(InvalidInput) as refusal:
        grant(
            scene,
            workflow,
            step_name="after",
            predicate="payload.amount <",
            max_uses=0,
            expires_at=database_now(),
            note="\0",
        )
    assert {problem.path for problem in refusal.value.problems} == {
        "/step_name",
        "/predicate",
        "/max_uses",
        "/expires_at",
        "/note",
    }
    for predicate in ("amount > 1", "().__class__", "steps.g.x", "x" * 3_000):
        assert refusal_of(lambda p=predicate: grant(scene, workflow, predicate=p)) != ""
    assert not StandingGrant.objects.exists()


def test_only_approvers_give_them_and_only_givers_and_admins_take_them_back(
    scene: Scene, outsider: User
) -> None:
    workflow = workflow_of(scene)
    assert refusal_of(lambda: grant(scene, workflow, role="operator")) == "permission_denied"
    given = grant(scene, workflow)
    end = {"max_uses": 1, "expires_at": database_now() + HOUR}
    assert refusal_of(lambda: give_grant(workflow, user=outsider, **end)) == "not_found"
    for user, code in ((scene.users["editor"], "permission_denied"), (outsider, "not_found")):
        assert refusal_of(lambda user=user: revoke_grant(given.id, user=user)) == code
    first = revoke_grant(given.id, user=scene.users["admin"])
    assert revoke_grant(given.id, user=scene.users["approver"]).revoked_at == first.revoked_at
    events = Event.objects.filter(event_type__startswith="grant_").order_by("seq")
    told = list(events.values_list("event_type", "actor"))
    assert told == [("grant_given", "user:user123"), ("grant_revoked", "user:admin")]


@pytest.mark.django_db(transaction=True)
def test_a_running_engine_goes_on_by_itself(scene: Scene, engine: Driver) -> None:
    workflow = workflow_of(scene)
    grant(scene, workflow)
    assert ended(scene.start(workflow, amount=1)).status == "completed"
