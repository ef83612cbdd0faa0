"""To erase a key: from an agent's memory, from those that it was threaded to, from handoffs."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import Q

from agents.memory.entries import as_identifier, check_key, way_of
from agents.memory.space import Space, one_transaction
from agents.models import AgentHandoff
from workflows.bulk import as_uuid, select
from workflows.errors import Conflict

LOOKED_IN: Final = ("memory", "threaded copies", "handoffs")
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Erased:
    """What was found: entries, with the agents that held them, and handoffs. And where it was."""

    entries: int
    agents: list[UUID]
    handoffs: int
    looked_in: tuple[str, ...] = LOOKED_IN


def erase_memory(
    agent_instance_id: UUID | str, workspace_id: UUID | str, memory_key: str
) -> Erased:
    """Delete the entry of a key and every copy of it that other agents were handed.

    What steps were given and what they answered is no memory: that is kept, and goes, with its
    run. An entry that another agent stored itself under this key is its own, and stays.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: no entry can have this key.
        Conflict: copies were made all the time; nothing was deleted.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    key = check_key(memory_key)
    for _ in range(_ATTEMPTS):
        with one_transaction():
            holders = {agent, *_holders_of_copies(agent, workspace, key)}
            spaces = [Space.lock(each, workspace, [key]) for each in sorted(holders)]
            # Whoever copies locks both memories: from here on there are no more of them.
            if holders.issuperset(_holders_of_copies(agent, workspace, key)):
                return _erase(spaces, workspace, key)
    raise Conflict("This is being copied again and again; try again.", code="copied_meanwhile")


def _holders_of_copies(agent: UUID, workspace: UUID, key: str) -> list[UUID]:
    entries = select(
        "SELECT agent_instance_id, metadata FROM agents_agentmemoryentry"
        " WHERE workspace_id = %s AND memory_key = %s",
        workspace, key,
    )  # fmt: skip
    return [
        as_uuid(holder)
        for holder, metadata in entries
        if str(agent) in way_of(json.loads(metadata))
    ]


def _erase(spaces: Collection[Space], workspace: UUID, key: str) -> Erased:
    agents = []
    for space in spaces:
        if space.forget([identifier for identifier, _, _ in space.found.values()]):
            agents.append(space.agent_instance_id)
        space.close()
    ids = [space.agent_instance_id for space in spaces]
    return Erased(len(agents), agents, _erase_handoffs(ids, workspace, key))


def _erase_handoffs(agents: Collection[UUID], workspace: UUID, key: str) -> int:
    handed = AgentHandoff.objects.filter(
        Q(from_agent__in=agents) | Q(to_agent__in=agents), workspace_id=workspace
    )
    count = 0
    for handoff in handed.select_for_update(of=("self",)).order_by("id"):
        if key in handoff.context:
            del handoff.context[key]
            handoff.save(update_fields=["context"])
            count += 1
    return count
