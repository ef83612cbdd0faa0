"""The room that an agent's memory has, and what is evicted when it is full.

Whoever writes to a memory first locks its row of counters (``AgentMemory``), and several of them
in the order of their ids; then no update is lost, and no write has to count what is there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import connection, transaction

from agents.memory import past, uses
from agents.memory.entries import no_agent
from agents.memory.limits import Limits, limits_of
from agents.models import MemoryChange
from workflows.bulk import Query, Rows, as_moment, as_uuid, now_sql, select, select_each, write
from workflows.events import SYSTEM

_AT_LEAST = 32

_BEGIN = (
    "INSERT INTO agents_agentmemory (agent_instance_id, workspace_id, version, total_entries,"
    " total_size_bytes, evictions, hits, misses, past_size_bytes)"
    " SELECT i.id, i.workspace_id, 0, count(e.id), coalesce(sum(e.size_bytes), 0), 0, 0, 0,"
    f" (SELECT coalesce(sum({past.TAKES}), 0) FROM agents_agentmemorypast p"
    " WHERE p.agent_instance_id = i.id)"
    " FROM agents_agentinstance i LEFT JOIN agents_agentmemoryentry e"
    " ON e.agent_instance_id = i.id AND e.workspace_id = i.workspace_id"
    " WHERE i.id = %s AND i.workspace_id = %s GROUP BY i.id, i.workspace_id"
    " ON CONFLICT (agent_instance_id) DO NOTHING"
)
_FOUND = (
    f"SELECT memory_key, id, size_bytes, created_at, {past.TAKES} FROM agents_agentmemoryentry"
    " WHERE workspace_id = %s AND agent_instance_id = %s AND memory_key = ANY(%s)"
)
_END = (
    "UPDATE agents_agentmemory SET version = version + 1, total_entries = %s,"
    " total_size_bytes = %s, past_size_bytes = %s, evictions = evictions + %s"
    " WHERE agent_instance_id = %s"
)


class Found(NamedTuple):
    """An entry that is there, and what it would take as a value of the past."""

    id: UUID
    size: int
    created_at: datetime
    takes: int


@dataclass(slots=True)
class Space:
    """The locked memory of an agent: what it comes to now, and what it may come to."""

    agent_instance_id: UUID
    workspace_id: UUID
    total_entries: int
    total_size_bytes: int
    past_size_bytes: int
    limits: Limits
    now: datetime
    #: Who changes it, as in events.
    actor: str = SYSTEM
    #: The entries of the keys that were asked for.
    found: dict[str, Found] = field(default_factory=dict)
    _evicted: int = 0

    @classmethod
    def lock(
        cls, agent_id: UUID, workspace_id: UUID, keys: Iterable[str] = (), actor: str = SYSTEM
    ) -> Self:
        """Lock the memory of an agent until the transaction ends.

        Raises:
            NotVisible: the workspace has no such agent.
        """
        space = cls.lock_each({(agent_id, workspace_id): keys}, actor)[agent_id, workspace_id]
        if space is None:
            raise no_agent()
        return space

    @classmethod
    def lock_each(
        cls, wanted: Mapping[tuple[UUID, UUID], Iterable[str]], actor: str = SYSTEM
    ) -> dict[tuple[UUID, UUID], Self | None]:
        """Lock the memories of agents, each with its keys; None where there is no such agent."""
        places = sorted(wanted)
        queries: list[Query] = []
        for agent_id, workspace_id in places:
            queries += [
                (_lock_sql(), (agent_id, workspace_id)),
                (_FOUND, (workspace_id, agent_id, list(wanted[agent_id, workspace_id]))),
            ]
        rows = select_each(queries)
        if not all(rows[::2]):
            for place, locked in zip(places, rows[::2], strict=True):
                if not locked:
                    write(_BEGIN, *place)
            rows = select_each(queries)
        pairs = zip(places, rows[::2], rows[1::2], strict=True)
        return {
            place: cls._read(place, locked[0], found, actor) if locked else None
            for place, locked, found in pairs
        }

    @classmethod
    def _read(cls, place: tuple[UUID, UUID], row: tuple[Any, ...], found: Rows, actor: str) -> Self:
        entries, size, past_size, config, own, moment = row
        now = as_moment(moment) or datetime.now(UTC)
        return cls(
            *place,
            entries,
            size,
            past_size,
            limits_of(json.loads(config), json.loads(own)),
            now,
            actor,
            {
                key: Found(as_uuid(identifier), held, as_moment(created) or now, takes)
                for key, identifier, held, created, takes in found
            },
        )

    @property
    def is_full(self) -> bool:
        """Whether more is held than may be."""
        return (
            self.total_entries > self.limits.max_entries
            or self.total_size_bytes > self.limits.max_bytes
        )

    @property
    def is_past_too_large(self) -> bool:
        """Whether what was remembered before takes more than the memory may."""
        return self.past_size_bytes > self.limits.max_bytes

    def forget(self, ids: Sequence[Any], change: MemoryChange | None) -> int:
        """Delete entries of this memory and return how many there were.

        ``change``: what becomes of them, which is written down with them; None: no past is left.
        """
        if not ids:
            return 0
        write("DELETE FROM agents_agentmemorytext WHERE entry_id = ANY(%s)", list(ids))
        if change is None:
            gone = [(size, 0) for size, _ in past.delete(ids)]
        else:
            gone = past.move(ids, self.now, change, self.actor)
        self.total_entries -= len(gone)
        self.total_size_bytes -= sum(size for size, _ in gone)
        self.past_size_bytes += sum(takes for _, takes in gone)
        return len(gone)

    def keep_replaced(self, keys: Iterable[str]) -> None:
        """Write down what stands under these keys, before or together with what replaces it."""
        replaced = [self.found[key] for key in keys if key in self.found]
        if replaced and past.is_kept():
            past.keep_replaced([entry.id for entry in replaced], self.now, self.actor)
            self.past_size_bytes += sum(entry.takes for entry in replaced)

    def forget_expired(self) -> int:
        """Delete what has expired and return how much that was."""
        expired = select(
            "SELECT id FROM agents_agentmemoryentry"
            " WHERE agent_instance_id = %s AND expires_at <= %s",
            self.agent_instance_id, self.now,
        )  # fmt: skip
        return self.forget([row[0] for row in expired], MemoryChange.EXPIRED)

    def make_room(self) -> None:
        """Delete what has expired, then what was used longest ago, until the limits are kept."""
        if self.is_full:
            self.forget_expired()
            uses.write_pending(self.agent_instance_id)
        while self.is_full:
            self._evicted += self.forget(list(self._longest_unused()), MemoryChange.EVICTED)
        if self.is_past_too_large:
            self.past_size_bytes -= past.trim(self.agent_instance_id, self.limits.max_bytes)

    def close(self) -> None:
        """Write down what the memory comes to now; every cached answer of it is void."""
        write(
            _END, self.total_entries, self.total_size_bytes, self.past_size_bytes, self._evicted,
            self.agent_instance_id,
        )  # fmt: skip

    def _longest_unused(self) -> Iterator[Any]:
        entries = self.total_entries - self.limits.max_entries
        size = self.total_size_bytes - self.limits.max_bytes
        for identifier, held in self._by_use(max(entries, _AT_LEAST)):
            if entries <= 0 and size <= 0:
                return
            entries -= 1
            size -= held
            yield identifier

    def _by_use(self, most: int) -> Rows:
        return select(
            "SELECT id, size_bytes FROM agents_agentmemoryentry WHERE agent_instance_id = %s"
            " ORDER BY used_at, updated_at LIMIT %s",
            self.agent_instance_id, most,
        )  # fmt: skip


@contextmanager
def one_transaction() -> Iterator[None]:
    """Be part of the transaction that is open, or else make one."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield


def _lock_sql() -> str:
    return (
        "SELECT m.total_entries, m.total_size_bytes, m.past_size_bytes, d.config, i.config, "
        f"{now_sql()} FROM (SELECT * FROM agents_agentmemory"
        " WHERE agent_instance_id = %s AND workspace_id = %s FOR UPDATE) m"
        " JOIN agents_agentinstance i ON i.id = m.agent_instance_id"
        " JOIN agents_agentdefinition d ON d.id = i.definition_id"
    )
