"""Agents that fail, and how they come back: a circuit breaker whose state is in the database.

An agent that fails by its own fault has the status ``error`` until it succeeds. Until then it takes
one step at a time, as a trial, and only where no other agent is free; after ``probe_at`` as its
turn comes. After ``MGX_AGENT_FAULTS_UNTIL_OPEN`` faults in a row the circuit is open: there is no
trial before ``probe_at``.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.models import AgentInstance, AgentStatus
from agents.services.statuses import become
from workflows.bulk import Query, select_each
from workflows.core.outcomes import Failed
from workflows.events import EventDraft, EventType
from workflows.models import WorkflowStepExecution

#: Names the lock of all agents' marks among PostgreSQL's advisory locks.
_MARKS = 0x6D67785F6D61726B


def lock_for_assigning() -> None:
    """Keep marks away until the transaction ends; call it before agents' rows are locked."""
    select_each(lock_of_assigning())


def lock_of_assigning() -> list[Query]:
    """Return what ``lock_for_assigning`` asks the database, to be asked with something else."""
    return _lock("pg_advisory_xact_lock_shared")


def lock_for_marking() -> None:
    """Wait until nobody else assigns or marks agents, and be alone until the transaction ends.

    A turn first marks the agents whose attempts ended and then locks those that it may assign:
    two turns would wait for each other's rows without it.
    """
    select_each(_lock("pg_advisory_xact_lock"))


def _lock(function: str) -> list[Query]:
    """SQLite has one writer, who is alone anyway."""
    if connection.vendor != "postgresql":
        return []
    return [(f"SELECT {function}(%s)", (_MARKS,))]


class Faulty(Protocol):
    """An agent, as far as its faults are told."""

    faults: int
    probe_at: datetime | None
    max_concurrency: int


def places(agent: Faulty) -> int:
    """Return how many steps an agent may have at once."""
    return 1 if agent.faults else agent.max_concurrency


def is_open(agent: Faulty, now: datetime) -> bool:
    """Tell whether an agent gets no step at all."""
    return is_doubtful(agent, now) and agent.faults >= settings.MGX_AGENT_FAULTS_UNTIL_OPEN


def is_doubtful(agent: Faulty, now: datetime) -> bool:
    """Tell whether an agent failed so lately that any other one comes first."""
    return agent.probe_at is not None and agent.probe_at > now


def mark_failed(faults: Mapping[UUID, tuple[UUID, Failed]], now: datetime) -> list[EventDraft]:
    """Mark the agents that failed; ``faults``: agent and failure of each step's attempt."""
    lock_for_marking()
    agents = AgentInstance.objects.in_bulk({agent_id for agent_id, _ in faults.values()})
    steps = WorkflowStepExecution.objects.in_bulk(faults)
    drafts = []
    for step_execution_id, (agent_id, failure) in faults.items():
        agent = agents[agent_id]
        before = agent.status
        become(agent, AgentStatus.ERROR)  # but for one that is gone: it stays so
        agent.faults += 1
        agent.last_error = failure.message
        agent.probe_at = now + timedelta(seconds=settings.MGX_AGENT_PROBE_SECONDS)
        draft = _changed(agent, before, f"{agent.name} failed: {failure.message}")
        draft.data |= {"error_code": failure.code, "is_open": is_open(agent, now)}
        draft.workflow_step_id = step_execution_id
        draft.workflow_execution_id = steps[step_execution_id].execution_id
        drafts.append(draft)
    AgentInstance.objects.bulk_update(
        agents.values(), ["status", "faults", "last_error", "probe_at"]
    )
    return drafts


def mark_recovered(agent_ids: set[UUID]) -> list[EventDraft]:
    """Return agents that succeeded after faults to service."""
    lock_for_marking()
    agents = list(AgentInstance.objects.filter(id__in=agent_ids))
    drafts = []
    for agent in agents:
        before = agent.status
        agent.faults, agent.probe_at = 0, None
        if before == AgentStatus.ERROR:
            become(agent, AgentStatus.IDLE)
        drafts.append(_changed(agent, before, f"{agent.name} works again"))
    AgentInstance.objects.bulk_update(agents, ["status", "faults", "probe_at"])
    return drafts


def _changed(agent: AgentInstance, before: str, message: str) -> EventDraft:
    is_new = agent.status != before
    return EventDraft(
        EventType.AGENT_STATUS_CHANGED if is_new else EventType.AGENT_ACTIVITY,
        agent.workspace_id,
        agent_id=agent.id,
        data={
            "agent": agent.slug,
            "from": str(before),
            "status": str(agent.status),
            "faults": agent.faults,
        },
        message=message,
    )
