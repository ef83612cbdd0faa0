"""Gates: every outcome of a request is one of its step, and silence has its own."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from approvals.models import ApprovalDecision, WorkflowStepApproval
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.passing import fire, let_pass
from tests.db.engine.scenes import (
    Scene,
    ended,
    events_of,
    gate,
    request_of,
    statuses,
    steps_of,
    task,
)
from workflows.clock import database_now
from workflows.engine.driver import Driver
from workflows.errors import Conflict
from workflows.models import Timer, WorkflowExecution

pytestmark = pytest.mark.django_db


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


@pytest.fixture
def open_gate(scene: Scene, hand: DriverByHand) -> Callable[..., WorkflowExecution]:
    """Return a function that runs a workflow up to its gate; ``after`` stands behind that."""

    def run(**approval: Any) -> WorkflowExecution:
        execution = scene.run(gate("g", **approval), task("after", after=["g"]))
        hand.turn()
        return execution

    return run


Open = Callable[..., WorkflowExecution]


def test_an_approval_completes_the_step(scene: Scene, hand: DriverByHand, open_gate: Open) -> None:
    execution = open_gate()
    result = scene.decide(execution, feedback="Fine", response_data={"amount": 3})
    hand.work()
    assert row(execution).status == "completed"
    assert steps_of(execution)["g"].output_data == {
        "approved": True,
        "status": "approved",
        "decided_by": "user123",
        "feedback": "Fine",
        "response_data": {"amount": 3},
        "digest": result.approval.digest,
        "payload": {},
    }


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("rejected", "approval_rejected"), ("request_changes", "changes_requested")],
)
def test_a_refusal_fails_the_step(
    scene: Scene, hand: DriverByHand, open_gate: Open, outcome: str, code: str
) -> None:
    execution = open_gate()
    scene.decide(execution, outcome, "Too early")
    hand.work()
    assert (row(execution).status, row(execution).error_code) == ("failed", code)
    assert statuses(execution) == {"g": "failed", "after": "skipped upstream_failed"}
    assert "user123" in steps_of(execution)["g"].error_message
    assert "Too early" in steps_of(execution)["g"].error_message


def test_a_rejection_may_go_on(scene: Scene, hand: DriverByHand, open_gate: Open) -> None:
    execution = open_gate(on_reject="continue")
    scene.decide(execution, "rejected", "No")
    hand.work()
    assert statuses(execution) == {"g": "completed", "after": "completed"}
    assert steps_of(execution)["g"].output_data["approved"] is False


def test_nobody_decides(hand: DriverByHand, open_gate: Open) -> None:
    execution = open_gate(expires_after_seconds=100)
    let_pass(99)
    hand.turn()
    assert statuses(execution) == {"g": "waiting"}
    let_pass(1)
    hand.work()
    assert (row(execution).status, row(execution).error_code) == ("failed", "approval_timeout")
    assert statuses(execution) == {"g": "timeout", "after": "skipped upstream_failed"}
    decision = ApprovalDecision.objects.get()
    assert (decision.outcome, decision.door, decision.user) == ("timeout", "system", None)


def test_silence_may_go_on(hand: DriverByHand, open_gate: Open) -> None:
    execution = open_gate(expires_after_seconds=100, on_timeout="continue")
    let_pass(100)
    hand.work()
    assert statuses(execution) == {"g": "completed", "after": "completed"}
    assert steps_of(execution)["g"].output_data["approved"] is False


def test_silence_may_mean_consent_and_is_the_systems_decision(
    hand: DriverByHand, open_gate: Open
) -> None:
    execution = open_gate(expires_after_seconds=100, on_timeout="approve")
    let_pass(100)
    hand.work()
    assert statuses(execution) == {"g": "completed", "after": "completed"}
    output = steps_of(execution)["g"].output_data
    assert (output["approved"], output["decided_by"]) == (True, None)


def test_a_request_approves_itself_as_the_system_never_as_a_person(
    scene: Scene, hand: DriverByHand, open_gate: Open
) -> None:
    execution = open_gate(auto_approve_after_seconds=50, expires_after_seconds=100)
    let_pass(49)
    assert fire() == []
    let_pass(1)
    hand.work()
    assert row(execution).status == "completed"
    request = WorkflowStepApproval.objects.get()
    assert (request.status, request.approved_by) == ("approved", None)
    decision = ApprovalDecision.objects.get()
    assert (decision.outcome, decision.door, decision.user) == ("approved", "system", None)
    assert events_of(execution.id, "approval_granted")[0].actor == "system"
    let_pass(100)
    assert not Timer.objects.exists()
    assert ApprovalDecision.objects.count() == 1


def test_after_its_expiry_a_request_does_not_approve_itself(open_gate: Open) -> None:
    """The engine was down at both moments."""
    open_gate(auto_approve_after_seconds=50, expires_after_seconds=100)
    let_pass(200)
    assert WorkflowStepApproval.objects.get().status == "timeout"


@pytest.mark.parametrize("outcome", ["approved", "rejected", "request_changes"])
def test_what_has_expired_cannot_be_decided_even_if_nobody_has_noticed(
    scene: Scene, hand: DriverByHand, open_gate: Open, outcome: str
) -> None:
    execution = open_gate(expires_after_seconds=100)
    WorkflowStepApproval.objects.update(expires_at=database_now() - timedelta(milliseconds=1))
    with pytest.raises(Conflict) as refusal:
        scene.decide(execution, outcome, "Now")
    assert refusal.value.code == "expired"
    request = WorkflowStepApproval.objects.get()
    assert (request.status, request.approved_by) == ("timeout", None)
    hand.work()
    assert row(execution).error_code == "approval_timeout"
    let_pass(200)
    assert ApprovalDecision.objects.count() == 1


def test_a_decision_ends_its_timers(scene: Scene, open_gate: Open) -> None:
    execution = open_gate(auto_approve_after_seconds=50)
    assert Timer.objects.count() == 2
    scene.decide(execution)
    assert not Timer.objects.exists()


def test_a_timer_fires_once_whoever_else_tries(open_gate: Open) -> None:
    open_gate(auto_approve_after_seconds=50)
    due = list(Timer.objects.order_by("due_at"))
    let_pass(50)
    again = Timer(
        workspace_id=due[0].workspace_id,
        kind=due[0].kind,
        subject_id=due[0].subject_id,
        due_at=database_now(),
    )
    again.save()
    assert fire() == []
    assert ApprovalDecision.objects.count() == 1


def test_a_gate_shows_what_is_before_it_or_what_it_names(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a", inputs={"n": 1}),
        task("b", inputs={"n": 2}),
        gate("all", after=["a", "b"], title="Run ${execution.id}: ${steps.a.n}"),
        {
            **gate("named", after=["a", "b"]),
            "config": {"inputs": {"only": "${steps.b.n}"}, "approval": {}},
        },
    )
    hand.work()
    shown = {
        r.step_execution.name: r
        for r in WorkflowStepApproval.objects.select_related("step_execution")
    }
    assert shown["all"].approval_data == {"a": {"n": 1}, "b": {"n": 2}}
    assert shown["all"].title == f"Run {execution.id}: 1"
    assert shown["named"].approval_data == {"only": 2}
    assert shown["named"].title == "named"


@pytest.mark.django_db(transaction=True)
def test_timers_are_never_early_and_at_most_a_second_late(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    workflow = scene.workflow(gate("g", auto_approve_after_seconds=1), task("t", after=["g"]))
    executions = []
    launch()
    for _ in range(20):
        executions.append(scene.start(workflow))
        time.sleep(0.02)  # spreads the moments at which they are due
    for execution in executions:
        ended(execution)
    due = WorkflowStepApproval.objects.values_list("requested_at", "responded_at")
    late = [(responded - requested).total_seconds() - 1 for requested, responded in due]
    assert min(late) >= 0
    assert max(late) < 1
    assert ApprovalDecision.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_retries_are_never_early_and_at_most_a_second_late(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    retry = {"retry": {"backoff": "fixed", "initial_seconds": 0.5, "jitter": 0}}
    workflow = scene.workflow(task("a", "fail", config=retry, max_retries=1))
    launch()
    executions = []
    for _ in range(10):
        executions.append(scene.start(workflow))
        time.sleep(0.05)  # spreads the moments at which they are due
    for execution in executions:
        ended(execution)
        retrying, again = events_of(execution.id, "step_retrying", "step_started")[1:]
        pause = (again.timestamp - retrying.timestamp).total_seconds()
        assert 0.5 <= pause < 1.0


@pytest.mark.django_db(transaction=True)
def test_a_request_is_not_asked_for_before_its_step_waits(scene: Scene, engine: Driver) -> None:
    execution = scene.run(gate("g"))
    assert request_of(execution).step_execution.status == "waiting"
