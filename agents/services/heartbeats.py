"""When agents last showed that they live, and what becomes of one that nothing is heard of.

An attempt that completes, a message of how far one is, and ``POST agents/{id}/heartbeat/`` are
signs of life. Where an agent's config says ``heartbeat_seconds``, one not heard of for longer gets
no step, and the sweep marks it ``offline`` until it is heard of again. One that people have shut
down stays so.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from pydantic import BaseModel, Field, ValidationError

from agents.memory.entries import no_agent
from agents.models import AgentInstance, AgentStatus
from agents.services.circuit import lock_for_marking
from agents.services.held import read_held
from agents.services.statuses import become
from workflows.clock import database_now
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role

_KEY = "heartbeat_seconds"
#: A sign of life is written down only so long after the last one: a busy agent gives many.
_WRITTEN_EVERY = timedelta(seconds=10)
#: Within the time that an agent has, its signs are written down at least so often.
_TIMES_WITHIN = 3


class HeartbeatConfig(BaseModel):
    """What the config of any agent may say of its heartbeat."""

    heartbeat_seconds: Annotated[float, Field(strict=True, ge=1, le=86_400)] | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """What an agent is told that showed its life. ``heartbeat_seconds``: how long it then has."""

    status: str
    last_heartbeat: datetime
    heartbeat_seconds: float | None


def silence_allowed(agent: AgentInstance) -> timedelta | None:
    """Return how long nothing need be heard of an agent; None: for ever. Its definition is read."""
    config: Mapping[str, Any] = {**agent.definition.config, **agent.config}
    try:
        seconds = HeartbeatConfig.model_validate({_KEY: config.get(_KEY)}).heartbeat_seconds
    except ValidationError:
        return None
    return timedelta(seconds=seconds) if seconds else None


def silent_since(agent: AgentInstance, now: datetime) -> datetime | None:
    """Return since when nothing was heard of an agent, if that is longer than it has.

    Its definition is read. One that was never heard of is silent since it was made.
    """
    limit = silence_allowed(agent)
    if limit is None:
        return None
    heard = agent.last_heartbeat or agent.created_at
    return heard if now - heard > limit else None


def not_heard_of_since(moment: datetime) -> str:
    """Return how it is said of an agent that nothing is heard of it."""
    return f"not heard of since {moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def note_life(agents: Iterable[AgentInstance], now: datetime) -> list[EventDraft]:
    """Write down in a turn that agents, read with their definitions, have shown that they live.

    Call it before agents are locked to be assigned: it waits until nobody assigns or marks any.
    """
    due = {agent.pk for agent in agents if _is_due(agent, now)}
    if not due:
        return []
    lock_for_marking()
    AgentInstance.objects.filter(pk__in=due).update(last_heartbeat=now)
    return _bring_back(due)


def note_life_of_steps(step_execution_ids: Collection[UUID], now: datetime) -> list[EventDraft]:
    """Do as ``note_life`` with the agents whose attempts of these steps say how far they are."""
    held = read_held(step_execution_ids)
    return note_life({place.agent_instance for place in held.values()}, now)


def beat(agent_id: UUID, *, user: User) -> Beat:
    """Take it from an agent outside that it lives.

    Raises:
        NotVisible, NotPermitted: the user is no operator of its workspace.
    """
    agent = AgentInstance.objects.select_related("definition").filter(pk=agent_id).first()
    if agent is None:
        raise no_agent()
    require_role(user, agent.workspace_id, Role.OPERATOR)
    now = database_now()
    if _is_due(agent, now):
        with transaction.atomic():
            append_events(note_life([agent], now), now)
        agent.refresh_from_db(fields=["status", "last_heartbeat"])
    limit = silence_allowed(agent)
    assert agent.last_heartbeat is not None
    seconds = limit.total_seconds() if limit else None
    return Beat(agent.status, agent.last_heartbeat, seconds)


def mark_silent() -> int:
    """Mark the agents offline of which nothing is heard any more; return how many.

    The engine calls it every few seconds (``settings.ENGINE_SWEEPS``).
    """
    if not _find_silent(database_now()):
        return 0
    with transaction.atomic():
        lock_for_marking()
        now = database_now()
        silent = _find_silent(now)
        drafts = []
        for agent, since in silent:
            before = agent.status
            become(agent, AgentStatus.OFFLINE)
            agent.is_silent = True
            words = f"{agent.name} is offline: {not_heard_of_since(since)}"
            drafts.append(_changed(agent, before, words, last_heartbeat=since.isoformat()))
        AgentInstance.objects.bulk_update([agent for agent, _ in silent], ["status", "is_silent"])
        append_events(drafts, now)
    return len(silent)


def _find_silent(now: datetime) -> list[tuple[AgentInstance, datetime]]:
    """Return the agents that are to be marked, and since when they are silent."""
    expected = Q(config__has_key=_KEY) | Q(definition__config__has_key=_KEY)
    agents = AgentInstance.objects.filter(expected).exclude(status=AgentStatus.OFFLINE)
    return [
        (agent, since)
        for agent in agents.select_related("definition").order_by("id")
        if (since := silent_since(agent, now))
    ]


def _bring_back(agent_ids: Collection[UUID]) -> list[EventDraft]:
    """Let those be idle again that were offline only because nothing was heard of them."""
    silent = list(AgentInstance.objects.filter(pk__in=agent_ids, is_silent=True))
    drafts = []
    for agent in silent:
        before = agent.status
        become(agent, AgentStatus.IDLE)
        agent.is_silent = False
        drafts.append(_changed(agent, before, f"{agent.name} is heard of again"))
    if silent:
        AgentInstance.objects.bulk_update(silent, ["status", "is_silent"])
    return drafts


def _is_due(agent: AgentInstance, now: datetime) -> bool:
    """Tell whether a sign of life is to be written down, and is not one of many."""
    if agent.last_heartbeat is None or agent.is_silent:
        return True
    limit = silence_allowed(agent)
    pause = min(_WRITTEN_EVERY, limit / _TIMES_WITHIN) if limit else _WRITTEN_EVERY
    return now - agent.last_heartbeat >= pause


def _changed(agent: AgentInstance, before: str, message: str, **more: Any) -> EventDraft:
    return EventDraft(
        EventType.AGENT_STATUS_CHANGED,
        agent.workspace_id,
        actor=SYSTEM,
        agent_id=agent.pk,
        data={"agent": agent.slug, "from": str(before), "status": str(agent.status), **more},
        message=message,
    )
