"""To erase a key: from an agent's memory, from those that it was threaded to, from handoffs.

What is found is told place by place. What these places do not include is ``NOT_LOOKED_IN``: that
is no memory, and is deleted with its runs.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import Q

from agents.memory import past
from agents.memory.entries import as_identifier, check_key, way_of
from agents.memory.space import Space, one_transaction
from agents.models import AgentHandoff
from workflows.bulk import as_uuid, select
from workflows.errors import Conflict

MEMORY: Final = "memory"
PAST: Final = "past values"
WORDS: Final = "search words"
COPIES: Final = "threaded copies"
PAST_COPIES: Final = "past values of threaded copies"
HANDOFFS: Final = "handoffs"
NOT_LOOKED_IN: Final = (
    "inputs and outputs of steps",
    "messages of agents and their models",
    "events, which name keys and no values",
    "backups of the database",
)
_ATTEMPTS: Final = 5
_ENTRY, _PAST = "agents_agentmemoryentry", "agents_agentmemorypast"


class Place(NamedTuple):
    """Where it was looked: how many rows held the key, and how many of them do no more."""

    place: str
    found: int
    removed: int


@dataclass(frozen=True, slots=True)
class Erased:
    """Where it was looked and what was found, and the agents that held entries."""

    places: list[Place]
    agents: list[UUID]
    not_looked_in: tuple[str, ...] = NOT_LOOKED_IN

    @property
    def entries(self) -> int:
        """How many entries were deleted."""
        return self.removed(MEMORY) + self.removed(COPIES)

    @property
    def handoffs(self) -> int:
        """From how many handoffs it was taken."""
        return self.removed(HANDOFFS)

    @property
    def looked_in(self) -> list[str]:
        """The names of the places."""
        return [each.place for each in self.places]

    def removed(self, place: str) -> int:
        """Return how many rows of a place are gone; 0 where it was not looked there."""
        return sum(each.removed for each in self.places if each.place == place)


class _Row(NamedTuple):
    """A row with the key: of which table, which one, whose, and whether it is a copy."""

    table: str
    id: Any
    holder: UUID
    is_copy: bool

    @property
    def place(self) -> str:
        if self.table == _PAST:
            return PAST_COPIES if self.is_copy else PAST
        return COPIES if self.is_copy else MEMORY


def erase_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str,
    *,
    threaded: bool = True,
) -> Erased:
    """Delete the entry of a key with its past, and take it out of the agent's handoffs.

    ``threaded``: every copy of it that other agents were handed, too, with the past of these. An
    entry that another agent stored itself under this key is its own, and stays. What steps were
    given and what they answered is no memory: that is kept, and goes, with its run.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: no entry can have this key.
        Conflict: copies were made all the time; nothing was deleted.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    key = check_key(memory_key)
    for _ in range(_ATTEMPTS):
        with one_transaction():
            rows = _find(agent, workspace, key, threaded)
            holders = {agent, *(row.holder for row in rows)}
            spaces = [Space.lock(each, workspace) for each in sorted(holders)]
            # Whoever copies locks both memories: from here on there are no more of them.
            rows = _find(agent, workspace, key, threaded)
            if holders.issuperset(row.holder for row in rows):
                return _erase(spaces, rows, workspace, key, threaded)
    raise Conflict("This is being copied again and again; try again.", code="copied_meanwhile")


def _find(agent: UUID, workspace: UUID, key: str, threaded: bool) -> list[_Row]:
    return [
        row
        for table in (_ENTRY, _PAST)
        for row in _rows(table, agent, workspace, key)
        if threaded or not row.is_copy
    ]


def _rows(table: str, agent: UUID, workspace: UUID, key: str) -> Iterator[_Row]:
    for identifier, holder, metadata in select(
        f"SELECT id, agent_instance_id, metadata FROM {table}"
        " WHERE workspace_id = %s AND memory_key = %s",
        workspace, key,
    ):  # fmt: skip
        is_copy = as_uuid(holder) != agent
        if not is_copy or str(agent) in way_of(json.loads(metadata)):
            own = as_uuid(identifier) if table == _ENTRY else identifier
            yield _Row(table, own, as_uuid(holder), is_copy)


def _erase(
    spaces: Collection[Space], rows: list[_Row], workspace: UUID, key: str, threaded: bool
) -> Erased:
    names = [MEMORY, PAST, WORDS, *([COPIES, PAST_COPIES] if threaded else []), HANDOFFS]
    found = dict.fromkeys(names, 0)
    removed = dict.fromkeys(names, 0)
    agents = []
    for row in rows:
        found[row.place] += 1
    for space in spaces:
        own = [row for row in rows if row.holder == space.agent_instance_id]
        entries = [row for row in own if row.table == _ENTRY]
        values = [row for row in own if row.table == _PAST]
        words = _count_words(entries)
        if entries:
            removed[entries[0].place] += space.forget([row.id for row in entries], None)
            agents.append(space.agent_instance_id)
        if values:
            count, taken = past.delete_rows([row.id for row in values])
            removed[values[0].place] += count
            space.past_size_bytes -= taken
        found[WORDS] += words
        removed[WORDS] += words - _count_words(entries)
        space.close()
    ids = [space.agent_instance_id for space in spaces]
    found[HANDOFFS] = removed[HANDOFFS] = _erase_handoffs(ids, workspace, key)
    return Erased([Place(name, found[name], removed[name]) for name in names], agents)


def _count_words(entries: Collection[_Row]) -> int:
    [(count,)] = select(
        "SELECT count(*) FROM agents_agentmemorytext WHERE entry_id = ANY(%s)",
        [row.id for row in entries],
    )
    return int(count)


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
