"""What writes to the memory of agents: to store and to clear; to copy: ``copying.py``.

``actor`` is who does it, as in events: it stands with what is displaced. ``system`` unless a
person does it (``user:NAME``) or the step of an agent (``agent:SLUG``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection

from agents.memory.entries import Entry, NewEntry, as_identifier, check_key, no_agent
from agents.memory.putting import Made, make, put
from agents.memory.space import Space, one_transaction
from agents.memory.trust import Trust
from agents.models import MemoryChange
from workflows.bulk import select
from workflows.errors import MgxError
from workflows.events import SYSTEM


def store_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str,
    memory_data: Any,
    metadata: dict[str, Any] | None = None,
    *,
    ttl_seconds: int | None = None,
    trust: Trust = Trust.AGENT,
    actor: str = SYSTEM,
) -> Entry:
    """Keep ``memory_data`` under a key, in the place of what was there, and return the entry.

    What the agent used longest ago makes room for it. ``ttl_seconds``: how long it is kept, at
    most as long as the agent's limit says, which is also what None means.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: it cannot be kept: it is no JSON, alone larger than the agent's memory may
            be, or its key or time is not valid. Nothing is lost then.
    """
    entry = NewEntry(memory_key, memory_data, metadata or {}, ttl_seconds, trust)
    return store_memories(agent_instance_id, workspace_id, [entry], actor=actor)[0]


def store_memories(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    entries: Iterable[NewEntry],
    *,
    actor: str = SYSTEM,
) -> list[Entry]:
    """Keep several entries in one transaction, all or none; of a key that is twice the last one.

    Raises:
        NotVisible, InvalidInput: as ``store_memory``.
    """
    store = Store.read(agent_instance_id, workspace_id, entries, actor)
    with one_transaction():
        space = Space.lock(*store.place, store.wanted, actor)
        made = _make(store, space)
        put([(space, made)])
    return [entry for entry, _ in made]


@dataclass(frozen=True, slots=True)
class Store:
    """What one caller wants to be kept: whose it is, the entries by their keys, and who it is."""

    place: tuple[UUID, UUID]
    wanted: dict[str, NewEntry]
    actor: str

    @classmethod
    def read(
        cls,
        agent_id: UUID | str,
        workspace_id: UUID | str,
        entries: Iterable[NewEntry],
        actor: str,
    ) -> "Store":
        """Read what a caller says.

        Raises:
            NotVisible, InvalidInput: as ``store_memory``.
        """
        wanted = {check_key(entry.memory_key): entry for entry in entries}
        return cls((as_identifier(agent_id), as_identifier(workspace_id)), wanted, actor)


def store_each(stores: Sequence[Store]) -> Sequence[list[Entry] | Exception]:
    """Do what several callers want in one transaction; return the entries of each, or its refusal.

    What one of them is refused is not kept, and changes nothing for the others: where the database
    refuses it, each gets a transaction of its own.
    """
    try:
        with one_transaction():
            return _store_each(stores)
    except DatabaseError:
        if len(stores) == 1 or connection.in_atomic_block:
            raise
    return [_store_alone(store) for store in stores]


def _store_alone(store: Store) -> list[Entry] | Exception:
    try:
        with one_transaction():
            [answer] = _store_each([store])
    except DatabaseError as error:
        return error
    return answer


def _store_each(stores: Sequence[Store]) -> list[list[Entry] | Exception]:
    answers: dict[int, list[Entry] | Exception] = {}
    for turn in _turns(stores):
        keys = {
            place: [key for number in numbers for key in stores[number].wanted]
            for place, numbers in turn.items()
        }
        writes = []
        for place, space in Space.lock_each(keys).items():
            written: list[Made] = []
            for number in turn[place]:
                try:
                    made = _make(stores[number], space, after=len(written))
                except MgxError as refusal:
                    answers[number] = refusal
                    continue
                answers[number] = [entry for entry, _ in made]
                written += made
            if space is not None:
                space.actor = stores[turn[place][0]].actor
                writes.append((space, written))
        put(writes)
    return [answers[number] for number in range(len(stores))]


def clear_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str | None = None,
    *,
    actor: str = SYSTEM,
) -> int:
    """Delete the entry of a key, or all of them, and return how many there were.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: no entry can have this key.
    """
    keys = [] if memory_key is None else [check_key(memory_key)]
    with one_transaction():
        space = Space.lock(
            as_identifier(agent_instance_id), as_identifier(workspace_id), keys, actor
        )
        if memory_key is None:
            rows = select(
                "SELECT id FROM agents_agentmemoryentry"
                " WHERE workspace_id = %s AND agent_instance_id = %s",
                space.workspace_id, space.agent_instance_id,
            )  # fmt: skip
            ids = [identifier for (identifier,) in rows]
        else:
            ids = [entry.id for entry in space.found.values()]
        count = space.forget(ids, MemoryChange.CLEARED)
        if count:
            space.make_room()
            space.close()
    return count


def _make(store: Store, space: Space | None, after: int = 0) -> list[Made]:
    """Make the entries of a caller, each a microsecond after the one before."""
    if space is None:
        raise no_agent()
    return [
        make(entry, space, space.now + timedelta(microseconds=number))
        for number, entry in enumerate(store.wanted.values(), after)
    ]


def _turns(stores: Sequence[Store]) -> list[dict[tuple[UUID, UUID], list[int]]]:
    """Return what can be written at once, in the order of the callers: each key of a memory once,
    and each memory by one actor."""
    turns: list[dict[tuple[UUID, UUID], list[int]]] = []
    taken: dict[tuple[UUID, UUID], tuple[int, str, set[str]]] = {}
    for number, store in enumerate(stores):
        turn, actor, keys = taken.get(store.place, (0, store.actor, set()))
        if actor != store.actor or not keys.isdisjoint(store.wanted):
            turn, keys = turn + 1, set()
        taken[store.place] = turn, store.actor, keys | store.wanted.keys()
        if turn == len(turns):
            turns.append({})
        turns[turn].setdefault(store.place, []).append(number)
    return turns
