"""Which agents a step waits for, or which limit of theirs (`settings.STEP_EXPLAINERS`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.models import AgentBudgetAnswer, AgentInstance, AgentReservation
from agents.prices import needed_by
from agents.references import named
from agents.services.assignment import moved_on_from
from agents.services.budgets import Budget, read_budgets
from agents.services.circuit import is_open, places
from agents.services.heartbeats import not_heard_of_since, silent_since
from workflows.models import User, WorkflowExecution, WorkflowStepExecution, Workspace
from workflows.policies import MAX_AGENT_STEPS
from workflows.services.explain import Reason, about
from workflows.services.open_steps import OpenStep


def explain(
    steps: Sequence[OpenStep], execution: WorkflowExecution, user: User, now: datetime
) -> dict[UUID, Reason]:
    """Tell of the steps that may begin which agents they wait for, where all of those are busy."""
    ready = [step for step in steps if step.is_ready(now)]
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
    settings = Workspace.objects.values_list("settings", flat=True).get(id=execution.workspace_id)
    if (quota := _quota_reached(execution.workspace_id, settings, now)) is not None:
        return {step.id: _reason_of_quota(step, quota) for step in ready}
    asked = AgentBudgetAnswer.objects.filter(
        workspace_id=execution.workspace_id, answered_at__isnull=True
    ).first()
    budget = read_budgets({execution.workspace_id: settings}, now).get(execution.workspace_id)
    failed = moved_on_from([step.id for step in ready if step.has_begun])
    told = {}
    for step in ready:
        tried = {each.agent_instance_id for each in failed.get(step.id, ())}
        able = [a for a in agents if _wanted(step) in _names(a) and a.pk not in tried]
        if tried and not able:
            continue  # nobody else can take it over: the engine lets it fail
        if all(load[a.pk] >= places(a) or is_open(a, now) or silent_since(a, now) for a in able):
            told[step.id] = _reason(step, able, load, now)
        elif asked and budget and all(_is_beyond(budget, agent) for agent in able):
            told[step.id] = _reason_of_budget(step, budget, asked)
    return told


def _quota_reached(workspace_id: UUID, settings: Mapping[str, Any], now: datetime) -> int | None:
    """Return how many agent steps the workspace may have at once, if it has them."""
    quota: int | None = settings.get(MAX_AGENT_STEPS)
    if quota is None:
        return None
    held = AgentReservation.objects.filter(
        workspace_id=workspace_id, released_at__isnull=True, expires_at__gt=now
    )
    return quota if held.count() >= quota else None


def _reason_of_quota(step: OpenStep, quota: int) -> Reason:
    steps = f"{quota} step{'' if quota == 1 else 's'}"
    message = f"{step.name} waits: the agents of the workspace have {steps}, its limit."
    return about(step, "agent_quota", message, facts={"max_running": quota})


def _is_beyond(budget: Budget, agent: AgentInstance) -> bool:
    """Tell whether a step of an agent needs more than is left."""
    config = {**agent.definition.config, **agent.config}
    return bool(budget.missing_for(needed_by(agent.definition.agent_type, config)))


def _reason_of_budget(step: OpenStep, budget: Budget, asked: AgentBudgetAnswer) -> Reason:
    asking = (
        WorkflowStepExecution.objects.filter(id=asked.step_execution_id)
        .values_list("name", "execution_id", "execution__workflow__name")
        .first()
    )
    facts: dict[str, Any] = {
        "month": f"{budget.month:%Y-%m}",
        "asked_by_step_id": str(asked.step_execution_id),
    }
    who = "another step"
    if asking:
        name, run, workflow = asking
        facts["asked_by_execution_id"] = str(run)
        who = f"{name} of {workflow}"
    message = (
        f"{step.name} waits: what agents may spend in {budget.month:%B %Y} is used up, and people"
        f" have been asked for more by {who}."
    )
    return about(step, "agent_budget", message, since=asked.asked_at, facts=facts)


def _state(agent: AgentInstance, load: int, now: datetime) -> str:
    if since := silent_since(agent, now):
        return f"{agent.name} ({not_heard_of_since(since)})"
    if is_open(agent, now):
        return f"{agent.name} (it failed {agent.faults} times, and is tried again soon)"
    return f"{agent.name} ({load} of {places(agent)} places)"


def _reason(
    step: OpenStep, able: list[AgentInstance], load: Counter[UUID], now: datetime
) -> Reason:
    if not able:
        message = f"{step.name} waits for an agent, but none is left that could take it."
    else:
        busy = ", ".join(_state(a, load[a.pk], now) for a in able[:5])
        message = f"{step.name} waits for a free agent. Busy: {busy}."
    agents = [
        {"id": str(a.pk), "slug": a.slug, "running": load[a.pk], "max_running": places(a)}
        for a in able
    ]
    return about(step, "no_free_agent", message, facts={"agents": agents})


def _wanted(step: OpenStep) -> str:
    definition = step.definition
    return str(definition.get("agent_instance_id") or definition.get("agent_definition_id"))


def _names(agent: AgentInstance) -> set[str]:
    of_definition = {str(agent.definition_id), agent.definition.slug}
    return {str(agent.pk), agent.slug} | of_definition
