"""Steps of type ``workflow``: they start a run of another workflow, and end as that run does."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from workflows.bulk import as_uuid, select, wake_engine
from workflows.clock import database_now
from workflows.core.outcomes import Failed, Outcome
from workflows.core.states import ExecutionStatus
from workflows.core.steps import SubWorkflowStep
from workflows.errors import Conflict, InvalidInput
from workflows.events import EventDraft
from workflows.handlers import Opening
from workflows.handlers.outputs import completed
from workflows.models import Workflow, WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import cancel_runs, start_child
from workflows.services.subworkflows import find_workflows

_MAX_MESSAGE = 2_000
_FAILURES = {
    ExecutionStatus.FAILED: ("subworkflow_failed", "failed"),
    ExecutionStatus.CANCELLED: ("subworkflow_cancelled", "was cancelled"),
    ExecutionStatus.TIMEOUT: ("subworkflow_timeout", "ran out of time"),
}
#: What a step comes to whose own time is up, while its run still goes on.
_TOO_LONG = ("subworkflow_timeout", "took longer than its step may")


class SubWorkflowGate:
    """Starts runs in the transaction in which their steps begin to wait."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Start a run for each; a step whose workflow cannot be started fails."""
        to_start: list[tuple[Workflow, int, Opening]] = []
        for opening, workflow in zip(openings, _named(openings), strict=True):
            depth = opening.context.depth + 1
            if workflow is None:
                name = _name(opening)
                opening.failed = _refused("unknown_workflow", f"There is no workflow “{name}”")
            elif depth > settings.MGX_MAX_DEPTH:
                message = f"Runs may start one another {settings.MGX_MAX_DEPTH} deep, not deeper"
                opening.failed = _refused("too_deep", message)
            else:
                to_start.append((workflow, depth, opening))
        # Each start locks its workflow's row: in one order, so that two drivers never wait for
        # each other.
        to_start.sort(key=lambda start: start[0].id)
        events = [event for start in to_start for event in _start(*start, now)]
        if events:
            wake_engine()
        return events

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of the steps whose run has ended, and of those whose time is up."""
        rows = select(
            "SELECT c.parent_step_id, c.status, c.number, c.output_data, c.error_code,"
            " c.error_message, (SELECT w.name FROM workflows_workflow w WHERE w.id = c.workflow_id)"
            " FROM workflows_workflowexecution c"
            " JOIN workflows_workflowstepexecution s ON s.id = c.parent_step_id"
            " WHERE s.id = ANY(%s) AND (c.completed_at IS NOT NULL OR s.due_at <= %s)",
            list(step_execution_ids), database_now(),
        )  # fmt: skip
        return {as_uuid(row[0]): _outcome(*row[1:]) for row in rows}

    def waits_for_people(self, step_execution_ids: Sequence[UUID]) -> Collection[UUID]:
        """Return those whose run does, by its own clock, which stands still then.

        Whoever lets a clock stand, or run again, has the run above woken.
        """
        rows = select(
            "SELECT parent_step_id FROM workflows_workflowexecution"
            " WHERE parent_step_id = ANY(%s) AND active_since IS NULL"
            " AND status IN ('waiting', 'paused')",
            list(step_execution_ids),
        )
        return [as_uuid(step_id) for (step_id,) in rows]

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Cancel the runs that were started for these ones."""
        steps = WorkflowStepExecution.objects.filter(
            execution_id__in=execution_ids, step_type="workflow"
        )
        return _cancel(steps.values("id"), now, actor)

    def withdraw(
        self, step_execution_ids: Sequence[UUID], now: datetime, actor: str
    ) -> list[EventDraft]:
        """Cancel the runs that were started for these steps."""
        return _cancel(step_execution_ids, now, actor)


def _cancel(step_ids: Any, now: datetime, actor: str) -> list[EventDraft]:
    children = WorkflowExecution.objects.filter(parent_step_id__in=step_ids)
    return cancel_runs(children, now, actor, "The step that it was started for has ended")


def _name(opening: Opening) -> str:
    step = opening.context.step
    assert isinstance(step, SubWorkflowStep)
    return step.config.workflow


def _named(openings: Sequence[Opening]) -> list[Workflow | None]:
    """Return the workflow that each step names in its own workspace."""
    by_workspace: dict[UUID, set[str]] = {}
    for opening in openings:
        by_workspace.setdefault(opening.context.workspace_id, set()).add(_name(opening))
    found = {workspace: find_workflows(workspace, n) for workspace, n in by_workspace.items()}
    return [found[opening.context.workspace_id].get(_name(opening)) for opening in openings]


def _start(workflow: Workflow, depth: int, opening: Opening, now: datetime) -> list[EventDraft]:
    context = opening.context
    seconds = context.step.timeout_seconds
    try:
        _, event = start_child(
            workflow,
            context.inputs,
            parent_step_id=context.step_execution_id,
            depth=depth,
            started_by_id=context.started_by_id,
            timeout_seconds=seconds,
        )
    except InvalidInput as error:
        said = "; ".join(problem.message for problem in error.problems)
        opening.failed = _refused("invalid_inputs", f"{error.message}: {said}")
        return []
    except Conflict as error:
        opening.failed = _refused(error.code, error.message)
        return []
    opening.due_at = now + timedelta(seconds=seconds) if seconds else None
    return [event]


def _refused(code: str, message: str) -> Failed:
    return Failed(code, message[:_MAX_MESSAGE], is_final=True)


def _outcome(
    status: str, number: int, output: str | None, code: str, message: str, name: str
) -> Outcome:
    if status == ExecutionStatus.COMPLETED:
        return completed(json.loads(output) if output else None)
    failure, words = _FAILURES.get(ExecutionStatus(status), _TOO_LONG)
    said = ": ".join(part for part in (code, message) if part)
    return Failed(
        failure,
        f"{name}, run {number}, {words}{f': {said}' if said else ''}"[:_MAX_MESSAGE],
        is_final=True,
        is_timeout=failure == _TOO_LONG[0],
    )
