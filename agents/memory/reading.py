"""What reads the memory of agents: entries, figures, and a search for words."""

from collections.abc import Sequence
from typing import Any, Final, TypedDict
from uuid import UUID

from django.db import connection

from agents.memory import cache, uses
from agents.memory.entries import COLUMNS, Entry, as_identifier, check_key, no_agent, words_of
from workflows.bulk import Query, Rows, as_moment, select, select_each
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
_COUNTED: Final = (
    "UPDATE agents_agentmemory SET hits = hits + found.number, misses = misses + 1 - found.number"
    " FROM ({}) AS found WHERE agent_instance_id = %s AND workspace_id = %s"
    " RETURNING version, statement_timestamp()"
)
_SOME: Final = f"EXISTS (SELECT 1 FROM agents_agentmemoryentry WHERE {_LIVE}"
_COUNT: Final = _COUNTED.format(f"SELECT CAST({_SOME} AND memory_key = %s) AS integer) AS number")
_COUNT_ANY: Final = _COUNTED.format(f"SELECT CAST({_SOME}) AS integer) AS number")
_USED: Final = (
    "UPDATE agents_agentmemoryentry SET used_at = greatest(used_at, statement_timestamp()) WHERE"
)
_USE: Final = f"{_USED} {_LIVE} AND memory_key = %s RETURNING {COLUMNS}"
_USE_NEWEST: Final = (
    f"{_USED} id IN (SELECT id FROM agents_agentmemoryentry WHERE {_LIVE}"
    f" ORDER BY updated_at DESC, id DESC LIMIT %s) RETURNING {COLUMNS}"
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
    [answer] = retrieve_each([place_of(agent_instance_id, workspace_id, memory_key, limit)])
    if isinstance(answer, Exception):
        raise answer
    return answer


def place_of(
    agent_instance_id: UUID | str, workspace_id: UUID | str, memory_key: str | None, limit: int
) -> cache.Place:
    """Return what a reader asks for.

    Raises:
        NotVisible, InvalidInput: as ``retrieve_memory``.
    """
    agent, workspace = as_identifier(agent_instance_id), as_identifier(workspace_id)
    key = None if memory_key is None else check_key(memory_key)
    _check_limit(limit)
    return workspace, agent, key, limit


def retrieve_each(places: Sequence[cache.Place]) -> Sequence[list[Entry] | Exception]:
    """Answer several readers, as ``retrieve_memory`` does: entries, or who asks is refused."""
    # In a transaction the database may show what nobody else is to see.
    is_alone = not connection.in_atomic_block
    known = cache.find_each(places) if is_alone else [None] * len(places)
    missing = {place for place, found in zip(places, known, strict=True) if found is None}
    answers: dict[cache.Place, _Answer] = {}
    if missing:
        read = _read_and_use if is_alone and connection.vendor == "postgresql" else _read
        answers = read(sorted(missing, key=_order), is_alone)
    given: list[list[Entry] | Exception] = []
    for place, found in zip(places, known, strict=True):
        if found is not None:
            cached, now = found
            uses.note_cached_read(place[1], cached.ids, now)
            given.append([Entry.from_row(row) for row in cached.rows])
        else:
            given.append(answers[place].give(place[1]))
    return given


class _Answer:
    """What was read for those who ask for the same, each of whom gets entries of its own."""

    def __init__(self, refusal: Exception | None, rows: Rows, moment: Any) -> None:
        self._refusal = refusal
        self._rows = rows
        self._moment = moment
        self.entries = [Entry.from_row(row) for row in rows]
        self._is_given = False

    def give(self, agent: UUID) -> list[Entry] | Exception:
        """Return it; that it was read is noted already, but for those who ask after the first."""
        if self._refusal is not None:
            return self._refusal
        if not self._is_given:
            self._is_given = True
            return self.entries
        if self._moment is not None:
            uses.note_cached_read(agent, [entry.id for entry in self.entries], self._moment)
        return [Entry.from_row(row) for row in self._rows]


def _read(places: Sequence[cache.Place], is_alone: bool) -> dict[cache.Place, _Answer]:
    """Read the database, then write down that it was read."""
    rows = select_each([query for place in places for query in (_version(place), _query(place))])
    answers = {}
    for place, versions, found in zip(places, rows[::2], rows[1::2], strict=True):
        answer = answers[place] = _answer(place, versions, found[::-1], is_alone)
        if versions:
            moment = as_moment(versions[0][1]) or database_now()
            uses.note_read(place[1], [entry.id for entry in answer.entries], moment)
    return answers


def _read_and_use(places: Sequence[cache.Place], is_alone: bool) -> dict[cache.Place, _Answer]:
    """Read the database and write down that it was read, all of it one way there and back.

    What is sent together is one transaction, and nobody waits for the disk: after a crash of the
    database a few uses are forgotten, and nothing else. Memories are locked in the order of all.
    """
    queries = [query for place in places for query in (_count(place), _use(place))]
    rows = select_each([uses.NO_WAIT, *queries])[1:]
    return {
        place: _answer(place, versions, sorted(found, key=_by_age), is_alone)
        for place, versions, found in zip(places, rows[::2], rows[1::2], strict=True)
    }


def _answer(place: cache.Place, versions: Rows, rows: Rows, is_alone: bool) -> _Answer:
    if not versions:
        workspace, agent, *_ = place
        return _Answer(None if _is_agent(agent, workspace) else no_agent(), [], None)
    [(version, moment)] = versions
    answer = _Answer(None, rows, as_moment(moment) or database_now())
    if is_alone:
        cache.keep(place, version, rows, answer.entries)
    return answer


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


def _version(place: cache.Place) -> Query:
    return _VERSION, (place[1], place[0])


def _query(place: cache.Place) -> Query:
    workspace, agent, key, limit = place
    if key is None:
        return _NEWEST, (workspace, agent, limit)
    return _OF_KEY, (workspace, agent, key)


def _count(place: cache.Place) -> Query:
    workspace, agent, key, _ = place
    if key is None:
        return _COUNT_ANY, (workspace, agent, agent, workspace)
    return _COUNT, (workspace, agent, key, agent, workspace)


def _use(place: cache.Place) -> Query:
    workspace, agent, key, limit = place
    if key is None:
        return _USE_NEWEST, (workspace, agent, limit)
    return _USE, (workspace, agent, key)


def _order(place: cache.Place) -> tuple[UUID, UUID, bool, str, int]:
    workspace, agent, key, limit = place
    return agent, workspace, key is None, key or "", limit


def _by_age(row: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return what rows of ``COLUMNS`` are sorted by: when they were written, and the id."""
    return row[7], row[0]


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        problem = Problem("", "invalid_limit", f"A number from 1 to {MAX_LIMIT}", "/limit")
        raise InvalidInput("The limit is not valid.", [problem], code="invalid_limit")


def _require_agent(agent: UUID, workspace: UUID) -> None:
    if not _is_agent(agent, workspace):
        raise no_agent()


def _is_agent(agent: UUID, workspace: UUID) -> bool:
    query = "SELECT 1 FROM agents_agentinstance WHERE id = %s AND workspace_id = %s"
    return bool(select(query, agent, workspace))
