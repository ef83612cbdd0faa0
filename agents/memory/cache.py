"""Answers to reads, kept in this process for as long as they are still true.

Every write to a memory raises its version, in the same transaction. An answer is kept with the
version that was read before it, and given again only if the database says at that moment that
this is still the version: so a write is seen by the next read of every process. On PostgreSQL
that is one small query. On SQLite a connection of its own asks whether anything at all was
committed (``data_version``), which costs next to nothing, and only then for the version.
"""

import sqlite3
import sys
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID
from weakref import WeakSet

from django.conf import settings
from django.db import connection
from psycopg.pq import ExecStatus

from agents.memory.entries import Entry
from workflows.bulk import Rows, as_uuid, select

#: What was asked for: the workspace, the agent, the key or None for all, how many at most.
Place = tuple[UUID, UUID, str | None, int]
#: What an answer takes besides the data in it, and each of its entries, in bytes; about.
_ANSWER_BYTES: Final = 1_000
_ENTRY_BYTES: Final = 1_000
_OF_AGENT: Final = "agent_instance_id = {} AND workspace_id = {}"
_VERSION_IN_SQLITE: Final = (
    f"SELECT version FROM agents_agentmemory WHERE {_OF_AGENT.format('?', '?')}"
)
_VERSION: Final = (
    "SELECT version, extract(epoch FROM statement_timestamp()) FROM agents_agentmemory WHERE "
)
_VERSIONS: Final = (
    "SELECT workspace_id, agent_instance_id, version,"
    " CAST(extract(epoch FROM statement_timestamp()) AS double precision)"
    " FROM agents_agentmemory WHERE agent_instance_id = ANY(%s)"
)


@dataclass(slots=True)
class Answer:
    """Rows as the database gave them, and the ids in them; true until ``expires_at``."""

    version: int
    rows: Rows
    ids: list[UUID]
    expires_at: datetime | None
    size: int


class _Answers:
    """The answers of this process, those least recently given first, bounded in bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[Place, Answer] = OrderedDict()
        self.size = 0

    def get(self, place: Place) -> Answer | None:
        with self._lock:
            answer = self._answers.get(place)
            if answer is not None:
                self._answers.move_to_end(place)
            return answer

    def put(self, place: Place, answer: Answer) -> None:
        with self._lock:
            self._remove(place)
            if answer.size > settings.MGX_MEMORY_CACHE_BYTES:
                return
            self._answers[place] = answer
            self.size += answer.size
            while self.size > settings.MGX_MEMORY_CACHE_BYTES:
                self._remove(next(iter(self._answers)))

    def remove(self, place: Place) -> None:
        with self._lock:
            self._remove(place)

    def _remove(self, place: Place) -> None:
        answer = self._answers.pop(place, None)
        if answer is not None:
            self.size -= answer.size


class _Asking(threading.local):
    """A thread's way to ask PostgreSQL for a version, without what a cursor costs besides.

    Where the statement is not prepared any more, or something is wrong, a cursor asks.
    """

    _NAME: Final = b"mgx_memory_version"
    _SQL: Final = (_VERSION + _OF_AGENT.format("$1", "$2")).encode()

    def __init__(self) -> None:
        self._prepared: WeakSet[Any] = WeakSet()

    def version(self, agent: UUID, workspace: UUID) -> tuple[int | None, datetime]:
        """Return the version of a memory now, or None where there is none, and what now is."""
        connection.ensure_connection()
        raw = connection.connection
        if raw not in self._prepared:
            raw.pgconn.prepare(self._NAME, self._SQL)
            self._prepared.add(raw)
        answer = raw.pgconn.exec_prepared(self._NAME, [agent.hex.encode(), workspace.hex.encode()])
        if answer.status == ExecStatus.TUPLES_OK:
            rows = [(answer.get_value(0, 0), answer.get_value(0, 1))] * answer.ntuples
        else:
            self._prepared.discard(raw)
            rows = select(_VERSION + _OF_AGENT.format("%s", "%s"), agent, workspace)
        if not rows:
            return None, datetime.now(UTC)
        [(version, seconds)] = rows
        return int(version), datetime.fromtimestamp(float(seconds), UTC)


class _Watch(threading.local):
    """A thread's own look at SQLite: what the versions were when somebody last committed."""

    path = ""
    connection: sqlite3.Connection | None = None
    data_version = -1

    def __init__(self) -> None:
        self.versions: dict[tuple[UUID, UUID], int | None] = {}

    def version(self, agent: UUID, workspace: UUID) -> int | None:
        """Return the version of a memory now, or None where there is none."""
        own = self._connection()
        [data_version] = own.execute("PRAGMA data_version").fetchone()
        if data_version != self.data_version:
            self.versions.clear()
            self.data_version = data_version
        if (agent, workspace) not in self.versions:
            row = own.execute(_VERSION_IN_SQLITE, (agent.hex, workspace.hex)).fetchone()
            self.versions[agent, workspace] = row[0] if row else None
        return self.versions[agent, workspace]

    def _connection(self) -> sqlite3.Connection:
        path = str(connection.settings_dict["NAME"])
        if self.connection is None or self.path != path:
            if self.connection is not None:
                self.connection.close()
            self.connection = sqlite3.connect(path, isolation_level=None)
            self.path = path
            self.data_version = -1
            self.versions.clear()
        return self.connection


_answers = _Answers()
_watch = _Watch()
_asking = _Asking()


def find(place: Place) -> tuple[Answer, datetime] | None:
    """Return what was answered, if it is still true, and what the time is."""
    return find_each([place])[0]


def find_each(places: Sequence[Place]) -> list[tuple[Answer, datetime] | None]:
    """Return what was answered to each, if it is still true, and what the time is.

    The versions of all of them are asked for at once, after each of these was.
    """
    answers = [_answers.get(place) for place in places]
    memories = {place[:2] for place, answer in zip(places, answers, strict=True) if answer}
    now = _now_each(memories) if memories else {}
    return [
        _still_true(place, answer, *now[place[:2]]) if answer else None
        for place, answer in zip(places, answers, strict=True)
    ]


def _still_true(
    place: Place, answer: Answer, version: int | None, moment: datetime
) -> tuple[Answer, datetime] | None:
    is_over = answer.expires_at is not None and answer.expires_at <= moment
    if version != answer.version or is_over:
        _answers.remove(place)
        return None
    return answer, moment


def keep(place: Place, version: int, rows: Rows, entries: Sequence[Entry]) -> None:
    """Keep an answer that was read outside of any transaction, after ``version`` was."""
    ends = [entry.expires_at for entry in entries if entry.expires_at is not None]
    size = _ANSWER_BYTES + sum(_size(row) + _ENTRY_BYTES for row in rows)
    ids = [entry.id for entry in entries]
    answer = Answer(version, rows, ids, min(ends, default=None), size)
    _answers.put(place, answer)


def _size(row: tuple[Any, ...]) -> int:
    return sum(sys.getsizeof(value) for value in row if isinstance(value, str))


def _now_each(
    memories: Collection[tuple[UUID, UUID]],
) -> dict[tuple[UUID, UUID], tuple[int | None, datetime]]:
    """Return the versions of memories, (workspace, agent), and what the time is where they are."""
    if connection.vendor != "postgresql":
        return {each: (_watch.version(each[1], each[0]), datetime.now(UTC)) for each in memories}
    if len(memories) == 1:
        [(workspace, agent)] = memories
        return {(workspace, agent): _asking.version(agent, workspace)}
    rows = select(_VERSIONS, [agent for _, agent in memories])
    found = {
        (as_uuid(workspace), as_uuid(agent)): (version, datetime.fromtimestamp(seconds, UTC))
        for workspace, agent, version, seconds in rows
    }
    return {each: found.get(each, (None, datetime.now(UTC))) for each in memories}
