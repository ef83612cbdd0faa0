"""How agents stand now: what each is doing, and how many of its places are taken."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db.models import Case, Count, F, IntegerField, OuterRef, Subquery, Value, When
from django.db.models.functions import Coalesce

from agents.models import AgentInstance, AgentReservation
from workflows.pages import Reader

#: What an agent can be doing, in the order of the filter.
STANDINGS: Final = ("busy", "idle", "active", "initializing", "error", "offline", "disabled")
#: Of these somebody should know.
NEED_ATTENTION: Final = ("error", "offline")


def standing_agents(reader: Reader, now: datetime) -> Any:
    """Return the agents of the reader's workspace with their `load` and `standing` at `now`.

    Whether one is busy is told by the places that it holds; what is disabled takes no step.
    """
    held = AgentReservation.objects.filter(
        agent_instance=OuterRef("pk"), released_at__isnull=True, expires_at__gt=now
    )
    counted = held.order_by().values("agent_instance").annotate(n=Count("*")).values("n")
    load = Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    standing = Case(
        When(is_enabled=False, then=Value("disabled")),
        When(definition__is_enabled=False, then=Value("disabled")),
        When(status__in=("error", "offline"), then=F("status")),
        When(load__gt=0, then=Value("busy")),
        When(status="busy", then=Value("idle")),
        default=F("status"),
    )
    visible: Any = AgentInstance.objects.visible_to(reader.user)
    return (
        visible.filter(workspace=reader.workspace)
        .annotate(load=load)
        .annotate(standing=standing)
        .select_related("definition", "project")
    )
