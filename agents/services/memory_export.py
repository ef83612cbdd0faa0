"""All that an agent remembers as a file: members may have it, and it is told who had it."""

from collections.abc import Iterator
from typing import Final

from django.db import transaction

from agents.memory.exporting import export_lines
from agents.models import AgentInstance
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role

JSON_LINES: Final = "application/jsonl"


def export_memory_as(user: User, agent: AgentInstance, *, past: bool) -> Iterator[str]:
    """Return the lines of the file; ``past``: also what the agent remembered before.

    Raises:
        NotVisible, NotPermitted: the user is no member of the agent's workspace.
    """
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.VIEWER)
        what = "memory and its past" if past else "memory"
        draft = EventDraft(
            EventType.AGENT_ACTIVITY,
            agent.workspace_id,
            actor=f"user:{user.username}",
            agent_id=agent.pk,
            data={"activity": "memory_exported", "agent": agent.slug, "with_past": past},
            message=f"{user.username} exported the {what} of {agent.name}",
        )
        append_events([draft], database_now())
    return export_lines(agent.pk, agent.workspace_id, past=past)


def export_name(agent: AgentInstance) -> str:
    """Return the name of the file."""
    return f"memory-{agent.slug}.jsonl"
