"""What is kept for how long: old runs, their events, idempotency keys and calls are deleted.

A workspace says how long in its settings (`retention_days`); where it does not, it is
`MGX_RETENTION_DAYS`. 0 is for ever. A run goes as a whole, with its steps, signals and requests,
after the runs that its steps ran; what was told of it goes after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils.module_loading import import_string

from workflows.core.states import TERMINAL_EXECUTION_STATUSES
from workflows.models import (
    Event,
    EventStream,
    IdempotencyKey,
    WebhookDelivery,
    WorkflowExecution,
    WorkflowStepExecution,
    Workspace,
)
from workflows.policies import RETENTION_DAYS

#: How long an answer to a POST is repeated.
KEYS_KEPT: Final = timedelta(days=7)
#: How long the record of a webhook's call is kept, once it has arrived or was given up.
DELIVERIES_KEPT: Final = timedelta(days=30)
#: Rows that one transaction deletes, more or less: others wait for it to end.
BATCH: Final = 2_000


@dataclass(slots=True)
class Pruned:
    """How many rows were deleted; the steps and requests of the executions not counted."""

    executions: int = 0
    events: int = 0
    idempotency_keys: int = 0
    deliveries: int = 0
    #: What the other apps keep (``settings.SWEEPS``), by name.
    swept: dict[str, int] = field(default_factory=dict)


def prune(now: datetime, batch: int = BATCH) -> Pruned:
    """Delete what has been kept for long enough at `now`, in transactions of about `batch` rows.

    It may be called at any time, also twice at once, and stopped between two transactions.
    """
    pruned = Pruned()
    for workspace in Workspace.objects.order_by("id"):
        if days := retention_days(workspace):
            before = now - timedelta(days=days)
            pruned.executions += sum(_prune_executions(workspace.pk, before, batch))
            pruned.events += sum(_prune_events(workspace.pk, before, batch))
    keys = IdempotencyKey.objects.filter(created_at__lt=now - KEYS_KEPT)
    pruned.idempotency_keys += sum(_prune_rows(keys, batch))
    calls = WebhookDelivery.objects.filter(created_at__lt=now - DELIVERIES_KEPT, due_at=None)
    pruned.deliveries += sum(_prune_rows(calls, batch))
    pruned.swept = {name: import_string(path)() for name, path in settings.SWEEPS.items()}
    return pruned


def retention_days(workspace: Workspace) -> int:
    """Return for how many days the runs of a workspace are kept, 0 for ever."""
    days = workspace.settings.get(RETENTION_DAYS)
    is_number = isinstance(days, int) and not isinstance(days, bool) and days >= 0
    # Less than none, which the system checks refuse, deletes nothing.
    return days if is_number else max(settings.MGX_RETENTION_DAYS, 0)


def _prune_executions(workspace_id: UUID, before: datetime, batch: int) -> Iterator[int]:
    while True:
        with transaction.atomic():
            ids = _old_executions(workspace_id, before, batch)
            WorkflowExecution.objects.filter(id__in=ids).delete()
        if not ids:
            return
        yield len(ids)


def _old_executions(workspace_id: UUID, before: datetime, batch: int) -> list[UUID]:
    """Lock and return ended runs with about `batch` steps, at least one if there is any."""
    # By age, which an index knows: the end of a run is in none.
    old = _ended_before(before).filter(workspace_id=workspace_id).order_by("created_at")
    ids = list(old.values_list("id", flat=True)[:batch])
    steps = WorkflowStepExecution.objects.filter(execution_id__in=ids).values_list("execution_id")
    counts = dict(steps.annotate(n=Count("id")))
    chosen: list[UUID] = []
    rows = 0
    for execution_id in ids:
        rows += 1 + counts.get(execution_id, 0)
        if chosen and rows > batch:
            break
        chosen.append(execution_id)
    # Locked in the order of all, and asked again: one may have been retried meanwhile.
    still = _ended_before(before).filter(id__in=chosen).order_by("id")
    return list(still.select_for_update(of=("self",)).values_list("id", flat=True))


def _ended_before(before: datetime) -> QuerySet[WorkflowExecution]:
    """Runs that ended before a moment, but for those whose end a step still has to hear of, and
    those whose own steps ran others that are still here: they go first.
    """
    waiting = WorkflowStepExecution.objects.filter(
        id=OuterRef("parent_step_id"), completed_at__isnull=True
    )
    ran_others = WorkflowStepExecution.objects.filter(
        Exists(WorkflowExecution.objects.filter(parent_step_id=OuterRef("id"))),
        execution_id=OuterRef("id"),
        step_type="workflow",
    )
    old = WorkflowExecution.objects.filter(
        status__in=TERMINAL_EXECUTION_STATUSES, completed_at__lt=before
    )
    return old.filter(~Exists(waiting), ~Exists(ran_others))


def _prune_events(workspace_id: UUID, before: datetime, batch: int) -> Iterator[int]:
    """Delete old events, but for those of runs that are kept, and begin the stream after them.

    What is kept before that is read as a run's own: in the stream numbers have no gap.
    """
    kept = WorkflowExecution.objects.filter(id=OuterRef("workflow_execution_id"))
    events = Event.objects.filter(workspace_id=workspace_id)
    last, is_more = 0, True
    while is_more:
        with transaction.atomic():
            found = events.after(last).order_by("seq").values_list("seq", "timestamp")[:batch]
            old = [seq for seq, _ in takewhile(lambda event: event[1] < before, found)]
            first, last = last, max(old, default=last)
            gone = events.after(first).filter(~Exists(kept), seq__lte=last)
            count = gone.delete()[0] if old else 0
            # The last lock of all, as for whoever appends events.
            stream = EventStream.objects.filter(workspace_id=workspace_id, pruned_seq__lt=last)
            stream.update(pruned_seq=last)
        is_more = len(old) == batch
        yield count


def _prune_rows(old: QuerySet[Any], batch: int) -> Iterator[int]:
    while ids := list(old.order_by("created_at").values_list("id", flat=True)[:batch]):
        count, _ = old.model._default_manager.filter(id__in=ids).delete()
        yield count
