"""How agents stand now: how many of their places are taken, and the status that follows."""

from datetime import datetime
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    IntegerField,
    OuterRef,
    PositiveIntegerField,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Now

from agents.models import AgentReservation, AgentStatus

#: Statuses that are told as they are, however many places are taken.
_TOLD_AS_THEY_ARE = (AgentStatus.ERROR, AgentStatus.OFFLINE)


def with_standing(agents: QuerySet[Any], now: datetime | None = None) -> QuerySet[Any]:
    """Return agents with their ``load``, the places that are taken, and their ``shown_status``.

    One that works is ``active`` while it has a place left and ``busy`` when it has none: an agent
    that failed has one place only (``agents/services/circuit.py``).
    """
    held = AgentReservation.objects.filter(
        agent_instance=OuterRef("pk"), released_at__isnull=True, expires_at__gt=now or Now()
    )
    counted = held.order_by().values("agent_instance").annotate(n=Count("*")).values("n")
    places = Case(
        When(faults__gt=0, then=Value(1)),
        default=F("max_concurrency"),
        output_field=PositiveIntegerField(),
    )
    shown_status = Case(
        When(status__in=_TOLD_AS_THEY_ARE, then=F("status")),
        When(load__gte=places, then=Value(AgentStatus.BUSY.value)),
        When(load__gt=0, then=Value(AgentStatus.ACTIVE.value)),
        When(status=AgentStatus.INITIALIZING, then=F("status")),
        default=Value(AgentStatus.IDLE.value),
        output_field=CharField(),
    )
    load = Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    told: QuerySet[Any] = agents.annotate(load=load).annotate(shown_status=shown_status)
    return told
