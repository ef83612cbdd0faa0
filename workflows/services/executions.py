"""The verbs of an execution: start, start many, cancel. Every door calls these."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from workflows.bulk import insert_objects, wake_engine
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.definition import Limits, WorkflowDefinition, parse_definition
from workflows.core.errors import Problem, UnstorableError, json_pointer
from workflows.core.ids import uuid7
from workflows.core.states import LIVE_EXECUTION_STATUSES, ExecutionStatus, StepStatus
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.handlers import gates, plugs
from workflows.models import (
    Project,
    Role,
    User,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services.access import require_role


def start_execution(
    workflow: Workflow,
    *,
    input_variables: dict[str, Any],
    user: User | None,
    door: str,
    project: Project | None = None,
) -> WorkflowExecution:
    """Start a run of the published version and return it; a driver takes it from there.

    ``user`` is None where a schedule or the demo starts it. Raises NotVisible, NotPermitted,
    InvalidInput with a pointer ``/input_variables/NAME`` for each wrong value, and Conflict
    ``not_published``.
    """
    return start_executions(workflow, [input_variables], user=user, door=door, project=project)[0]


def start_executions(
    workflow: Workflow,
    inputs: Sequence[dict[str, Any]],
    *,
    user: User | None,
    door: str,
    project: Project | None = None,
) -> list[WorkflowExecution]:
    """Start one run for each of ``inputs``: all of them or, if any is wrong, none."""
    if user is not None:
        require_role(user, workflow.workspace_id, Role.OPERATOR)
    with transaction.atomic():
        # The row lock makes the numbers: one after the other, and none is lost by a rollback.
        counted = Workflow.objects.filter(id=workflow.id, published_version__isnull=False)
        if not counted.update(last_run_number=F("last_run_number") + len(inputs)):
            raise Conflict(f"“{workflow.name}” has not been published yet", code="not_published")
        workflow = Workflow.objects.select_related("published_version").get(id=workflow.id)
        version = workflow.published_version
        assert version is not None
        definition = parse_definition(
            version.definition, Limits(steps=len(version.definition["steps"]))
        )
        many = len(inputs) > 1
        values = [
            _checked_inputs(definition, given, f"/{index}" if many else "")
            for index, given in enumerate(inputs)
        ]
        now = database_now()
        first = workflow.last_run_number - len(inputs) + 1
        executions = [
            WorkflowExecution(
                id=uuid7(),
                workspace_id=workflow.workspace_id,
                project=project or workflow.project,
                workflow=workflow,
                version=version,
                number=number,
                input_variables=given,
                started_by=user,
                started_through=door,
                timeout_seconds=definition.timeout_seconds,
                wake_at=now,
            )
            for number, given in enumerate(values, first)
        ]
        insert_objects(executions)
        wake_engine()
        append_events([_started(e, workflow, user) for e in executions], now)
    return executions


def cancel_execution(
    execution_id: UUID, *, user: User | None, reason: str = ""
) -> WorkflowExecution:
    """End a run now; once this has returned no step of it starts.

    Its open approvals are cancelled and its agents released. What a running step still brings is
    refused. Raises NotVisible, NotPermitted, and Conflict ``already_ended`` with the status.
    """
    execution = _visible(execution_id, user)
    if user is not None:
        require_role(user, execution.workspace_id, Role.OPERATOR)
    with transaction.atomic():
        now = database_now()
        live = WorkflowExecution.objects.filter(id=execution_id, status__in=LIVE_EXECUTION_STATUSES)
        ended = live.update(
            status=ExecutionStatus.CANCELLED,
            completed_at=now,
            driver=None,
            wake_at=None,
            active_since=None,
            error_message=reason,
        )
        execution.refresh_from_db()
        if not ended:
            raise Conflict(
                f"This run has ended: it is {execution.status}",
                code="already_ended",
                status=execution.status,
            )
        actor = f"user:{user.username}" if user else SYSTEM
        events = cancel_open_steps(execution.id, now, actor)
        events.append(_cancelled(execution, actor, reason))
        wake_engine()
        append_events(events, now)
    return execution


def cancel_open_steps(execution_id: UUID, now: datetime, actor: str) -> list[EventDraft]:
    """Cancel what a run that has just ended has open; return the events of that."""
    events: list[EventDraft] = []
    open_steps = WorkflowStepExecution.objects.filter(execution_id=execution_id, completed_at=None)
    running: dict[str, list[tuple[UUID, int, None]]] = {}
    for step in open_steps:
        if step.status == StepStatus.RUNNING:
            running.setdefault(step.step_type, []).append((step.id, step.attempts, None))
    open_steps.update(status=StepStatus.CANCELLED, completed_at=now, due_at=None)
    for step_type, attempts in running.items():
        if handler := plugs()[step_type].reserving:
            events += handler.settle(attempts, now)
    for gate in gates():
        events += gate.cancel([execution_id], now, actor)
    return events


def _visible(execution_id: UUID, user: User | None) -> WorkflowExecution:
    executions = WorkflowExecution.objects.all()
    if user is not None:
        executions = executions.visible_to(user)
    execution: WorkflowExecution | None = (
        executions.filter(id=execution_id).select_related("workflow").first()
    )
    if execution is None:
        raise NotVisible("There is no such execution")
    return execution


def _checked_inputs(
    definition: WorkflowDefinition, given: dict[str, Any], pointer: str
) -> dict[str, Any]:
    """Return the input variables as they are kept, or raise with everything that is wrong."""
    variables = {variable.name: variable for variable in definition.variables}
    problems = []

    def refuse(name: str, error_type: str, message: str) -> None:
        path = f"{pointer}{json_pointer(['input_variables', name])}"
        problems.append(Problem("", error_type, message, path))

    for name, value in given.items():
        if (variable := variables.get(name)) is None:
            refuse(name, "undeclared_variable", f"The workflow has no variable “{name}”")
        elif not variable.accepts(value):
            refuse(name, "wrong_type", f"“{name}” must be of type {variable.data_type}")
    for variable in definition.variables:
        is_missing = given.get(variable.name) is None and variable.default_value is None
        if variable.is_required and is_missing and variable.name not in given:
            refuse(variable.name, "required", f"“{variable.name}” is required")
    try:
        dumps_canonical(given)
    except UnstorableError as error:
        path = f"{pointer}/input_variables{error.path or ''}"
        problems.append(Problem("", error.reason, error.message, path))
    if problems:
        raise InvalidInput("The run cannot start with these values", problems)
    return given


def _started(execution: WorkflowExecution, workflow: Workflow, user: User | None) -> EventDraft:
    return EventDraft(
        event_type=EventType.WORKFLOW_STARTED,
        workspace_id=execution.workspace_id,
        workflow_id=workflow.id,
        workflow_execution_id=execution.id,
        actor=f"user:{user.username}" if user else SYSTEM,
        data={"number": execution.number, "through": execution.started_through},
        message=f"{workflow.name}, run {execution.number}, started",
    )


def _cancelled(execution: WorkflowExecution, actor: str, reason: str) -> EventDraft:
    return EventDraft(
        event_type=EventType.WORKFLOW_CANCELLED,
        workspace_id=execution.workspace_id,
        workflow_id=execution.workflow_id,
        workflow_execution_id=execution.id,
        actor=actor,
        data={"number": execution.number, "reason": reason},
        message=f"{execution.workflow.name}, run {execution.number}, was cancelled",
    )
