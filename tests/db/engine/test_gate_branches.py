"""Gates that go to a step of their own when they are rejected, or when nobody decides."""

from datetime import timedelta
from typing import Any

import pytest

from approvals.models import WorkflowStepApproval
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, statuses, steps_of, task
from tests.db.engine.test_engine_gates import let_pass
from workflows.core.outcomes import Failed
from workflows.models import WorkflowExecution
from workflows.services.verbs import retry_execution

pytestmark = pytest.mark.django_db

BRANCHES = {"on_reject": "tidy", "on_timeout": "nudge", "expires_after_seconds": 100}


def start(scene: Scene, hand: DriverByHand, **rules: Any) -> WorkflowExecution:
    execution = scene.run(
        gate(**rules),
        task("act", after=["gate"]),
        task("tidy", after=["gate"], inputs={"why": "${steps.gate.feedback}"}),
        task("nudge", after=["gate"], trigger_rule="all_done"),
        task("join", after=["act", "tidy", "nudge"], trigger_rule="none_failed_min_one_success"),
    )  # fmt: skip
    hand.turn()
    return execution


def status_of(execution: WorkflowExecution) -> str:
    return WorkflowExecution.objects.get(pk=execution.pk).status


@pytest.mark.parametrize(
    ("outcome", "goes_to"), [("approved", "act"), ("rejected", "tidy"), ("", "nudge")]
)
def test_only_what_follows_from_the_outcome_runs(
    scene: Scene, hand: DriverByHand, outcome: str, goes_to: str
) -> None:
    execution = start(scene, hand, **BRANCHES)
    if outcome:
        scene.decide(execution, outcome, "So be it")
    else:
        let_pass(100)
    hand.turn()
    assert set(hand.begun) == {goes_to}
    found = statuses(execution)
    assert found["gate"] == "completed"
    assert steps_of(execution)["gate"].output_data["approved"] == (outcome == "approved")
    for other in {"act", "tidy", "nudge"} - {goes_to}:
        assert found[other] == "skipped branch_not_taken"
    if outcome == "rejected":
        assert hand.begun["tidy"].inputs == {"why": "So be it"}
    hand.finish(goes_to)
    hand.finish("join")
    assert status_of(execution) == "completed"


def test_one_step_may_be_for_both(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        gate(on_reject="tidy", on_timeout="tidy"),
        task("act", after=["gate"]), task("tidy", after=["gate"]),
    )  # fmt: skip
    hand.turn()
    scene.decide(execution, "rejected", "No")
    hand.work()
    assert statuses(execution) == {
        "gate": "completed", "act": "skipped branch_not_taken", "tidy": "completed",
    }  # fmt: skip


def test_where_a_rejection_fails_the_gate_the_step_for_silence_does_not_run(
    scene: Scene, hand: DriverByHand
) -> None:
    """Although it runs whatever comes before it; and once the gate is retried it may."""
    execution = start(scene, hand, on_timeout="nudge", expires_after_seconds=100)
    scene.decide(execution, "rejected", "No")
    hand.turn()
    assert statuses(execution)["nudge"] == "skipped upstream_failed"
    assert status_of(execution) == "failed"
    retry_execution(execution.pk, user=None)
    hand.turn()
    let_pass(100)
    hand.turn()
    assert set(hand.begun) == {"nudge"}


def test_what_the_gate_leads_to_commits_with_its_end(scene: Scene, hand: DriverByHand) -> None:
    """A driver that is stopping leaves the decision to the next one."""
    execution = scene.run(
        task("beside"), gate(on_reject="tidy"),
        task("act", after=["gate"]), task("tidy", after=["gate"]),
    )  # fmt: skip
    hand.turn()
    scene.decide(execution, "rejected", "No")
    hand.turn(is_draining=True)
    assert statuses(execution) == {"beside": "running", "gate": "waiting"}
    hand.holdings.hand_back_all()
    another = DriverByHand()
    another.turn()
    assert set(another.begun) == {"beside", "tidy"}
    assert statuses(execution)["act"] == "skipped branch_not_taken"


def test_work_is_sent_back_before_any_branch_is_taken(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("plan"),
        gate(after=["plan"], on_reject="tidy"),
        task("act", after=["gate"]), task("tidy", after=["gate"]),
    )  # fmt: skip
    hand.turn()
    hand.finish("plan")
    scene.decide(execution, "request_changes", "Again")
    hand.turn()
    assert set(statuses(execution)) == {"plan", "gate"}
    hand.finish("plan")
    scene.decide(execution, "rejected", "No")
    hand.turn()
    assert set(hand.begun) == {"tidy"}
    hand.turn(hand.result("tidy", Failed("broken", "It broke", is_final=True)))
    assert status_of(execution) == "failed"
    retry_execution(execution.pk, user=None)
    hand.turn()
    assert set(hand.begun) == {"tidy"}
    assert WorkflowStepApproval.objects.count() == 2


def test_a_gate_keeps_its_deadline_from_when_it_was_asked_again(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("plan"), gate(after=["plan"], expires_after_seconds=100))
    hand.turn()
    hand.finish("plan")
    let_pass(99)
    scene.decide(execution, "request_changes", "Again")
    hand.turn()
    hand.finish("plan")
    request = WorkflowStepApproval.objects.pending().get()
    assert request.expires_at == request.requested_at + timedelta(seconds=100)
