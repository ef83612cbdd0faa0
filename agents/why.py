"""Which agents a step waits for (`settings.STEP_EXPLAINERS`)."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from agents.models import AgentInstance, AgentReservation
from agents.references import named
from workflows.models import User, WorkflowExecution
from workflows.services.explain import Reason, about
from workflows.services.open_steps import OpenStep


def explain(
    steps: Sequence[OpenStep], execution: WorkflowExecution, user: User, now: datetime
) -> dict[UUID, Reason]:
    """Tell of the steps that may begin which agents they wait for, where all of those are busy."""
    ready = [step for step in steps if step.is_ready]
    if not ready:
        return {}
    wanted = {_wanted(step) for step in ready}
    agents = list(
        AgentInstance.objects.usable()
        .filter(workspace_id=execution.workspace_id)
        .filter(named(wanted) | named(wanted, "definition__"))
        .select_related("definition")
    )
    held = AgentReservation.objects.filter(
        agent_instance__in=agents, released_at__isnull=True, expires_at__gt=now
    )
    load = Counter(held.values_list("agent_instance_id", flat=True))
    told = {}
    for step in ready:
        able = [agent for agent in agents if _wanted(step) in _names(agent)]
        if all(load[agent.pk] >= agent.max_concurrency for agent in able):
            told[step.id] = _reason(step, able, load)
    return told


def _reason(step: OpenStep, able: list[AgentInstance], load: Counter[UUID]) -> Reason:
    if not able:
        message = f"{step.name} waits for an agent, but none is left that could take it."
    else:
        busy = ", ".join(f"{a.name} ({load[a.pk]} of {a.max_concurrency} places)" for a in able[:5])
        message = f"{step.name} waits for a free agent. Busy: {busy}."
    agents = [
        {"id": str(a.pk), "slug": a.slug, "running": load[a.pk], "max_running": a.max_concurrency}
        for a in able
    ]
    return about(step, "no_free_agent", message, facts={"agents": agents})


def _wanted(step: OpenStep) -> str:
    definition = step.definition
    return str(definition.get("agent_instance_id") or definition.get("agent_definition_id"))


def _names(agent: AgentInstance) -> set[str]:
    of_definition = {str(agent.definition_id), agent.definition.slug}
    return {str(agent.pk), agent.slug} | of_definition
