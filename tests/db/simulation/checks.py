"""What must hold at the end of a simulated world."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from tests.db.engine.conftest import ask
from tests.db.simulation.model import PATIENCE
from tests.invariants import assert_invariants
from workflows.core.revisions import rows_of_today
from workflows.models import Event, WorkflowExecution, WorkflowStepExecution

if TYPE_CHECKING:
    from tests.db.simulation.world import Simulation


def check(world: "Simulation") -> None:
    """Hold a world to its models, and to what must hold of every one."""
    rows: dict[UUID, dict[str, WorkflowStepExecution]] = {}
    for row in WorkflowStepExecution.objects.order_by("revision"):
        rows.setdefault(row.execution_id, {})[row.name] = row
    rows = {execution: rows_of_today(latest) for execution, latest in rows.items()}
    for run in WorkflowExecution.objects.all():
        model = world.models[run.id]
        if run.id in world.cancelled:
            assert run.status == "cancelled"
        else:
            steps = {name: row.status for name, row in rows[run.id].items()}
            assert steps == model.statuses, f"{steps} {model.statuses} {model.steps}"
            assert run.status == model.run_status
        for row in rows.get(run.id, {}).values():
            _check_output(world, row)
    _check_revisions(world)
    _check_timers(world)
    _check_pauses(world)
    assert_invariants(ask)


def _check_revisions(world: "Simulation") -> None:
    """What was sent back was done anew with what was said, and nothing else was."""
    sent_back = WorkflowStepApproval.objects.filter(status="request_changes")
    for request in sent_back.select_related("step_execution"):
        gate = request.step_execution
        if gate.execution_id in world.cancelled:
            continue
        later = WorkflowStepExecution.objects.get(
            execution_id=gate.execution_id, name=gate.name, revision=gate.revision + 1
        )
        assert request.feedback in later.feedback.split("\n\n")
        assert later.revised_at >= request.responded_at
    anew = WorkflowStepExecution.objects.exclude(revision=1)
    assert not anew.filter(revised_at=None).exists()


def _check_timers(world: "Simulation") -> None:
    """What nobody decided ended on time, or as soon as a driver was awake again."""
    decisions = ApprovalDecision.objects.filter(door=Door.SYSTEM).select_related("approval")
    for decision in decisions:
        due = decision.approval.requested_at + timedelta(seconds=PATIENCE)
        assert decision.decided_at >= due, "decided before its time"
        unwatched = [end for end in world.unwatched if due <= end < decision.decided_at]
        late = decision.decided_at - max([due, *unwatched])
        assert late <= timedelta(seconds=1), f"decided {late} late"


def _check_pauses(world: "Simulation") -> None:
    """No attempt began before the pause after the one before it was over."""
    due: dict[UUID, datetime] = {}
    told = Event.objects.filter(event_type__in=("step_retrying", "step_started"))
    for event in told.order_by("seq"):
        if event.event_type == "step_retrying":
            pause = timedelta(seconds=event.data["delay_seconds"])
            due[event.workflow_step_id] = event.timestamp + pause
        elif event.workflow_step_id in due:
            assert event.timestamp >= due.pop(event.workflow_step_id), "tried again too early"


def _check_output(world: "Simulation", row: WorkflowStepExecution) -> None:
    """The result that counts is the one of the attempt that was the last."""
    if isinstance(row.output_data, dict) and (token := row.output_data.get("token")):
        assert world.tokens[token] == (row.id, row.attempts)
