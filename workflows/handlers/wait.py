"""Steps of type ``wait``: for some time, until a moment, or for an event from outside."""

import json
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from workflows.bulk import as_moment, as_uuid, select, write
from workflows.clock import database_now
from workflows.core.errors import ExpressionError
from workflows.core.names import name_in_definition
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.waits import awaited_event, due_at
from workflows.events import EventDraft
from workflows.handlers import Opening, StepContext
from workflows.handlers.outputs import completed
from workflows.models import Timer, WorkflowVersion
from workflows.services.open_steps import every_step
from workflows.services.subworkflows import wake_runs_of

#: Kind of the timer that has a run looked at for a step, whose event was there before it.
STEP_WAKE = "step_wake"


class _Event(NamedTuple):
    """What a step waits for, if it is an event."""

    name: str
    on_timeout: str


@dataclass(slots=True)
class _Waiting:
    """A step that waits."""

    id: UUID
    execution_id: UUID
    due_at: datetime | None
    event: _Event | None


@dataclass(slots=True)
class _Signal:
    """An event that nobody has taken."""

    id: UUID
    name: str
    data: Any
    received_at: datetime


class WaitGate:
    """Keeps nothing of its own: the version and the step's row say what it waits for, and until
    when."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Say when each step goes on by itself; one that cannot be told fails."""
        early = _names_of_signals(openings)
        for opening in openings:
            context = opening.context
            try:
                opening.due_at = due_at(opening.settings, now, context.step.timeout_seconds)
            except ExpressionError as error:
                opening.failed = Failed(error.code, error.message, is_final=True)
                continue
            if (context.execution_id, opening.settings.get("event")) in early:
                _wake_soon(context, now)
        return []

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of the steps whose time has come, or whose event has.

        Each event is taken by one step, the one that waits longest, and the oldest event first.
        One that came before the step's time was up counts, whenever it is looked at.
        """
        now = database_now()
        steps = _waiting(step_execution_ids)
        signals = _signals(steps)
        outcomes: dict[UUID, Outcome] = {}
        for step in steps:
            queue = step.event and signals.get((step.execution_id, step.event.name))
            if queue and (step.due_at is None or queue[0].received_at <= step.due_at):
                signal = queue.popleft()
                _take(signal, step)
                outcomes[step.id] = _received(signal)
            elif step.due_at and step.due_at <= now:
                outcomes[step.id] = _timed_out(step.event) if step.event else _waited(step.due_at)
        return outcomes

    def waits_for_people(self, step_execution_ids: Sequence[UUID]) -> Collection[UUID]:
        """Return those that began in a release whose runs' clocks stood still meanwhile, which
        noted nothing with the step; of others none: nobody was asked, an event may never come."""
        rows = select(
            "SELECT id, input_data FROM workflows_workflowstepexecution WHERE id = ANY(%s)",
            list(step_execution_ids),
        )
        return [as_uuid(row[0]) for row in rows if not json.loads(row[1] or "{}")]

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Do nothing: nobody was asked."""
        return []

    def withdraw(
        self, step_execution_ids: Sequence[UUID], now: datetime, actor: str
    ) -> list[EventDraft]:
        """Do nothing, as ``cancel``."""
        return []


def wake(step_execution_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Have the runs of these steps looked at (a handler of timers)."""
    wake_runs_of(step_execution_ids, now)
    return []


def _wake_soon(context: StepContext, now: datetime) -> None:
    Timer.objects.bulk_create(
        [
            Timer(
                workspace_id=context.workspace_id,
                kind=STEP_WAKE,
                subject_id=context.step_execution_id,
                due_at=now,
            )
        ],
        ignore_conflicts=True,
    )


def _waiting(ids: Sequence[UUID]) -> list[_Waiting]:
    """Return the steps, those that began first at first."""
    rows = select(
        "SELECT s.id, s.execution_id, s.due_at, s.name, s.input_data, e.version_id"
        " FROM workflows_workflowstepexecution s"
        " JOIN workflows_workflowexecution e ON e.id = s.execution_id"
        " WHERE s.id = ANY(%s) ORDER BY s.started_at, s.id",
        list(ids),
    )
    return [
        _Waiting(
            as_uuid(step_id),
            as_uuid(run_id),
            as_moment(due),
            _event(as_uuid(version_id), name, inputs),
        )
        for step_id, run_id, due, name, inputs, version_id in rows
    ]


def _event(version_id: UUID, row_name: str, inputs: str | None) -> _Event | None:
    """Return what a step, named as in its run, waits for. ``inputs``: its `input_data`, as text."""
    events = _events(version_id)
    event = events.get(name_in_definition(row_name, events))
    if event is None:
        return None
    return event._replace(name=awaited_event(event.name, json.loads(inputs or "null")))


@lru_cache(maxsize=256)
def _events(version_id: UUID) -> dict[str, _Event | None]:
    """Return the events of the steps of type ``wait`` as they are written; versions never
    change."""
    document = WorkflowVersion.objects.values_list("definition", flat=True).get(id=version_id)
    waits = (step for step in every_step(document) if step["step_type"] == "wait")
    return {step["name"]: _event_of(step["config"]) for step in waits}


def _event_of(config: dict[str, Any]) -> _Event | None:
    name = config.get("event")
    return _Event(name, config.get("on_timeout", "fail")) if name else None


def _names_of_signals(openings: Sequence[Opening]) -> set[tuple[UUID, str]]:
    """Return (run, name) of the events that nobody has taken, in the runs that want any."""
    runs = {o.context.execution_id for o in openings if "event" in o.settings}
    if not runs:
        return set()
    rows = select(
        "SELECT DISTINCT execution_id, name FROM workflows_signal"
        " WHERE execution_id = ANY(%s) AND taken_by_step_id IS NULL",
        list(runs),
    )
    return {(as_uuid(run_id), name) for run_id, name in rows}


def _signals(steps: Sequence[_Waiting]) -> dict[tuple[UUID, str], deque[_Signal]]:
    """Return the events that nobody has taken, by run and name, oldest first."""
    found: dict[tuple[UUID, str], deque[_Signal]] = defaultdict(deque)
    runs = {step.execution_id for step in steps if step.event}
    if not runs:
        return found
    rows = select(
        "SELECT execution_id, name, id, data, received_at FROM workflows_signal"
        " WHERE execution_id = ANY(%s) AND taken_by_step_id IS NULL ORDER BY received_at, id",
        list(runs),
    )
    for execution_id, name, signal_id, data, moment in rows:
        received_at = as_moment(moment)
        assert received_at is not None
        signal = _Signal(as_uuid(signal_id), name, data and json.loads(data), received_at)
        found[as_uuid(execution_id), name].append(signal)
    return found


def _take(signal: _Signal, step: _Waiting) -> None:
    write(
        "UPDATE workflows_signal SET taken_by_step_id = %s WHERE id = %s",
        step.id, signal.id,
    )  # fmt: skip


def _waited(until: datetime) -> Completed:
    return Completed({"waited_until": _iso(until)})


def _received(signal: _Signal) -> Outcome:
    received_at = _iso(signal.received_at)
    return completed({"event": signal.name, "data": signal.data, "received_at": received_at})


def _timed_out(event: _Event) -> Outcome:
    if event.on_timeout == "continue":
        return Completed({"event": event.name, "data": None, "timed_out": True})
    message = f"The event “{event.name}” did not come in time"
    return Failed("timeout", message, is_final=True, is_timeout=True)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
