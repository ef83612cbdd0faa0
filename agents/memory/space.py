"""The room that an agent's memory has, and what is evicted when it is full.

Whoever writes to a memory first locks its row of counters (``AgentMemory``), and several of them
in the order of their ids; then no update is lost, and no write has to count what is there.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from django.db import connection, transaction

from agents.memory import uses
from agents.memory.entries import no_agent
from agents.memory.limits import Limits, limits_of
from workflows.bulk import Rows, as_moment, now_sql, select, select_each, write

_AT_LEAST = 32

_BEGIN = (
    "INSERT INTO agents_agentmemory (agent_instance_id, workspace_id, version, total_entries,"
    " total_size_bytes, evictions, hits, misses)"
    " SELECT i.id, i.workspace_id, 0, count(e.id), coalesce(sum(e.size_bytes), 0), 0, 0, 0"
    " FROM agents_agentinstance i LEFT JOIN agents_agentmemoryentry e"
    " ON e.agent_instance_id = i.id AND e.workspace_id = i.workspace_id"
    " WHERE i.id = %s AND i.workspace_id = %s GROUP BY i.id, i.workspace_id"
    " ON CONFLICT (agent_instance_id) DO NOTHING"
)
_FOUND = (
    "SELECT id, memory_key, size_bytes, created_at FROM agents_agentmemoryentry"
    " WHERE workspace_id = %s AND agent_instance_id = %s AND memory_key = ANY(%s)"
)
_END = (
    "UPDATE agents_agentmemory SET version = version + 1, total_entries = %s,"
    " total_size_bytes = %s, evictions = evictions + %s WHERE agent_instance_id = %s"
)


@dataclass(slots=True)
class Space:
    """The locked memory of an agent: what it comes to now, and what it may come to."""

    agent_instance_id: UUID
    workspace_id: UUID
    total_entries: int
    total_size_bytes: int
    limits: Limits
    now: datetime
    #: The rows of the keys that were asked for: key → (id, size, when it was made).
    found: dict[str, tuple[Any, int, Any]] = field(default_factory=dict)
    _evicted: int = 0

    @classmethod
    def lock(cls, agent_id: UUID, workspace_id: UUID, keys: Iterable[str] = ()) -> Self:
        """Lock the memory of an agent until the transaction ends.

        Raises:
            NotVisible: the workspace has no such agent.
        """
        queries = [
            (_lock_sql(), (agent_id, workspace_id)),
            (_FOUND, (workspace_id, agent_id, list(keys))),
        ]
        locked, found = select_each(queries)
        if not locked:
            write(_BEGIN, agent_id, workspace_id)
            locked, found = select_each(queries)
        if not locked:
            raise no_agent()
        [(entries, size, config, own, moment)] = locked
        return cls(
            agent_id,
            workspace_id,
            entries,
            size,
            limits_of(json.loads(config), json.loads(own)),
            as_moment(moment) or datetime.now(UTC),
            {key: (identifier, held, created) for identifier, key, held, created in found},
        )

    @property
    def is_full(self) -> bool:
        """Whether more is held than may be."""
        return (
            self.total_entries > self.limits.max_entries
            or self.total_size_bytes > self.limits.max_bytes
        )

    def forget(self, ids: Sequence[Any]) -> int:
        """Delete entries of this memory and return how many there were."""
        if not ids:
            return 0
        wanted = list(ids)
        write("DELETE FROM agents_agentmemorytext WHERE entry_id = ANY(%s)", wanted)
        gone = select(
            "DELETE FROM agents_agentmemoryentry WHERE id = ANY(%s) RETURNING size_bytes", wanted
        )
        self.total_entries -= len(gone)
        self.total_size_bytes -= sum(size for (size,) in gone)
        return len(gone)

    def forget_expired(self) -> int:
        """Delete what has expired and return how much that was."""
        expired = select(
            "SELECT id FROM agents_agentmemoryentry"
            " WHERE agent_instance_id = %s AND expires_at <= %s",
            self.agent_instance_id, self.now,
        )  # fmt: skip
        return self.forget([row[0] for row in expired])

    def make_room(self) -> None:
        """Delete what has expired, then what was used longest ago, until the limits are kept."""
        if not self.is_full:
            return
        self.forget_expired()
        uses.write_pending(self.agent_instance_id)
        while self.is_full:
            self._evicted += self.forget(list(self._longest_unused()))

    def close(self) -> None:
        """Write down what the memory comes to now; every cached answer of it is void."""
        write(
            _END, self.total_entries, self.total_size_bytes, self._evicted, self.agent_instance_id
        )

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
        "SELECT m.total_entries, m.total_size_bytes, d.config, i.config, "
        f"{now_sql()} FROM (SELECT * FROM agents_agentmemory"
        " WHERE agent_instance_id = %s AND workspace_id = %s FOR UPDATE) m"
        " JOIN agents_agentinstance i ON i.id = m.agent_instance_id"
        " JOIN agents_agentdefinition d ON d.id = i.definition_id"
    )
