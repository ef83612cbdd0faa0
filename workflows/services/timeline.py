"""When the steps of a run took place: what the timeline of the page and of the API is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import Coalesce

from workflows.core.states import StepStatus
from workflows.events import EventType
from workflows.models import Event, WorkflowStepExecution

#: Steps that only wait, for people, a time, an event or another run.
_WAITS: Final = frozenset({"approval", "wait", "workflow"})
#: These do no work either: the steps of a block do it.
_NO_WORK: Final = _WAITS | {"parallel", "sequential"}
#: What tells that an attempt begins, or that another one follows it.
_TURNS: Final = (
    EventType.STEP_STARTED.value,
    EventType.STEP_RETRYING.value,
    EventType.APPROVAL_REQUIRED.value,
)
_ENDS: Final = {
    EventType.STEP_RETRYING.value: "failed",
    EventType.STEP_FAILED.value: "failed",
    EventType.STEP_COMPLETED.value: "completed",
}


@dataclass(slots=True)
class Attempt:
    """One attempt of a step.

    `outcome`: `running`, `completed`, `failed`, `asked` where it stopped to ask people, or
    `abandoned` where its worker went away, or its run ended, before it did. When a worker went
    away is not always known: such an attempt has ended at the latest when the next one began.
    """

    number: int
    started_at: datetime | None
    ended_at: datetime | None = None
    outcome: str = "running"
    error_code: str = ""
    agent: str = ""


@dataclass(slots=True)
class Entry:
    """A step in one revision, with its attempts as far as their events are kept.

    `waiting_since` and `waiting_until`: of a step that waits for something outside the engine.
    """

    row: WorkflowStepExecution
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def agent(self) -> str:
        """Who took the latest attempt, "" where no agent did."""
        return self.attempts[-1].agent if self.attempts else ""

    @property
    def waiting_since(self) -> datetime | None:
        return self.row.started_at if self._waits else None

    @property
    def waiting_until(self) -> datetime | None:
        return self.row.completed_at if self._waits else None

    @property
    def _waits(self) -> bool:
        return self.row.step_type in _WAITS or self.row.status == StepStatus.WAITING


def works(row: WorkflowStepExecution) -> bool:
    """Tell whether a step does work itself while it is under way."""
    return row.step_type not in _NO_WORK


def moved_steps(execution_id: UUID) -> QuerySet[Any]:
    """Return the steps of a run that began or ended, each with the moment `at` of the first.

    Their inputs and outputs are left out.
    """
    rows: QuerySet[Any] = WorkflowStepExecution.objects.filter(execution_id=execution_id)
    rows = rows.annotate(at=Coalesce(F("started_at"), F("completed_at")))
    return rows.filter(at__isnull=False).defer("input_data", "output_data")


def entries_of(rows: Sequence[WorkflowStepExecution]) -> list[Entry]:
    """Return the entries of steps of one run, in their order; one query."""
    if not rows:
        return []
    events = _events(rows[0].execution_id).filter(workflow_step_id__in=[row.pk for row in rows])
    return _entries(rows, events)


def entries_with_several_attempts(rows: Sequence[WorkflowStepExecution]) -> list[Entry]:
    """Return the entries of those steps of one run that did not end with their first attempt.

    They began again, are to be tried again, or asked people. One query, however many rows.
    """
    if not rows:
        return []
    turns = Q(event_type__in=_TURNS)
    count = Window(Count("pk", filter=turns), partition_by="workflow_step_id")
    events = _events(rows[0].execution_id).annotate(turns=count).filter(turns__gt=1)
    return [entry for entry in _entries(rows, events) if entry.attempts]


def _entries(rows: Sequence[WorkflowStepExecution], events: QuerySet[Any]) -> list[Entry]:
    entries = {row.pk: Entry(row) for row in rows}
    facts = events.order_by("seq").values_list(
        "workflow_step_id", "event_type", "timestamp", "data"
    )
    for step_id, *fact in facts:
        if step_id in entries:
            _note(entries[step_id], *fact)
    for entry in entries.values():
        _close(entry)
    return list(entries.values())


def _events(execution_id: UUID) -> QuerySet[Any]:
    """What tells of the attempts of a run's steps."""
    events: QuerySet[Any] = Event.objects.of_execution(execution_id)
    return events.filter(event_type__in=[*_TURNS, *_ENDS])


def _note(entry: Entry, event_type: str, moment: datetime, data: dict[str, Any]) -> None:
    number = data.get("attempt", 0)
    if event_type == EventType.STEP_STARTED:
        # One that went back to another worker told nothing: the next one begins.
        _end_last(entry, moment, "abandoned")
        entry.attempts.append(Attempt(number, moment, agent=data.get("agent", "")))
        return
    if event_type == EventType.APPROVAL_REQUIRED:
        if entry.row.step_type != "approval":  # a gate goes on waiting in the attempt that asked
            _end_last(entry, moment, "asked")
        return
    last = entry.attempts[-1] if entry.attempts else None
    if last is None or last.number != number or last.ended_at is not None:
        # Its start is no longer kept, or there was none: it failed before it could begin.
        last = Attempt(number, None)
        entry.attempts.append(last)
    last.ended_at = moment
    last.outcome = _ENDS[event_type]
    last.error_code = data.get("error_code", "")


def _close(entry: Entry) -> None:
    """End with its step, or when it was handed back, an attempt whose end no event tells."""
    row = entry.row
    handed_back_at = row.due_at if row.status == StepStatus.RETRYING else None
    if moment := row.completed_at or handed_back_at:
        _end_last(entry, moment, "abandoned")


def _end_last(entry: Entry, moment: datetime, outcome: str) -> None:
    """End the latest attempt, unless it has ended."""
    last = entry.attempts[-1] if entry.attempts else None
    if last and last.ended_at is None:
        last.ended_at = moment
        last.outcome = outcome
