"""How a run begins and how it is cancelled; ``verbs`` has what can be done with it besides.

Every door calls these.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import transaction

from workflows.bulk import (
    as_moment,
    as_uuid,
    insert_objects,
    now_sql,
    select,
    together,
    wake_engine,
)
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.definition import WorkflowDefinition, read_fields
from workflows.core.errors import Problem, UnstorableError, json_pointer
from workflows.core.ids import uuid7
from workflows.core.parts import MAX_SECONDS
from workflows.core.states import LIVE_EXECUTION_STATUSES, ExecutionStatus, StepStatus
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.handlers import Ended, gates, plugs
from workflows.models import (
    Project,
    Role,
    User,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
    WorkflowVersion,
)
from workflows.querysets import ExecutionQuerySet
from workflows.services.access import require_role
from workflows.services.subworkflows import wake_parents
from workflows.services.texts import check_text

#: Characters of the reason for which a run is cancelled or paused.
MAX_REASON = 10_000


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
    rerun_of: WorkflowExecution | None = None,
) -> list[WorkflowExecution]:
    """Start one run for each of ``inputs``: all of them or, if any is wrong, none.

    ``rerun_of``: the run that they repeat.
    """
    if user is not None:
        require_role(user, workflow.workspace_id, Role.OPERATOR)
    with transaction.atomic():
        fields = {"started_by": user, "started_through": door, "rerun_of": rerun_of}
        executions, now = _new_runs(workflow, inputs, project=project, **fields)
        with together():
            insert_objects(executions)
            wake_engine()
            append_events([_started(e, workflow, user) for e in executions], now)
    return executions


def start_child(
    workflow: Workflow,
    input_variables: dict[str, Any],
    *,
    parent_step_id: UUID,
    depth: int,
    started_by_id: int | None,
    timeout_seconds: int | None = None,
) -> tuple[WorkflowExecution, EventDraft]:
    """Start a run for a step of another one, inside the caller's transaction.

    ``timeout_seconds`` is the longest that it may take, if its own is longer.
    Return it with the event to append: that takes the last lock, so it is the caller's to do.
    Raises InvalidInput and Conflict as ``start_execution`` does; then nothing has happened.
    """
    with transaction.atomic():
        [child], _ = _new_runs(
            workflow,
            [input_variables],
            parent_step_id=parent_step_id,
            depth=depth,
            started_by_id=started_by_id,
            started_through="workflow",
        )
        child.timeout_seconds = min(child.timeout_seconds, timeout_seconds or MAX_SECONDS)
        insert_objects([child])
    return child, _started(child, workflow, None)


def start_scheduled(
    workflow: Workflow, input_variables: dict[str, Any], *, started_by: User
) -> tuple[WorkflowExecution, EventDraft]:
    """Start a run by the clock, inside the caller's transaction, in the name of ``started_by``.

    Return it with the event to append. Raises InvalidInput and Conflict as ``start_execution``
    does; then nothing has happened.
    """
    with transaction.atomic():
        executions, _ = _new_runs(
            workflow, [input_variables], started_by=started_by, started_through="schedule"
        )
        insert_objects(executions)
        wake_engine()
    return executions[0], _started(executions[0], workflow, None)


def check_inputs(workflow: Workflow, given: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with input variables that a run is to be started with later.

    A workflow that is not published yet accepts anything that can be stored.
    """
    if workflow.published_version_id is None:
        return _unstorable(given, "")
    try:
        _checked_inputs(_published(workflow.published_version_id), given, "")
    except InvalidInput as error:
        return error.problems
    return []


def _new_runs(
    workflow: Workflow,
    inputs: Sequence[dict[str, Any]],
    *,
    project: Project | None = None,
    **fields: Any,
) -> tuple[list[WorkflowExecution], datetime]:
    """Return a run of the published version for each of ``inputs``, not written yet, and the
    time."""
    # The row lock makes the numbers: one after the other, and none is lost by a rollback.
    counted = select(
        "UPDATE workflows_workflow SET last_run_number = last_run_number + %s"
        " WHERE id = %s AND published_version_id IS NOT NULL"
        f" RETURNING last_run_number, published_version_id, project_id, {now_sql()}",
        len(inputs), workflow.id,
    )  # fmt: skip
    if not counted:
        raise Conflict(f"“{workflow.name}” has not been published yet", code="not_published")
    last_number, version_id, project_id, moment = counted[0]
    now = as_moment(moment) or database_now()
    definition = _published(as_uuid(version_id))
    many = len(inputs) > 1
    values = [
        _checked_inputs(definition, given, f"/{index}" if many else "")
        for index, given in enumerate(inputs)
    ]
    return [
        WorkflowExecution(
            id=uuid7(),
            workspace_id=workflow.workspace_id,
            project_id=project.pk if project else project_id and as_uuid(project_id),
            workflow=workflow,
            version_id=as_uuid(version_id),
            number=number,
            input_variables=given,
            timeout_seconds=definition.timeout_seconds,
            wake_at=now,
            **fields,
        )
        for number, given in enumerate(values, last_number - len(inputs) + 1)
    ], now


@lru_cache(maxsize=256)
def _published(version_id: UUID) -> WorkflowDefinition:
    """Return the definition of a version; versions never change."""
    document = WorkflowVersion.objects.values_list("definition", flat=True).get(id=version_id)
    # Whatever the limits are now, they held when the version was published.
    return read_fields(document)


def cancel_execution(
    execution_id: UUID, *, user: User | None, reason: str = ""
) -> WorkflowExecution:
    """End a run now; once this has returned no step of it starts.

    Its open approvals are cancelled and its agents released. What a running step still brings is
    refused. Raises NotVisible, NotPermitted, InvalidInput where the reason cannot be kept, and
    Conflict ``already_ended`` with the status.
    """
    execution = visible_execution(execution_id, user)
    if user is not None:
        require_role(user, execution.workspace_id, Role.OPERATOR)
    check_text("reason", reason, MAX_REASON)
    with transaction.atomic():
        live = WorkflowExecution.objects.filter(id=execution_id, status__in=LIVE_EXECUTION_STATUSES)
        # Before the time is read: what a turn begins that was first here, began before the end.
        live.select_for_update().first()
        now = database_now()
        ended = live.update(
            status=ExecutionStatus.CANCELLED,
            completed_at=now,
            driver=None,
            wake_at=None,
            active_since=None,
            error_message=reason,
        )
        execution = visible_execution(execution_id, user)
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
        if execution.parent_step_id:
            wake_parents([execution.id], now)
        append_events(events, now)
    return execution


def cancel_open_steps(execution_id: UUID, now: datetime, actor: str) -> list[EventDraft]:
    """Cancel what a run that has just ended has open; return the events of that."""
    events: list[EventDraft] = []
    open_steps = WorkflowStepExecution.objects.filter(execution_id=execution_id, completed_at=None)
    running = [Ended(s.id, s.attempts, None) for s in open_steps if s.status == StepStatus.RUNNING]
    open_steps.update(status=StepStatus.CANCELLED, completed_at=now, due_at=None)
    # Whatever the type of a step is: its fallback may be of another one.
    for handler in {plug.reserving for plug in plugs().values() if plug.reserving}:
        if running:
            events += handler.settle(running, now)
    for gate in gates():
        events += gate.cancel([execution_id], now, actor)
    return events


def cancel_runs(
    runs: ExecutionQuerySet, now: datetime, actor: str, reason: str
) -> list[EventDraft]:
    """Cancel those of ``runs`` that are live, with all that runs for them; return the events.

    Call it inside a transaction.
    """
    live = runs.live().select_related("workflow").order_by("id")
    locked = list(live.select_for_update(of=("self",)))
    WorkflowExecution.objects.filter(id__in=[run.id for run in locked]).update(
        status=ExecutionStatus.CANCELLED,
        completed_at=now,
        driver=None,
        wake_at=None,
        active_since=None,
        error_message=reason,
    )
    events: list[EventDraft] = []
    for run in locked:
        events += cancel_open_steps(run.id, now, actor)
        events.append(_cancelled(run, actor, reason))
    return events


def visible_execution(execution_id: UUID, user: User | None) -> WorkflowExecution:
    """Return a run, with its workflow, if ``user`` sees it; None sees all. Raises NotVisible."""
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
    problems += _unstorable(given, pointer)
    if problems:
        raise InvalidInput("The run cannot start with these values", problems)
    return given


def _unstorable(given: dict[str, Any], pointer: str) -> list[Problem]:
    try:
        dumps_canonical(given)
    except UnstorableError as error:
        path = f"{pointer}/input_variables{error.path or ''}"
        return [Problem("", error.reason, error.message, path)]
    return []


def _started(execution: WorkflowExecution, workflow: Workflow, user: User | None) -> EventDraft:
    repeated = {"rerun_of": str(execution.rerun_of_id)} if execution.rerun_of_id else {}
    return EventDraft(
        event_type=EventType.WORKFLOW_STARTED,
        workspace_id=execution.workspace_id,
        workflow_id=workflow.id,
        workflow_execution_id=execution.id,
        actor=f"user:{user.username}" if user else SYSTEM,
        data={"number": execution.number, "through": execution.started_through} | repeated,
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
