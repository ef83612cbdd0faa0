"""How the runs of a workflow went: counts, success rate, durations, and its steps one by one.

Percentiles are exact (nearest rank) and computed by the database, by numbering the rows; each
figure is one query, however many runs there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection

from workflows.core.states import TERMINAL_EXECUTION_STATUSES, ExecutionStatus
from workflows.models import WorkflowExecution

#: The steps with the most failures and attempts are told, so many at most.
STEPS_TOLD: Final = 500


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The middle and the long end of some durations, in seconds; None where there were none."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """A step over all runs. `failures` are runs in which it failed for good; what it is in a
    mapped or repeated block is counted together."""

    name: str
    step_type: str
    runs: int
    attempts: int
    failures: int
    skipped: int
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class WorkflowMetrics:
    """The runs that were made since a moment.

    Attributes:
        finished: those that completed, failed or ran out of time; a cancelled one says nothing
            about the workflow.
        success_rate: the share of them that completed; None where none has finished.
        duration: from start to end. `running`: without the time in which only people were
            awaited. `waiting_for_people`: of each gate, from the request to its end.
    """

    since: datetime
    runs: Mapping[str, int]
    finished: int
    success_rate: float | None
    duration: Percentiles
    running: Percentiles
    waiting_for_people: Percentiles
    steps: list[StepMetrics]


def workflow_metrics(workflow_id: UUID, *, since: datetime) -> WorkflowMetrics:
    """Return how the runs of a workflow went that were made since a moment; five queries."""
    runs = dict.fromkeys((status.value for status in ExecutionStatus), 0)
    runs.update(_ask(f"SELECT status, count(*) {_RUNS} GROUP BY status", workflow_id, since))
    ended = {s.value: runs[s.value] for s in TERMINAL_EXECUTION_STATUSES}
    finished = sum(ended.values()) - ended["cancelled"]
    return WorkflowMetrics(
        since=since,
        runs=runs,
        finished=finished,
        success_rate=ended["completed"] / finished if finished else None,
        duration=_percentiles(_seconds("r"), f"{_RUNS} AND {_FINISHED}", workflow_id, since),
        running=_percentiles("r.active_seconds", f"{_RUNS} AND {_FINISHED}", workflow_id, since),
        waiting_for_people=_percentiles(
            _seconds("s"),
            f"{_STEPS} AND s.step_type = 'approval' AND s.completed_at IS NOT NULL"
            " AND s.started_at IS NOT NULL",
            workflow_id,
            since,
        ),
        steps=_steps(workflow_id, since),
    )


def window_start(now: datetime, days: int) -> datetime:
    """Return since when the runs of the last `days` were made."""
    return now - timedelta(days=days)


_RUNS = "FROM workflows_workflowexecution r WHERE r.workflow_id = %s AND r.created_at >= %s"
_FINISHED = "r.status IN ('completed', 'failed', 'timeout') AND r.started_at IS NOT NULL"
_STEPS = (
    "FROM workflows_workflowexecution r"
    " JOIN workflows_workflowstepexecution s ON s.execution_id = r.id"
    " WHERE r.workflow_id = %s AND r.created_at >= %s"
)
# What a row came to in the k-th place of n holds for a share p where k is p·n, rounded up.
_MEDIAN = "place = (n + 1) / 2"
_LONG_END = "place = (n * 95 + 99) / 100"


def _percentiles(seconds: str, rows: str, workflow_id: UUID, since: datetime) -> Percentiles:
    [(count, p50, p95)] = _ask(
        f"SELECT count(*), max(CASE WHEN {_MEDIAN} THEN seconds END),"
        f" max(CASE WHEN {_LONG_END} THEN seconds END) FROM ("
        f"SELECT {seconds} AS seconds, row_number() OVER (ORDER BY {seconds}) AS place,"
        f" count(*) OVER () AS n {rows}) AS timed",
        workflow_id,
        since,
    )
    return Percentiles(count, _rounded(p50), _rounded(p95))


def _steps(workflow_id: UUID, since: datetime) -> list[StepMetrics]:
    # A row that never began is numbered behind all that did, in a part of its own.
    seconds = _seconds("s")
    rows = _ask(
        "SELECT name, min(step_type), count(DISTINCT execution_id), sum(attempts),"
        " sum(CASE WHEN status IN ('failed', 'timeout') THEN 1 ELSE 0 END) AS failures,"
        " sum(CASE WHEN status = 'skipped' THEN 1 ELSE 0 END),"
        f" max(CASE WHEN has_run = 1 AND {_MEDIAN} THEN seconds END) FROM ("
        "SELECT name, step_type, execution_id, attempts, status, seconds, has_run,"
        " row_number() OVER (PARTITION BY name, has_run ORDER BY seconds) AS place,"
        " count(*) OVER (PARTITION BY name, has_run) AS n FROM ("
        f"SELECT {_plain_name()} AS name, s.step_type, s.execution_id, s.attempts, s.status,"
        f" {seconds} AS seconds, CASE WHEN s.started_at IS NOT NULL AND s.completed_at IS NOT NULL"
        f" THEN 1 ELSE 0 END AS has_run {_STEPS}) AS moved) AS placed"
        f" GROUP BY name ORDER BY failures DESC, sum(attempts) DESC, name LIMIT {STEPS_TOLD}",
        workflow_id,
        since,
    )
    return [
        StepMetrics(name, step_type, runs, int(attempts), int(failures), int(skipped), _rounded(m))
        for name, step_type, runs, attempts, failures, skipped, m in rows
    ]


def _ask(sql: str, workflow_id: UUID, since: datetime) -> list[Any]:
    """Run a query whose places are the workflow and the moment."""
    key = WorkflowExecution._meta.pk.get_db_prep_value(workflow_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, [key, connection.ops.adapt_datetimefield_value(since)])
        return list(cursor.fetchall())


def _seconds(row: str) -> str:
    """Return the expression for how long a row took."""
    if connection.vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM {row}.completed_at - {row}.started_at)::double precision"
    return f"(julianday({row}.completed_at) - julianday({row}.started_at)) * 86400.0"


def _plain_name() -> str:
    """Return the expression for a step's name without its place in a block: `check[3]`."""
    position = "strpos" if connection.vendor == "postgresql" else "instr"
    plain = f"substr(s.name, 1, {position}(s.name || '[', '[') - 1)"
    return f"CASE WHEN s.parent = '' THEN s.name ELSE {plain} END"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
