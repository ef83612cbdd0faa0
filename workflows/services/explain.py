"""Why a run does not go on: what each of its steps, and the run itself, is waiting for.

What only another app knows, it tells through `settings.STEP_EXPLAINERS` (step type → function).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Protocol
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils.module_loading import import_string

from workflows.clock import database_now
from workflows.core.states import StepStatus
from workflows.models import (
    EngineDriver,
    QueueLimit,
    QueueSlot,
    User,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services.awaited_events import awaited_events
from workflows.services.open_steps import OpenStep, OpenSteps, open_steps

#: Steps that are looked at; a run that waits for more of them is explained by these.
STEPS_EXPLAINED: Final = 100
_NAMED_AT_MOST: Final = 4


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a run is waiting for.

    Attributes:
        code: stable, for programs.
        message: in words for people, without moments.
        step: the name of the step that it is about, "" where it is about the whole run.
        since: since when it has been so. `until`: when it ends by itself.
        facts: identifiers and figures, by names that a client may rely on.
    """

    code: str
    message: str
    step: str = ""
    step_execution_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def about(step: OpenStep, code: str, message: str, **more: Any) -> Reason:
    """Return a reason that is about a step; `more` are its other attributes."""
    return Reason(code, message, step.name, step.id, **more)


class StepExplainer(Protocol):
    def __call__(
        self, steps: Sequence[OpenStep], execution: WorkflowExecution, user: User, now: datetime
    ) -> dict[UUID, Reason]:
        """Tell by id what those of `steps`, all of one type, wait for that the app knows of."""
        ...


def explain_execution(execution: WorkflowExecution, user: User) -> list[Reason]:
    """Return what a live run is waiting for, what matters most at first; of an ended one nothing.

    `user` is who reads it, and may see the run. A handful of queries, however long the run is.
    """
    if execution.is_ended:
        return []
    now = database_now()
    reasons = []
    if execution.is_paused:
        reasons.append(
            Reason("paused", "It is paused: nothing of it starts until somebody resumes it.")
        )
    found = open_steps(execution)
    reasons += _explain_halt(found)
    reasons += _explain_steps(found.steps[:STEPS_EXPLAINED], execution, user, now)
    return reasons + _explain_engine(execution, now, has_reasons=bool(reasons))


# --- steps ----------------------------------------------------------------------------------


def _explain_halt(found: OpenSteps) -> list[Reason]:
    """Say of a run in which nothing new starts after what failure, and what it still awaits."""
    failed = found.halted_by
    awaited = [step.name for step in found.steps if step.has_begun]
    if failed is None or not awaited:
        return []
    named = ", ".join(awaited[:_NAMED_AT_MOST])
    if len(awaited) > _NAMED_AT_MOST:
        named += f" and {len(awaited) - _NAMED_AT_MOST} more"
    return [
        Reason(
            "halted",
            f"{failed.name} failed: nothing new starts but steps that accept failures, and the"
            f" run fails once the last has ended. Under way: {named}.",
            since=failed.completed_at,
            facts={"failed_step": failed.name, "under_way": awaited[:STEPS_EXPLAINED]},
        )
    ]


def _explain_steps(
    steps: Sequence[OpenStep], execution: WorkflowExecution, user: User, now: datetime
) -> list[Reason]:
    told: dict[UUID, Reason] = {}
    by_type: dict[str, list[OpenStep]] = {}
    for step in steps:
        by_type.setdefault(_explained_as(step), []).append(step)
    for step_type, of_type in by_type.items():
        if explain := _explainers().get(step_type):
            told |= explain(of_type, execution, user, now)
    told |= _explain_sub_workflows([s for s in by_type.get("workflow", ()) if s.id not in told])
    told |= _explain_events(by_type.get("wait", ()))
    ready = [step for step in steps if step.is_ready(now) and step.id not in told]
    told |= _explain_queues(ready, execution.workspace_id)
    reasons = [told.get(step.id) or _explain_row(step, now) for step in steps]
    return [reason for reason in reasons if reason is not None]


def _explained_as(step: OpenStep) -> str:
    """Return the step type that tells why a step waits: who asks people waits as a gate does."""
    row = step.row
    asks = row is not None and row.pauses > 0 and row.status == StepStatus.WAITING
    return "approval" if asks else str(step.definition["step_type"])


def _explain_row(step: OpenStep, now: datetime) -> Reason | None:
    """Return what the step's own row says; None of one that begins in a moment."""
    row = step.row
    if row is None:
        return None
    match row.status:
        case StepStatus.RUNNING:
            limit = step.definition.get("timeout_seconds")
            began = row.started_at
            return about(
                step,
                "step_running",
                f"{step.name} is running"
                + (f", attempt {row.attempts}." if row.attempts > 1 else "."),
                since=began,
                until=began + timedelta(seconds=limit) if limit and began else None,
                facts={"attempt": row.attempts},
            )
        case StepStatus.RETRYING:
            is_due = step.is_ready(now)
            when = "as soon as the engine gets to it" if is_due else "when its pause is over"
            return about(
                step,
                "retry_due",
                f"{step.name} failed ({row.error_code or 'error'}) and is tried again {when}.",
                until=row.due_at,
                facts={"attempt": row.attempts, "error_code": row.error_code},
            )
        case StepStatus.WAITING:
            return _explain_wait(step, row)
    return None


def _explain_wait(step: OpenStep, row: WorkflowStepExecution) -> Reason:
    if row.due_at:
        return about(
            step,
            "timer",
            f"{step.name} waits until its time has come.",
            since=row.started_at,
            until=row.due_at,
        )
    return about(
        step,
        "step_waiting",
        f"{step.name} waits for something outside the engine.",
        since=row.started_at,
    )


def _explain_events(steps: Sequence[OpenStep]) -> dict[UUID, Reason]:
    """Say of the steps that wait for an event which one that is."""
    waiting = {
        step.id: (step, step.row, event)
        for step in steps
        if step.row is not None
        and step.row.status == StepStatus.WAITING
        and (event := step.definition["config"].get("event"))
    }
    events = awaited_events({step_id: event for step_id, (_, _, event) in waiting.items()})
    told = {}
    for step_id, (step, row, _) in waiting.items():
        ends = " It goes on without it when its time is up." if row.due_at else ""
        told[step_id] = about(
            step,
            "waiting_for_signal",
            f"{step.name} waits for the signal “{events[step_id]}”.{ends}",
            since=row.started_at,
            until=row.due_at,
            facts={"signal": events[step_id]},
        )
    return told


def _explain_sub_workflows(steps: Sequence[OpenStep]) -> dict[UUID, Reason]:
    by_id = {step.id: step for step in steps if step.row is not None}
    if not by_id:
        return {}
    runs = WorkflowExecution.objects.live().filter(parent_step_id__in=list(by_id))
    return {
        run.parent_step_id: about(
            by_id[run.parent_step_id],
            "sub_workflow",
            f"{by_id[run.parent_step_id].name} waits for {run.workflow.name}, run {run.number},"
            f" which is {run.status}.",
            since=run.created_at,
            facts={"execution_id": str(run.pk), "number": run.number, "status": run.status},
        )
        for run in runs.select_related("workflow").defer("input_variables", "output_data")
    }


def _explain_queues(steps: Sequence[OpenStep], workspace_id: UUID) -> dict[UUID, Reason]:
    """Say of the steps that may begin whether as many run already as are allowed at once."""
    limits = dict(
        QueueLimit.objects.filter(workspace_id=workspace_id).values_list("queue", "max_running")
    )
    if not steps or not limits:
        return {}
    running = _running_by_queue(workspace_id)
    told = {}
    for step in steps:
        for queue in (_queue_of(step.definition), ""):
            if queue in limits and running[queue] >= limits[queue]:
                places = f"{limits[queue]} step{'' if limits[queue] == 1 else 's'}"
                of = f"of the queue “{queue}”" if queue else "of this workspace"
                told[step.id] = about(
                    step,
                    "queue_full",
                    f"{step.name} waits for its turn: {places} {of} may run at once.",
                    facts={
                        "queue": queue,
                        "max_running": limits[queue],
                        "running": running[queue],
                    },
                )
                break
    return told


def _running_by_queue(workspace_id: UUID) -> Counter[str]:
    """Count the steps that hold a place in a workspace, by queue and, under "", all of them."""
    running = WorkflowStepExecution.objects.filter(id=OuterRef("id"), status=StepStatus.RUNNING)
    slots = QueueSlot.objects.filter(Exists(running), workspace_id=workspace_id)
    counted: Counter[str] = Counter()
    for queue in slots.values_list("queue", flat=True):
        counted.update({queue, ""})
    return counted


def _queue_of(step: Mapping[str, Any]) -> str:
    return (step.get("config") or {}).get("queue") or ""


# --- the engine -----------------------------------------------------------------------------


def _explain_engine(
    execution: WorkflowExecution, now: datetime, *, has_reasons: bool
) -> list[Reason]:
    """Say who has the run, or who will take it; of one that waits for people only what is wrong."""
    lease = timedelta(seconds=settings.MGX_LEASE_SECONDS)
    live = EngineDriver.objects.filter(Q(fenced_at__isnull=True, stopped_at__isnull=True))
    newest = live.order_by("-heartbeat_at").first()
    has_engine = newest is not None and newest.heartbeat_at > now - lease
    if execution.driver is not None:
        return [_explain_driver(execution.driver, now, lease, has_engine=has_engine)]
    if not has_engine:
        return [
            Reason(
                "no_engine",
                "No engine is running: no run goes on until one does. Start it with"
                " `manage.py qcluster`, or `manage.py up`.",
                since=newest.heartbeat_at if newest else None,
            )
        ]
    if execution.wake_at is not None and execution.wake_at <= now:
        return [
            Reason(
                "claimable",
                "It waits for the engine to take it up.",
                since=execution.wake_at,
            )
        ]
    if has_reasons:
        return []
    if execution.wake_at is not None:
        return [Reason("looked_at_again", "The engine looks at it again.", until=execution.wake_at)]
    return [
        Reason(
            "nothing_wakes_it",
            "Nothing is left that would wake this run. That is an error of MGX; cancel it, and"
            " tell whoever looks after the installation.",
        )
    ]


def _explain_driver(
    driver: EngineDriver, now: datetime, lease: timedelta, *, has_engine: bool
) -> Reason:
    silent = max(0, round((now - driver.heartbeat_at).total_seconds()))
    facts = {
        "driver_id": str(driver.pk),
        "host": driver.host,
        "pid": driver.pid,
        "heartbeat_seconds_ago": silent,
    }
    if driver.heartbeat_at > now - lease:
        message = f"It is in the hands of the driver {driver}, last heard of {silent} s ago."
        return Reason("held", message, facts=facts)
    ending = (
        "another one takes its runs over." if has_engine else "there is no other one: start one."
    )
    message = f"The driver {driver} that has it was last heard of {silent} s ago; {ending}"
    return Reason("driver_silent", message, since=driver.heartbeat_at, facts=facts)


@cache
def _explainers() -> dict[str, StepExplainer]:
    return {kind: import_string(path) for kind, path in settings.STEP_EXPLAINERS.items()}
