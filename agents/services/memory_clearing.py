"""Clearing what an agent remembers: one key, or all of it."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from agents.models import AgentInstance, AgentMemoryEntry
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role


def clear_memory(agent_id: UUID, *, user: User, key: str | None = None) -> int:
    """Delete the entry ``key`` of an agent, or every entry, and return how many there were.

    Raises:
        AgentInstance.DoesNotExist: there is no such agent.
        NotVisible, NotPermitted: the user is no editor of the agent's workspace.
    """
    with transaction.atomic():
        agent: Any = AgentInstance.objects.select_for_update().get(pk=agent_id)
        require_role(user, agent.workspace_id, Role.EDITOR)
        entries = AgentMemoryEntry.objects.filter(
            workspace_id=agent.workspace_id, agent_instance=agent
        )
        if key is not None:
            entries = entries.filter(memory_key=key)
        count, _ = entries.delete()
        if count:
            AgentInstance.objects.filter(pk=agent.pk).update(memory_version=F("memory_version") + 1)
            append_events([_cleared(agent, user, key, count)], database_now())
    return count


def _cleared(agent: AgentInstance, user: User, key: str | None, count: int) -> EventDraft:
    what = f"the key {key}" if key is not None else f"all {count:,} entries"
    return EventDraft(
        EventType.AGENT_CONTEXT_UPDATED,
        agent.workspace_id,
        actor=f"user:{user.username}",
        agent_id=agent.pk,
        data={"cleared": count, "key": key},
        message=f"{user.username} cleared {what} of the memory of {agent.name}",
    )
