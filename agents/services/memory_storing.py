"""What people have agents remember, clear and erase. What is told of it names keys, not values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction

from agents.memory import (
    Entry,
    Erased,
    NewEntry,
    Trust,
    clear_memory,
    erase_memory,
    store_memories,
    thread_context_between_steps,
)
from agents.memory.trust import KEY
from agents.models import AgentInstance
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import InvalidInput
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role


def store_memory_as(user: User, agent: AgentInstance, new: NewEntry) -> Entry:
    """Have an agent remember something, and return the entry, which a person has written then.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the agent's workspace.
        InvalidInput: it cannot be kept, or says itself how far it can be trusted.
    """
    if KEY in new.metadata:
        problem = Problem("", "reserved", "MGX says this itself; leave it out", f"/metadata/{KEY}")
        raise InvalidInput("How far an entry can be trusted is not yours to say.", [problem])
    new = replace(new, trust=Trust.PERSON)
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.EDITOR)
        [entry] = store_memories(agent.pk, agent.workspace_id, [new], actor=_actor(user))
        said = f"{user.username} stored {entry.memory_key} in the memory of {agent.name}"
        _tell(user, agent, {"stored": [entry.memory_key]}, said)
    return entry


def thread_memory_as(
    user: User, agent: AgentInstance, to_agent_id: UUID, keys: Sequence[str]
) -> list[Entry]:
    """Copy entries of an agent to another one of its workspace, and return the copies.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the agent's workspace, or the other
            agent is not there, or in another project.
        InvalidInput: both are the same, or a key is not valid.
    """
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.EDITOR)
        copies = thread_context_between_steps(
            agent.pk, to_agent_id, agent.workspace_id, agent.project_id, keys, actor=_actor(user)
        )
        if copies:
            target = AgentInstance.objects.get(pk=to_agent_id)
            copied = [entry.memory_key for entry in copies]
            said = f"{user.username} copied {len(copies)} entries of {agent.name} to {target.name}"
            _tell(user, target, {"stored": copied, "threaded_from": str(agent.pk)}, said)
    return copies


def clear_memory_as(user: User, agent: AgentInstance, key: str | None = None) -> int:
    """Delete the entry ``key`` of an agent, or every entry, and return how many there were.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the agent's workspace.
        InvalidInput: no entry can have this key.
    """
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.EDITOR)
        count = clear_memory(agent.pk, agent.workspace_id, key, actor=_actor(user))
        if count:
            what = f"the key {key}" if key is not None else f"all {count:,} entries"
            said = f"{user.username} cleared {what} of the memory of {agent.name}"
            _tell(user, agent, {"cleared": count, "key": key}, said)
    return count


def erase_memory_as(user: User, agent: AgentInstance, key: str, *, threaded: bool) -> Erased:
    """Delete the entry of a key and its past; ``threaded``: all that others were handed of it, too.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the agent's workspace.
        InvalidInput: no entry can have this key.
    """
    with transaction.atomic():
        require_role(user, agent.workspace_id, Role.EDITOR)
        erased = erase_memory(agent.pk, agent.workspace_id, key, threaded=threaded)
        said = f"{user.username} erased {key} from the memory of {agent.name}"
        removed = {each.place: each.removed for each in erased.places}
        data = {"erased": [key], "entries": erased.entries, "removed": removed}
        _tell(user, agent, data, f"{said} and from all copies" if threaded else said)
    return erased


def _actor(user: User) -> str:
    return f"user:{user.username}"


def _tell(user: User, agent: AgentInstance, data: dict[str, Any], message: str) -> None:
    draft = EventDraft(
        EventType.AGENT_CONTEXT_UPDATED,
        agent.workspace_id,
        actor=_actor(user),
        agent_id=agent.pk,
        data=data,
        message=message,
    )
    append_events([draft], database_now())
