"""Clearing what an agent remembers, by a person: one key, or all of it."""

from django.db import transaction

from agents.memory import clear_memory
from agents.models import AgentInstance
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role


def clear_memory_as(user: User, agent: AgentInstance, key: str | None = None) -> int:
    """Delete the entry ``key`` of an agent, or every entry, and return how many there were.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the agent's workspace.
        InvalidInput: no entry can have this key.
    """
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.EDITOR)
        count = clear_memory(agent.pk, agent.workspace_id, key)
        if count:
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
