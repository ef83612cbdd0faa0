"""What reads the memory of agents: entries, figures, and a search for words."""

from typing import Final, TypedDict
from uuid import UUID

from django.db import connection

from agents.memory import cache, uses
from agents.memory.entries import COLUMNS, Entry, as_identifier, check_key, no_agent, words_of
from workflows.bulk import Query, as_moment, select, select_each
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import InvalidInput

LIMIT: Final = 100
MAX_LIMIT: Final = 10_000
_LIVE: Final = (
    "workspace_id = %s AND agent_instance_id = %s"
    " AND (expires_at IS NULL OR expires_at > statement_timestamp())"
)
_OF_KEY: Final = f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE {_LIVE} AND memory_key = %s"
_NEWEST: Final = (
    f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE {_LIVE}"
    " ORDER BY updated_at DESC, id DESC LIMIT %s"
)
_VERSION: Final = (
    "SELECT version, statement_timestamp() FROM agents_agentmemory"
    " WHERE agent_instance_id = %s AND workspace_id = %s"
)
_WITH_WORDS: Final = {
    "postgresql": (
        "SELECT entry_id FROM agents_agentmemorytext"
        " WHERE array_to_tsvector(string_to_array(words, ' ')) @@ CAST(%s AS tsquery)"
    ),
    "sqlite": (
        "SELECT t.entry_id FROM agents_memorysearch s JOIN agents_agentmemorytext t"
        " ON t.id = s.rowid WHERE s.words MATCH %s"
    ),
}


class MemoryStats(TypedDict):
    """What an agent remembers, and how it has been used."""

    total_entries: int
    total_size_bytes: int
    total_size_mb: float
    memory_keys: list[str]
    memory_key_count: int
    hits: int
    misses: int
    hit_rate: float | None
    evictions: int


def retrieve_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str | None = None,
    limit: int = LIMIT,
) -> list[Entry]:
    """Return the entry of a key, or the newest ``limit`` entries, from the oldest to the newest.

    Newest is what was written last. What has expired is never among them. A read is a use.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: ``limit`` is not 1 to 10,000, or no entry can have this key.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    key = None if memory_key is None else check_key(memory_key)
    _check_limit(limit)
    place = (workspace, agent, key, limit)
    # In a transaction the database may show what nobody else is to see.
    is_alone = connection.in_atomic_block
    if not is_alone and (known := cache.find(place)):
        answer, now = known
        uses.note_cached_read(agent, answer.ids, now)
        return [Entry.from_row(row) for row in answer.rows]
    versions, rows = select_each([_version(agent, workspace), _query(place)])
    if not versions:
        _require_agent(agent, workspace)
        return []
    [(version, moment)] = versions
    found = [Entry.from_row(row) for row in reversed(rows)]
    if not is_alone:
        cache.keep(place, version, rows[::-1], found)
    uses.note_read(agent, [entry.id for entry in found], as_moment(moment) or database_now())
    return found


def search_memory(
    agent_instance_id: UUID | str, workspace_id: UUID | str, query: str, limit: int = LIMIT
) -> list[Entry]:
    """Return the entries in which every word of ``query`` begins a word, the newest first.

    Words are letters and digits; whatever stands between them only separates them, so no query
    is wrong. One without words finds nothing.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: ``limit`` is not 1 to 10,000.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    _check_limit(limit)
    _require_agent(agent, workspace)
    words = words_of(query)
    if not words:
        return []
    if connection.vendor == "postgresql":
        wanted = " & ".join(f"'{word}':*" for word in words)
    else:
        wanted = " AND ".join(f'"{word}"*' for word in words)
    rows = select(
        f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE {_LIVE}"
        f" AND id IN ({_WITH_WORDS[connection.vendor]})"
        " ORDER BY updated_at DESC, id DESC LIMIT %s",
        workspace, agent, wanted, limit,
    )  # fmt: skip
    return [Entry.from_row(row) for row in rows]


def get_memory_stats(agent_instance_id: UUID | str, workspace_id: UUID | str) -> MemoryStats:
    """Return what an agent remembers now; what has expired does not count.

    ``hit_rate``: the part of all reads that found something; None before the first one.

    Raises:
        NotVisible: the workspace has no such agent.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    _require_agent(agent, workspace)
    counted, entries = select_each(
        [
            (
                "SELECT hits, misses, evictions FROM agents_agentmemory"
                " WHERE agent_instance_id = %s AND workspace_id = %s",
                (agent, workspace),
            ),
            (
                f"SELECT memory_key, size_bytes FROM agents_agentmemoryentry WHERE {_LIVE}"
                " ORDER BY memory_key",
                (workspace, agent),
            ),
        ]
    )
    hits, misses, evictions = counted[0] if counted else (0, 0, 0)
    waiting = uses.pending(agent)
    hits, misses = hits + waiting.hits, misses + waiting.misses
    size = sum(held for _, held in entries)
    return {
        "total_entries": len(entries),
        "total_size_bytes": size,
        "total_size_mb": round(size / 1_048_576, 3),
        "memory_keys": [key for key, _ in entries],
        "memory_key_count": len(entries),
        "hits": hits,
        "misses": misses,
        "hit_rate": round(hits / (hits + misses), 4) if hits + misses else None,
        "evictions": evictions,
    }


def _version(agent: UUID, workspace: UUID) -> Query:
    return _VERSION, (agent, workspace)


def _query(place: cache.Place) -> Query:
    workspace, agent, key, limit = place
    if key is None:
        return _NEWEST, (workspace, agent, limit)
    return _OF_KEY, (workspace, agent, key)


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        problem = Problem("", "invalid_limit", f"A number from 1 to {MAX_LIMIT}", "/limit")
        raise InvalidInput("The limit is not valid.", [problem], code="invalid_limit")


def _require_agent(agent: UUID, workspace: UUID) -> None:
    if not select(
        "SELECT 1 FROM agents_agentinstance WHERE id = %s AND workspace_id = %s", agent, workspace
    ):
        raise no_agent()
