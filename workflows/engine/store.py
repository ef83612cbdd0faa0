"""The engine's statements on executions and steps: lock, claim, load, write."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from workflows.bulk import (
    Column,
    Query,
    Rows,
    as_moment,
    as_uuid,
    insert_rows,
    select,
    update_rows,
)
from workflows.core.scope import ABSENT
from workflows.core.states import ExecutionStatus, StepStatus
from workflows.dialects import RawJson
from workflows.engine.run import Attempt, Run, StepRecord
from workflows.models import WorkflowExecution

STEP_COLUMNS = (
    Column("id", "uuid"),
    Column("execution_id", "uuid"),
    Column("name", "text"),
    Column("parent", "text"),
    Column("step_type", "text"),
    Column("revision", "bigint"),
    Column("feedback", "text"),
    Column("revised_at", "timestamptz"),
    Column("status", "text"),
    Column("attempts", "bigint"),
    Column("crashes", "bigint"),
    Column("failovers", "bigint"),
    Column("pauses", "bigint"),
    Column("input_data", "jsonb", keeps=True),
    Column("output_data", "jsonb"),
    Column("error_code", "text"),
    Column("error_message", "text"),
    Column("skip_reason", "text"),
    Column("agent_instance_id", "uuid"),
    Column("is_fallback", "boolean"),
    Column("due_at", "timestamptz"),
    Column("started_at", "timestamptz"),
    Column("completed_at", "timestamptz"),
)
_CHANGING = STEP_COLUMNS[:1] + STEP_COLUMNS[8:]
_new_fields = attrgetter(*(c.name for c in STEP_COLUMNS[2:]))
_changed_fields = attrgetter(*(c.name for c in _CHANGING))

EXECUTION_COLUMNS = (
    Column("id", "uuid"),
    Column("status", "text"),
    Column("output_data", "jsonb"),
    Column("error_code", "text"),
    Column("error_message", "text"),
    Column("active_seconds", "double precision"),
    Column("active_since", "timestamptz"),
    Column("driver_id", "uuid"),
    Column("wake_at", "timestamptz"),
    Column("started_at", "timestamptz"),
    Column("completed_at", "timestamptz"),
)

_STEPS = "workflows_workflowstepexecution"


@dataclass(slots=True)
class Claimed:
    """A row of the execution that was just claimed."""

    id: UUID
    workspace_id: UUID
    project_id: UUID | None
    workflow_id: UUID
    version_id: UUID
    number: int
    started_by_id: int | None
    started_by: str | None
    status: str
    input_variables: str
    timeout_seconds: int
    active_seconds: float
    active_since: datetime | None
    started_at: datetime | None
    is_paused: bool
    parent_step_id: UUID | None
    depth: int


_CLAIMED = (
    "id, workspace_id, project_id, workflow_id, version_id, number, started_by_id,"
    " (SELECT u.username FROM workflows_user u WHERE u.id = started_by_id), status,"
    " input_variables, timeout_seconds, active_seconds, active_since, started_at,"
    " is_paused, parent_step_id, depth"
)


def claim_executions(
    driver_id: UUID, *, at_most: int, drivers: int, now: datetime
) -> tuple[list[Claimed], bool]:
    """Take this driver's fair share of the runnable executions, those due longest first.

    Claimed executions carry the driver's id and a higher fence; nothing else claims them until
    they are released or the driver is fenced. Return them, and whether others are left.
    """
    rows = select(
        # SQLite would count again after each row if it were not told to keep the number.
        "WITH runnable AS MATERIALIZED (SELECT count(*) AS n FROM ("
        "SELECT 1 FROM workflows_workflowexecution"
        " WHERE driver_id IS NULL AND wake_at <= %s LIMIT %s) AS due)"
        " UPDATE workflows_workflowexecution"
        " SET driver_id = %s, fence = fence + 1, wake_at = NULL FROM runnable WHERE id IN ("
        "SELECT id FROM workflows_workflowexecution"
        " WHERE driver_id IS NULL AND wake_at <= %s ORDER BY wake_at"
        " LIMIT (SELECT (n + %s - 1) / %s FROM runnable) FOR UPDATE SKIP LOCKED)"
        f" RETURNING {_CLAIMED}, (SELECT n FROM runnable)",
        now, at_most * drivers, driver_id, now, drivers, drivers,
    )  # fmt: skip
    return [_claimed(row[:-1]) for row in rows], bool(rows) and len(rows) < rows[0][-1]


def reload_executions(driver_id: UUID, ids: Sequence[UUID]) -> list[Claimed]:
    """Lock and read again those of ``ids`` that this driver still owns."""
    rows = select(
        f"SELECT {_CLAIMED} FROM workflows_workflowexecution"
        " WHERE id = ANY(%s) AND driver_id = %s ORDER BY id FOR UPDATE",
        list(ids), driver_id,
    )  # fmt: skip
    return [_claimed(row) for row in rows]


def lock_subjects(driver_id: UUID, ids: Sequence[UUID]) -> list[Claimed]:
    """Lock and read those of ``ids`` that this driver owns or might have claimed."""
    rows = select(
        f"SELECT {_CLAIMED} FROM workflows_workflowexecution WHERE id = ANY(%s)"
        " AND completed_at IS NULL AND (driver_id = %s OR driver_id IS NULL)"
        " ORDER BY id FOR UPDATE",
        list(ids), driver_id,
    )  # fmt: skip
    return [_claimed(row) for row in rows]


def lock_query(driver_id: UUID, ids: Iterable[UUID], *, with_woken: bool = False) -> Query:
    """Return the query that locks those of ``ids`` that this driver still owns, in their order.

    ``with_woken``: and those that somebody asked to be looked at. Its rows are for ``locked``.
    """
    woken = " OR wake_at IS NOT NULL" if with_woken else ""
    sql = (
        "SELECT id, wake_at, is_paused FROM workflows_workflowexecution"
        f" WHERE driver_id = %s AND (id = ANY(%s){woken}) ORDER BY id FOR UPDATE"
    )
    return sql, [driver_id, list(ids)]


class Locked(NamedTuple):
    """What a driver is told of an execution of its own: when it was asked to look at it, if it
    was, and whether it is to stand still."""

    wake_at: datetime | None = None
    is_paused: bool = False


def locked(rows: Rows) -> dict[UUID, Locked]:
    """Return the executions that ``lock_query`` locked."""
    return {as_uuid(row[0]): Locked(as_moment(row[1]), bool(row[2])) for row in rows}


class LateStep(NamedTuple):
    """A revision of a step that a late result came of, and its run."""

    id: UUID
    name: str
    agent_instance_id: UUID | None
    execution_id: UUID
    workflow_id: UUID
    workspace_id: UUID


def late_steps(attempts: Sequence[Attempt]) -> list[tuple[LateStep, int]]:
    """Return the steps of attempts, with the attempts' numbers. Left out are those that count
    still, which is for another driver to find out, and those that have been deleted."""
    rows = select(
        "SELECT s.id, s.name, s.agent_instance_id, e.id, e.workflow_id, e.workspace_id,"
        " s.status, s.attempts FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id WHERE s.id = ANY(%s)",
        [step_id for _, step_id, _ in attempts],
    )
    found = {}
    for step_id, name, agent_id, *of_run, status, latest in rows:
        agent = agent_id and as_uuid(agent_id)
        step = LateStep(as_uuid(step_id), name, agent, *map(as_uuid, of_run))
        found[step.id] = step, latest if status == StepStatus.RUNNING else None
    return [
        (found[step_id][0], number)
        for _, step_id, number in attempts
        if step_id in found and found[step_id][1] != number
    ]


def owned_executions(driver_id: UUID) -> set[UUID]:
    """Return every execution of this driver."""
    rows = select("SELECT id FROM workflows_workflowexecution WHERE driver_id = %s", driver_id)
    return {as_uuid(row[0]) for row in rows}


def load_steps(runs: dict[UUID, Run]) -> None:
    """Read the steps of ``runs`` that have moved, and the outputs that are still needed."""
    fields = [c.name for c in STEP_COLUMNS if c.name not in ("input_data", "output_data")]
    rows = select(
        f"SELECT {', '.join(fields)} FROM workflows_workflowstepexecution"
        " WHERE execution_id = ANY(%s) ORDER BY revision",
        list(runs),
    )
    revised = set()
    for row in rows:
        values = dict(zip(fields, row, strict=True))
        run = runs[as_uuid(values.pop("execution_id"))]
        record = StepRecord(**values, is_stored=True)
        record.id = as_uuid(record.id)
        record.status = StepStatus(record.status)
        record.is_fallback = bool(record.is_fallback)
        record.agent_instance_id = (
            as_uuid(record.agent_instance_id) if record.agent_instance_id else None
        )
        for moment in ("revised_at", "due_at", "started_at", "completed_at"):
            setattr(record, moment, as_moment(getattr(record, moment)))
        if before := run.records.get(record.name):
            record.previous_id = before.last_result_id
            record.previous = ABSENT if record.previous_id else None
        run.records[record.name] = record
        if record.revised_at:
            revised.add(run.id)
    for run_id in revised:
        runs[run_id].set_aside_earlier()


def read_last_results(runs: Iterable[Run]) -> None:
    """Read what earlier revisions made, for the steps of ``runs`` that may ask for it."""
    lacking = {r.last_result_id: r for run in runs for r in run.lacking_results()}
    if lacking:
        ids = [step_id for step_id in lacking if step_id]
        for step_id, text in load_data(ids, "output_data").items():
            lacking[step_id].read_last_result(text)


def load_data(ids: Sequence[UUID], column: str) -> dict[UUID, str]:
    """Return ``input_data`` or ``output_data`` of step executions, as JSON text."""
    rows = select(
        f"SELECT id, {column} FROM workflows_workflowstepexecution WHERE id = ANY(%s)", list(ids)
    )
    return {as_uuid(row[0]): row[1] for row in rows if row[1] is not None}


def write_steps(records: Iterable[tuple[UUID, StepRecord]]) -> None:
    """Write (execution, step) rows as they stand now; a row that has ended stays as it is."""
    new, changed = [], []
    for execution_id, record in records:
        if record.is_stored:
            changed.append(_changed_fields(record))
        else:
            record.is_stored = True
            new.append((record.id, execution_id, *_new_fields(record)))
    insert_rows(_STEPS, STEP_COLUMNS, new)
    update_rows(_STEPS, _CHANGING, changed, guard=f"{_STEPS}.completed_at IS NULL")


def write_executions(
    runs: Iterable[Run], *, driver_id: UUID, released: dict[UUID, "Release"]
) -> None:
    """Write executions as they stand now; those in ``released`` are given up, or have ended."""
    rows = []
    for run in runs:
        release = released.get(run.id)
        rows.append(
            (
                run.id,
                run.status.value,
                release.output if release else None,
                release.error_code if release else "",
                release.error_message if release else "",
                run.active_seconds,
                run.active_since,
                None if release else driver_id,
                release.wake_at if release else None,
                run.started_at,
                release.completed_at if release else None,
            )
        )
    update_rows("workflows_workflowexecution", EXECUTION_COLUMNS, rows)


def fail_execution(execution_id: UUID, code: str, message: str, now: datetime) -> None:
    """End an execution of which nothing but its id is known."""
    WorkflowExecution.objects.filter(id=execution_id).update(
        status=ExecutionStatus.FAILED,
        error_code=code,
        error_message=message,
        completed_at=now,
        driver=None,
        wake_at=None,
    )


@dataclass(slots=True)
class Release:
    """How a driver leaves an execution: until ``wake_at``, or ended with ``output``."""

    wake_at: datetime | None = None
    output: RawJson | None = None
    error_code: str = ""
    error_message: str = ""
    completed_at: datetime | None = None


def _claimed(row: tuple[object, ...]) -> Claimed:
    claimed = Claimed(*row)  # type: ignore[arg-type]
    claimed.id = as_uuid(claimed.id)
    claimed.workspace_id = as_uuid(claimed.workspace_id)
    claimed.project_id = as_uuid(claimed.project_id) if claimed.project_id else None
    claimed.workflow_id = as_uuid(claimed.workflow_id)
    claimed.version_id = as_uuid(claimed.version_id)
    claimed.is_paused = bool(claimed.is_paused)
    if claimed.parent_step_id:
        claimed.parent_step_id = as_uuid(claimed.parent_step_id)
    claimed.active_since = as_moment(claimed.active_since)
    claimed.started_at = as_moment(claimed.started_at)
    return claimed
