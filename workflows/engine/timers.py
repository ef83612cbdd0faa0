"""What is due when: timers are rows, fired once, in the transaction of their effect."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from workflows.bulk import as_moment, now_sql, select
from workflows.clock import database_now
from workflows.events import EventDraft
from workflows.models import Timer

_LATER = timedelta(minutes=1)


class TimerHandler(Protocol):
    def __call__(self, subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
        """Do what is due for the subjects, once, whoever else tries at the same time."""
        ...


class Due(NamedTuple):
    """What is due when: the next ``timer``; after now, the next ``run`` that nobody holds (one
    that waits for a retry, say); and whether there are such runs to be claimed now.

    ``asked_at``: the database's time at which it said so.
    """

    asked_at: datetime
    timer: datetime | None
    run: datetime | None
    is_runnable: bool


def next_due(now: datetime) -> Due:
    """Look what is due next, of timers those that this installation knows how to fire."""
    unheld = "FROM workflows_workflowexecution WHERE driver_id IS NULL AND wake_at"
    [(asked_at, timer, run, is_runnable)] = select(
        f"SELECT {now_sql()}, (SELECT min(due_at) FROM workflows_timer WHERE kind = ANY(%s)),"
        f" (SELECT min(wake_at) {unheld} > %s), EXISTS (SELECT 1 {unheld} <= %s)",
        list(settings.TIMER_HANDLERS), now, now,
    )  # fmt: skip
    at = as_moment(asked_at) or database_now()
    return Due(at, as_moment(timer), as_moment(run), bool(is_runnable))


def fire_due(now: datetime, at_most: int) -> list[EventDraft]:
    """Fire what is due at ``now``, in order and of one kind; call it inside a transaction.

    Another kind is for another transaction: its handler begins at the front of the lock order.
    Timers are deleted last, for they come last in it. Two drivers that come at once call the same
    handlers, one after the other; the second one finds nothing left to do.
    """
    due = list(_due(now)[:at_most])
    if not due:
        return []
    fired = [timer for timer in due if timer.kind == due[0].kind]
    events = _handler(due[0].kind)([timer.subject_id for timer in fired], now)
    Timer.objects.filter(id__in=[timer.id for timer in fired]).delete()
    return events


def postpone_first(now: datetime) -> None:
    """Give the timer that is due first, and cannot be fired, another moment."""
    first = _due(now).first()
    if first:
        Timer.objects.filter(id=first.id).update(due_at=now + _LATER)


def _due(now: datetime) -> QuerySet[Timer]:
    known = Timer.objects.filter(kind__in=settings.TIMER_HANDLERS)
    return known.filter(due_at__lte=now).order_by("due_at", "id")


@cache
def _handler(kind: str) -> TimerHandler:
    handler: TimerHandler = import_string(settings.TIMER_HANDLERS[kind])
    return handler
