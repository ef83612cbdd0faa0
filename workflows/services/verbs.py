"""The verbs of a run besides start and cancel: pause, resume, retry, rerun, signal.

Every door calls these. Each raises NotVisible and NotPermitted, and Conflict with the status
where that does not allow it.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from pydantic import TypeAdapter, ValidationError

from workflows.bulk import insert_objects, together, wake_engine
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.core.ids import step_execution_id
from workflows.core.names import STORED, Name, name_in_definition
from workflows.core.revisions import rows_of_today
from workflows.core.states import (
    RETRYABLE_EXECUTION_STATUSES,
    ExecutionStatus,
    SkipReason,
    StepStatus,
)
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.handlers import plugs
from workflows.models import Role, Signal, User, WorkflowExecution, WorkflowStepExecution
from workflows.services.access import require_role
from workflows.services.executions import MAX_REASON, start_executions, visible_execution
from workflows.services.open_steps import BLOCKS, every_step
from workflows.services.subworkflows import wake_parents
from workflows.services.texts import check_text

_FAILED = frozenset({StepStatus.FAILED, StepStatus.TIMEOUT, StepStatus.CANCELLED})
_signal_name: TypeAdapter[str] = TypeAdapter(Name)


def pause_execution(
    execution_id: UUID, *, user: User | None, reason: str = ""
) -> WorkflowExecution:
    """Let nothing more of a run start until it is resumed; its clock stands still.

    What runs already ends and is recorded. Open approvals can be decided; what follows from them
    waits. A sub-workflow's run is a run of its own, and goes on. InvalidInput where the reason
    cannot be kept. Conflicts: ``already_ended``, ``already_paused``.
    """
    with transaction.atomic():
        execution, now = _take(execution_id, user)
        check_text("reason", reason, MAX_REASON)
        _refuse_ended(execution)
        if execution.is_paused:
            raise _conflict(execution, "already_paused", "This run is paused already")
        since = execution.active_since or now
        _change(
            execution,
            status=ExecutionStatus.PAUSED,
            is_paused=True,
            active_seconds=execution.active_seconds + (now - since).total_seconds(),
            active_since=None,
            wake_at=now,
        )
        if execution.parent_step_id:
            wake_parents([execution.pk], now)
        event = _event(execution, EventType.WORKFLOW_PAUSED, "was paused", user, reason=reason)
        _tell(event, now)
    return execution


def resume_execution(execution_id: UUID, *, user: User | None) -> WorkflowExecution:
    """Let a paused run go on where it is. Conflict: ``not_paused``."""
    with transaction.atomic():
        execution, now = _take(execution_id, user)
        if execution.is_ended or not execution.is_paused:
            raise _conflict(execution, "not_paused", f"This run is {execution.status}, not paused")
        # Its driver says whether it runs or waits, as soon as it has looked.
        _change(execution, status=ExecutionStatus.WAITING, is_paused=False, wake_at=now)
        _tell(_event(execution, EventType.WORKFLOW_RESUMED, "was resumed", user), now)
    return execution


def retry_execution(execution_id: UUID, *, user: User | None) -> WorkflowExecution:
    """Take a run up again that did not complete: do anew what failed in it, and nothing else.

    Each step that failed, ran out of time, was cancelled, or never ran because of a failure
    before it gets a new revision; what was, stays. A block that failed by itself, as a loop does
    whose rounds did not suffice, is done anew with all that stands in it. The run has its whole
    time again. Conflicts: ``not_failed``, and ``belongs_to_ended_run`` where nobody waits for
    a sub-workflow's run.
    """
    with transaction.atomic():
        _lock_parent(execution_id)
        execution, now = _take(execution_id, user)
        if execution.status not in RETRYABLE_EXECUTION_STATUSES:
            text = (
                f"Only a run that did not complete can be retried: this one is {execution.status}"
            )
            raise _conflict(execution, "not_failed", text)
        if execution.parent_step_id and not is_awaited(execution.parent_step_id):
            text = "Nothing waits for this run any more: retry the run that started it"
            raise _conflict(execution, "belongs_to_ended_run", text)
        steps = _new_revisions(execution, now)
        _change(
            execution,
            status=ExecutionStatus.PENDING,
            is_paused=False,
            completed_at=None,
            output_data=None,
            error_code="",
            error_message="",
            active_seconds=0,
            active_since=None,
            wake_at=now,
        )
        event = _event(
            execution, EventType.WORKFLOW_RETRIED, "was taken up again", user, steps=len(steps)
        )
        _tell(event, now, steps)
    return execution


def rerun_execution(
    execution_id: UUID,
    *,
    user: User | None,
    door: str,
    input_variables: dict[str, Any] | None = None,
) -> WorkflowExecution:
    """Start a new run of the workflow's published version with the inputs of an earlier one.

    Args:
        input_variables: other inputs, instead of all of those.

    Raises InvalidInput where they do not fit (any more), and Conflict ``not_published``.
    """
    execution = visible_execution(execution_id, user)
    inputs = execution.input_variables if input_variables is None else input_variables
    return start_executions(
        execution.workflow,
        [inputs],
        user=user,
        door=door,
        project=execution.project,
        rerun_of=execution,
    )[0]


def signal_execution(
    execution_id: UUID, *, name: str, data: Any = None, user: User | None
) -> Signal:
    """Post an event to a run: it is kept until a step that waits for ``name`` takes it.

    Raises InvalidInput with a pointer ``/name`` or ``/data…``. Conflict: ``already_ended``.
    """
    _check_signal(name, data)
    with transaction.atomic():
        execution, now = _take(execution_id, user)
        _refuse_ended(execution)
        signal = Signal(execution=execution, name=name, data=data, sent_by=user, received_at=now)
        _change(execution, wake_at=now)
        event = _event(
            execution, EventType.SIGNAL_RECEIVED, f"was sent “{name}”", user, signal=name
        )
        _tell(event, now, [signal])
    return signal


def is_awaited(parent_step_id: UUID) -> bool:
    """Whether the step that a run was started for has not ended."""
    step = WorkflowStepExecution.objects.filter(pk=parent_step_id, completed_at=None)
    return step.exists()


def _take(execution_id: UUID, user: User | None) -> tuple[WorkflowExecution, datetime]:
    """Lock a run that ``user`` may operate to the end of the transaction; return it and the
    time."""
    execution = visible_execution(execution_id, user)
    if user is not None:
        require_role(user, execution.workspace_id, Role.OPERATOR)
    rows = WorkflowExecution.objects.select_related("workflow").select_for_update(of=("self",))
    taken: WorkflowExecution | None = rows.filter(pk=execution_id).first()
    if taken is None:
        raise NotVisible("There is no such execution any more")
    return taken, database_now()


def _change(execution: WorkflowExecution, **columns: Any) -> None:
    """Write columns of a run that is locked."""
    for name, value in columns.items():
        setattr(execution, name, value)
    execution.save(update_fields=[*columns])


def _tell(event: EventDraft, now: datetime, rows: list[Any] | None = None) -> None:
    """Insert ``rows``, have the drivers look, and append the event, which comes last."""
    with together():
        insert_objects(rows or [])
        wake_engine()
        append_events([event], now)


def _refuse_ended(execution: WorkflowExecution) -> None:
    if execution.is_ended:
        text = f"This run has ended: it is {execution.status}"
        raise _conflict(execution, "already_ended", text)


def _conflict(execution: WorkflowExecution, code: str, message: str) -> Conflict:
    return Conflict(message, code=code, status=execution.status)


def _lock_parent(execution_id: UUID) -> None:
    """Lock the run that a sub-workflow's run was started for, which is taken before that one."""
    child = WorkflowExecution.objects.filter(pk=execution_id, parent_step_id__isnull=False)
    steps = WorkflowStepExecution.objects.filter(id__in=child.values("parent_step_id"))
    parents = WorkflowExecution.objects.filter(id__in=steps.values("execution_id"))
    list(parents.select_for_update().values_list("id"))


def _new_revisions(execution: WorkflowExecution, now: datetime) -> list[WorkflowStepExecution]:
    """Return the next revision of each step that a retry does anew, not written yet.

    What stands in a block that failed by itself has none: the block comes to it again. What failed
    could begin ``now``, however long ago the steps before it have ended: that counts where it has
    to wait for an agent, and may not do so for ever.
    """
    rows = WorkflowStepExecution.objects.filter(execution=execution).order_by("revision")
    fields = ("name", "parent", "step_type", "revision", "status", "skip_reason", "error_code")
    sent_back = ("feedback", "revised_at")
    latest = rows_of_today({row.name: row for row in rows.only(*fields, *sent_back)})
    failed = [row for row in latest.values() if _is_done_anew(row, latest)]
    begin_again = _blocks_failed_by_themselves(failed, execution.version.definition)
    return [
        WorkflowStepExecution(
            id=step_execution_id(execution.pk, row.name, row.revision + 1),
            execution_id=execution.pk,
            name=row.name,
            parent=row.parent,
            step_type=row.step_type,
            revision=row.revision + 1,
            feedback=row.feedback,
            revised_at=now if row.name in begin_again else row.revised_at,
            status=StepStatus.PENDING,
            due_at=now if _is_work(row) and row.status in _FAILED else None,
        )
        for row in failed
        if begin_again.isdisjoint(_blocks_around(row, latest))
    ]


def _is_done_anew(row: WorkflowStepExecution, latest: dict[str, WorkflowStepExecution]) -> bool:
    """Whether a retry does a step again: it did not succeed, nor did the block that holds it."""
    never_ran = row.status == StepStatus.SKIPPED and row.skip_reason == SkipReason.UPSTREAM_FAILED
    if row.status not in _FAILED and not never_ran:
        return False
    return not row.parent or _is_done_anew(latest[row.parent], latest)


def _blocks_failed_by_themselves(
    failed: Collection[WorkflowStepExecution], definition: dict[str, Any]
) -> frozenset[str]:
    """Return the blocks that failed although no step in them did whose failure counts, and not
    for want of rounds that a failure elsewhere has kept from them."""
    definitions = {step["name"]: step for step in every_step(definition)}

    def is_tolerated(row: WorkflowStepExecution) -> bool:
        config = definitions[name_in_definition(row.name, definitions)].get("config") or {}
        return row.status in _FAILED and bool(config.get("continue_on_error"))

    by_their_steps = {row.parent for row in failed if row.parent and not is_tolerated(row)}
    return frozenset(
        row.name
        for row in failed
        if row.step_type in BLOCKS
        and row.status == StepStatus.FAILED
        and row.name not in by_their_steps
        and row.error_code != "halted"
    )


def _blocks_around(
    row: WorkflowStepExecution, latest: dict[str, WorkflowStepExecution]
) -> Iterator[str]:
    while row.parent:
        yield row.parent
        row = latest[row.parent]


def _is_work(row: WorkflowStepExecution) -> bool:
    plug = plugs().get(row.step_type)
    return plug is not None and plug.work is not None


def _check_signal(name: str, data: Any) -> None:
    problems = []
    try:
        # A published step may wait for a name that is refused by now.
        _signal_name.validate_python(name, strict=True, context=STORED)
    except ValidationError as error:
        problems = [
            Problem("", found["type"], f"The name: {found['msg']}", "/name")
            for found in error.errors()
        ]
    try:
        dumps_canonical(data)
    except UnstorableError as error:
        problems.append(Problem("", error.reason, error.message, f"/data{error.path or ''}"))
    if problems:
        raise InvalidInput("This event cannot be posted", problems)


def _event(
    execution: WorkflowExecution,
    event_type: EventType,
    words: str,
    user: User | None,
    **data: Any,
) -> EventDraft:
    return EventDraft(
        event_type=event_type,
        workspace_id=execution.workspace_id,
        workflow_id=execution.workflow_id,
        workflow_execution_id=execution.pk,
        actor=f"user:{user.username}" if user else SYSTEM,
        data={"number": execution.number, **data},
        message=f"{execution.workflow.name}, run {execution.number}, {words}",
    )
