"""What attempts hold: read once in a turn for everything that is written of them."""

from collections.abc import Iterable
from uuid import UUID

from agents.models import AgentReservation


def read_held(step_execution_ids: Iterable[UUID]) -> dict[UUID, AgentReservation]:
    """Return what the attempts of steps hold that is not given back, with their agents and
    definitions, by the step execution's id."""
    held = AgentReservation.objects.filter(
        released_at__isnull=True, step_execution_id__in=list(step_execution_ids)
    ).select_related("agent_instance__definition")
    return {place.step_execution_id: place for place in held}
