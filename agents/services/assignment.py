"""Which agent takes which step, and the places that it holds meanwhile.

Called by the engine inside its transaction, with all the steps of a turn at once. The rows of
the candidates are locked first, in the order of their ids, so two drivers never count the same
free place twice; load is counted from live reservations.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from agents.models import AgentInstance, AgentReservation
from agents.references import named
from workflows.core.definition import AgentStep
from workflows.core.outcomes import Failed
from workflows.handlers import NotYet, StepContext

#: How long a place is held by an attempt without a time limit whose worker was never heard of
#: again; the takeover from a dead driver frees it much earlier.
_LONGEST_HOLD = timedelta(hours=24)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Assigned:
    """An agent for an attempt. ``config``: the definition's with the instance's over it."""

    agent_instance_id: UUID
    name: str
    agent_type: str
    config: dict[str, Any]


class Candidates:
    """The agents that the steps of a turn name, locked, with the places they have left."""

    def __init__(self, contexts: Sequence[StepContext], now: datetime) -> None:
        self._now = now
        self._assigned: dict[UUID, AgentInstance] = {}
        names = {name for context in contexts if (name := _wanted(context))}
        usable = (
            AgentInstance.objects.usable()
            .filter(workspace_id__in={context.workspace_id for context in contexts})
            .filter(named(names) | named(names, "definition__"))
        )
        self._agents = list(
            usable.select_related("definition").order_by("id").select_for_update(of=("self",))
        )
        live = AgentReservation.objects.filter(
            agent_instance__in=self._agents, released_at__isnull=True, expires_at__gt=now
        )
        self._load = Counter(live.values_list("agent_instance_id", flat=True))

    def choose(self, context: StepContext) -> tuple[Assigned, dict[str, Any]] | NotYet | Failed:
        """Return the agent for an attempt and why it was chosen, and count its place as taken."""
        step = context.step
        assert isinstance(step, AgentStep)
        refusals: dict[str, str] = {}
        eligible = []
        for agent in self._agents:
            if refusal := _refusal(agent, step, context):
                refusals[agent.slug] = refusal
            else:
                eligible.append(agent)
        if not eligible:
            reasons = "; ".join(f"{slug}: {why}" for slug, why in refusals.items())
            message = f"No agent can take “{_wanted(context)}”" + (
                f" ({reasons})" if reasons else ""
            )
            return Failed("no_eligible_agent", message[:2_000], is_final=True)
        free = [agent for agent in eligible if self._load[agent.id] < agent.max_concurrency]
        if not free:
            return NotYet()
        reason = {
            "strategy": step.config.assignment_strategy,
            "candidates": {
                agent.slug: {"load": self._load[agent.id], "score": _score(agent, step)}
                for agent in eligible
            },
            "refused": refusals,
        }
        chosen = min(free, key=lambda agent: self._rank(agent, step))
        self._load[chosen.id] += 1
        # Each assignment of a turn is a microsecond after the one before: their order is kept.
        chosen.last_assigned_at = self._now + timedelta(microseconds=self._load.total())
        self._assigned[chosen.id] = chosen
        config = {**chosen.definition.config, **chosen.config}
        return Assigned(chosen.id, chosen.name, chosen.definition.agent_type, config), reason

    def keep_order(self) -> None:
        """Write down whose turn it was last, for ``round_robin``."""
        AgentInstance.objects.bulk_update(self._assigned.values(), ["last_assigned_at"])
