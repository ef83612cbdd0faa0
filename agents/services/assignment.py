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

from agents.models import AgentDefinition, AgentInstance, AgentReservation
from agents.references import named
from workflows.bulk import insert_objects
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import AgentStep
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

    def _rank(self, agent: AgentInstance, step: AgentStep) -> tuple[Any, ...]:
        """Return what the best of the free agents has least of."""
        load = self._load[agent.id] / agent.max_concurrency
        match step.config.assignment_strategy:
            case "least_loaded":
                return (load, agent.id)
            case "round_robin":
                return (agent.last_assigned_at or _NEVER, agent.id)
            case _:
                return (-_score(agent, step), load, agent.id)


def reserve(contexts: Sequence[StepContext], now: datetime) -> list[Assigned | NotYet | Failed]:
    """Find and hold an agent for each attempt, in order; write down why."""
    candidates = Candidates(contexts, now)
    answers: list[Assigned | NotYet | Failed] = []
    reservations = []
    for context in contexts:
        choice = candidates.choose(context)
        if isinstance(choice, NotYet | Failed):
            answers.append(choice)
            continue
        assigned, reason = choice
        answers.append(assigned)
        limit = context.step.timeout_seconds
        hold = timedelta(seconds=limit + 60) if limit else _LONGEST_HOLD
        reservations.append(
            AgentReservation(
                workspace_id=context.workspace_id,
                agent_instance_id=assigned.agent_instance_id,
                step_execution_id=context.step_execution_id,
                attempt=context.attempt,
                reason=reason,
                reserved_at=now,
                expires_at=now + hold,
            )
        )
    insert_objects(reservations)
    candidates.keep_order()
    return answers


def release(ended: Sequence[tuple[UUID, int, Outcome | None]], now: datetime) -> None:
    """Give back what attempts held.

    One that was abandoned leaves no reservation behind, for its number may be used again.
    """
    by_outcome: dict[str, list[UUID]] = {}
    abandoned = []
    for step_execution_id, _, outcome in ended:
        if outcome is None:
            abandoned.append(step_execution_id)
        else:
            word = "completed" if isinstance(outcome, Completed) else "failed"
            by_outcome.setdefault(word, []).append(step_execution_id)
    held = AgentReservation.objects.filter(released_at__isnull=True)
    for word, ids in by_outcome.items():
        held.filter(step_execution_id__in=ids).update(released_at=now, outcome=word)
    if abandoned:
        held.filter(step_execution_id__in=abandoned).delete()


def _refusal(agent: AgentInstance, step: AgentStep, context: StepContext) -> str:
    """Return why the agent cannot take the step at all; "" if it can."""
    if agent.workspace_id != context.workspace_id:
        return "it belongs to another workspace"
    definition = agent.definition
    names = {str(agent.id), agent.slug} if step.agent_instance_id else _names(definition)
    if _wanted(context) not in names:
        return "another agent is named"
    if agent.project_id and agent.project_id != context.project_id:
        return "it belongs to another project"
    missing = set(step.config.required_capabilities) - set(definition.capabilities)
    return f"it lacks {', '.join(sorted(missing))}" if missing else ""


def _wanted(context: StepContext) -> str | None:
    """Return the instance that the step names, or else the definition."""
    assert isinstance(context.step, AgentStep)
    return context.step.agent_instance_id or context.step.agent_definition_id


def _names(definition: AgentDefinition) -> set[str]:
    return {str(definition.id), definition.slug}


def _score(agent: AgentInstance, step: AgentStep) -> float:
    """Return how well the capabilities match: the share of them that is asked for."""
    capabilities = agent.definition.capabilities
    return round(len(step.config.required_capabilities) / max(len(capabilities), 1), 3)
