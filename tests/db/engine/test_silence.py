"""What happens while nobody decides: each thing once and never early."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, transaction

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.rights import can_decide
from approvals.services import clock
from approvals.services.decisions import Decision, decide
from approvals.services.requests import Request, create_approval_request, open_requests
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.passing import fire, let_pass
from tests.db.engine.scenes import Scene, ended, gate, request_of, statuses, step_is, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.engine import timers
from workflows.engine.driver import Driver
from workflows.errors import Conflict
from workflows.events import append_events
from workflows.models import Event, Timer, WorkflowExecution
from workflows.policies import FORBID_AUTO_APPROVAL

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


def told(event_type: str) -> list[Event]:
    return list(Event.objects.filter(event_type=event_type).order_by("seq"))


# --- reminders ----------------------------------------------------------------------------


def test_each_reminder_comes_once_and_none_early(ask: Ask) -> None:
    ask(reminders=[20, 10], expires_after_seconds=100)
    assert let_pass(9) == []
    assert let_pass(1) == ["approval_reminded"]
    assert fire() == []
    assert let_pass(9) == []
    assert let_pass(1) == ["approval_reminded"]
    assert [event.data["reminder_seconds"] for event in told("approval_reminded")] == [10, 20]
    assert list(Timer.objects.values_list("kind", flat=True)) == [clock.EXPIRY]


def test_reminders_that_came_due_while_no_engine_ran_are_not_lost(ask: Ask) -> None:
    ask(reminders=[10, 20, 30], expires_after_seconds=100)
    assert let_pass(25) == ["approval_reminded"] * 2
    assert let_pass(5) == ["approval_reminded"]


def test_nobody_is_reminded_of_what_is_decided_or_has_expired(scene: Scene, ask: Ask) -> None:
    first = ask(reminders=[10], expires_after_seconds=100)
    decide(Decision(first.id, "approved"), user=scene.users["approver"], door=Door.API)
    assert not Timer.objects.exists()
    ask(reminders=[10], expires_after_seconds=20)
    assert let_pass(30) == ["approval_timeout"]


# --- escalation ---------------------------------------------------------------------------


def test_after_its_time_a_request_is_escalated_to_others_too(scene: Scene, ask: Ask) -> None:
    rules = {"escalate_after_seconds": 50, "escalate_to": ["editor", "role:admin"]}
    request = ask(required_approvers=["user123"], **rules)
    assert let_pass(49) == []
    assert not can_decide(scene.users["editor"], request).allowed
    assert let_pass(1) == ["approval_escalated"]
    assert [can_decide(scene.users[r], request).allowed for r in ("approver", "editor", "admin")]
    assert request.approvers.filter(is_escalation=True).count() == 2
    request.refresh_from_db()
    assert request.escalated_at is not None
    [event] = told("approval_escalated")
    assert (event.actor, event.data["escalated_to"]) == ("system", ["editor", "role:admin"])
    assert let_pass(10) == []
    decide(Decision(request.id, "approved"), user=scene.users["editor"], door=Door.API)


def test_on_its_timeout_a_request_may_be_escalated_once_and_then_it_fails(
    scene: Scene, hand: DriverByHand, ask: Ask
) -> None:
    request = ask(
        required_approvers=["user123"],
        expires_after_seconds=100,
        on_timeout="escalate",
        escalate_to=["editor"],
    )
    assert let_pass(100) == ["approval_escalated"]
    request.refresh_from_db()
    assert request.status == "pending"
    assert request.expires_at is not None
    assert abs(request.expires_at - database_now() - timedelta(seconds=100)) < timedelta(seconds=5)
    assert can_decide(scene.users["editor"], request).allowed
    assert let_pass(94) == []
    assert let_pass(6) == ["approval_timeout"]
    hand.work()
    assert WorkflowExecution.objects.get().error_code == "approval_timeout"
    assert not Timer.objects.exists()


def test_who_decides_on_what_should_have_been_escalated_comes_too_late_once(
    scene: Scene, ask: Ask
) -> None:
    """Nobody had noticed that its time was up."""
    request = ask(expires_after_seconds=100, on_timeout="escalate", escalate_to=["editor"])
    let_half_pass()
    let_half_pass()
    with pytest.raises(Conflict, match="expired"):
        decide(Decision(request.id, "approved"), user=scene.users["approver"], door=Door.API)
    request.refresh_from_db()
    assert (request.status, request.escalated_at is None) == ("pending", False)
    decide(Decision(request.id, "approved"), user=scene.users["editor"], door=Door.API)
    assert not Timer.objects.exists()


def test_who_is_gone_is_not_escalated_to(scene: Scene, ask: Ask, make_member: Any) -> None:
    bob = make_member("bob", scene.workspace, "approver")
    request = ask(
        required_approvers=["user123"], escalate_after_seconds=50, escalate_to=["bob", "editor"]
    )
    bob.delete()
    assert let_pass(50) == ["approval_escalated"]
    assert [entry.name for entry in request.approvers.filter(is_escalation=True)] == ["editor"]


# --- by itself ----------------------------------------------------------------------------


def test_where_the_workspace_forbids_it_nothing_is_approved_past_its_approvers(
    scene: Scene, ask: Ask
) -> None:
    named = {"required_approvers": ["user123"], "expires_after_seconds": 100}
    early = ask(auto_approve_after_seconds=50, **named)
    late = ask(on_timeout="approve", **named)
    free = ask(auto_approve_after_seconds=50, expires_after_seconds=100)
    scene.workspace.settings = {FORBID_AUTO_APPROVAL: True}
    scene.workspace.save()
    assert let_pass(50) == ["approval_granted"]
    assert let_pass(50) == ["approval_timeout"] * 2
    found = {a.id: a.status for a in WorkflowStepApproval.objects.all()}
    assert found == {early.id: "timeout", late.id: "timeout", free.id: "approved"}


def test_a_free_standing_request_expires_too_and_nobody_can_decide_it_then(scene: Scene) -> None:
    request = create_approval_request(
        workspace=scene.workspace,
        title="T",
        user=scene.users["operator"],
        expires_after_seconds=100,
    )
    WorkflowStepApproval.objects.update(expires_at=database_now())
    with pytest.raises(Conflict, match="expired"):
        decide(Decision(request.id, "approved"), user=scene.users["approver"], door=Door.API)
    assert WorkflowStepApproval.objects.get().status == "timeout"


# --- exactly once -------------------------------------------------------------------------

#: What a request of each kind comes to, by the events that tell of it.
_KINDS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "approve": ({"auto_approve_after_seconds": 50}, ["approval_granted"]),
    "expire": ({}, ["approval_timeout"]),
    "remind": ({"rules": {"reminders": [50]}}, ["approval_reminded", "approval_timeout"]),
    "escalate": (
        {"rules": {"escalate_after_seconds": 50, "escalate_to": ["editor"]}},
        ["approval_escalated", "approval_timeout"],
    ),
}


def open_many(scene: Scene, count: int) -> dict[str, list[WorkflowStepApproval]]:
    """Ask ``count`` times for each kind, all due at 50 or 100 seconds."""
    opened = {}
    for kind, (fields, _) in _KINDS.items():
        request = Request(scene.workspace.pk, kind, expires_after_seconds=100, **fields)
        with transaction.atomic():
            opened[kind] = open_requests([request] * count, database_now())
    return opened


def assert_each_came_to_its_end_once(opened: dict[str, list[WorkflowStepApproval]]) -> None:
    for kind, requests in opened.items():
        for request in requests:
            events = Event.objects.filter(approval_id=request.id).order_by("seq")
            assert list(events.values_list("event_type", flat=True)) == _KINDS[kind][1]
    decided = ApprovalDecision.objects.values_list("approval_id", flat=True)
    assert len(set(decided)) == len(decided) == 4 * len(opened["approve"])


@pytest.mark.django_db(transaction=True)
def test_two_hundred_timers_fire_once_each_though_four_drivers_fire_them(scene: Scene) -> None:
    opened = open_many(scene, 50)
    for _ in range(2):
        let_half_pass()
        at_once(4, lambda _: fire_as_drivers_do())
    assert not Timer.objects.exists()
    assert_each_came_to_its_end_once(opened)


def let_half_pass() -> None:
    with patch("tests.db.engine.passing.fire", list):
        let_pass(50)


def fire_as_drivers_do() -> None:
    now = database_now()
    while (due := timers.next_due(now).timer) and due <= now:
        with transaction.atomic():
            append_events(timers.fire_due(now, 20), now)


@pytest.mark.django_db(transaction=True)
def test_what_came_due_while_no_engine_ran_is_fired_once_when_one_starts(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    workflow = scene.workflow(
        gate("g", auto_approve_after_seconds=50, expires_after_seconds=100),
        task("after", after=["g"]),
    )
    first = launch()
    runs = [scene.start(workflow) for _ in range(5)]
    for run in runs:
        step_is(run, "g", "waiting")
    first.stop()
    assert first.join(20)
    opened = open_many(scene, 5)
    let_half_pass()
    let_half_pass()
    launch()
    launch()
    for run in runs:
        assert ended(run).error_code == "approval_timeout"
        assert statuses(run)["g"] == "timeout"
    assert {r.status for r in WorkflowStepApproval.objects.filter(title="approve")} == {"timeout"}
    silent = Event.objects.filter(event_type="approval_timeout")
    assert silent.count() == 5 + sum(len(requests) for requests in opened.values())
    assert not Timer.objects.exists()


@pytest.mark.parametrize("hours", [2, -2])
def test_the_clock_of_a_worker_changes_nothing(scene: Scene, hours: int) -> None:
    """The database's clock rules; SQLite has that of the process, which is its only one."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no clock of its own")
    opened = open_many(scene, 5)
    wrong = datetime.now(UTC) + timedelta(hours=hours)
    with (
        patch("django.utils.timezone.now", return_value=wrong),
        patch("time.time", wrong.timestamp),
    ):
        assert let_pass(49) == []
        assert let_pass(1) != []
        assert let_pass(50) != []
    assert_each_came_to_its_end_once(opened)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("hours", [2, -2])
def test_a_driver_is_on_time_though_its_clock_is_set_while_it_waits(
    scene: Scene, launch: Callable[[], Driver], hours: int
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no clock of its own")
    launch()
    run = scene.run(gate("g", auto_approve_after_seconds=1), task("after", after=["g"]))
    request = request_of(run)
    right = time.time
    with patch("time.time", lambda: right() + hours * 3600):
        assert ended(run, 10).status == "completed"
    decided = ApprovalDecision.objects.get(approval=request)
    late = decided.decided_at - request.requested_at - timedelta(seconds=1)
    assert timedelta(0) <= late <= timedelta(seconds=1)
