"""What is due when: timers are rows, fired once, in the transaction of their effect."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from workflows.bulk import as_moment, select
from workflows.events import EventDraft
from workflows.models import Timer

_BATCH = 500


class TimerHandler(Protocol):
    def __call__(self, subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
        """Do what is due for the subjects, once, whoever else tries at the same time."""
        ...


def next_due() -> datetime | None:
    """Return when the next timer is due that this installation knows how to fire."""
    kinds = list(settings.TIMER_HANDLERS)
    rows = select("SELECT min(due_at) FROM workflows_timer WHERE kind = ANY(%s)", kinds)
    return as_moment(rows[0][0])


def fire_due(now: datetime) -> list[EventDraft]:
    """Fire what is due at ``now``, in order; call it inside a transaction.

    Timers are deleted last, for they come last in the lock order. Two drivers that come at once
    call the same handlers, one after the other; the second one finds nothing left to do.
    """
    due = list(
        Timer.objects.filter(due_at__lte=now, kind__in=settings.TIMER_HANDLERS).order_by("due_at")[
            :_BATCH
        ]
    )
    by_kind: dict[str, list[UUID]] = {}
    for timer in due:
        by_kind.setdefault(timer.kind, []).append(timer.subject_id)
    events: list[EventDraft] = []
    for kind, subject_ids in by_kind.items():
        events += _handler(kind)(subject_ids, now)
    Timer.objects.filter(id__in=[timer.id for timer in due]).delete()
    return events


@cache
def _handler(kind: str) -> TimerHandler:
    handler: TimerHandler = import_string(settings.TIMER_HANDLERS[kind])
    return handler
