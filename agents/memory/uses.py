"""Which entries were used when: reads count too, and what is longest unused is evicted first.

A read of the database writes that down at once, one of the cache a moment later, together with
others; so between processes the order of use is exact to that moment. In a transaction nothing is
written for a read before it has committed, for that would keep others waiting. Whoever evicts
writes down first what this process has not yet.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import DatabaseError, connection, transaction

from workflows.bulk import Column, Query, select_each, update_rows

logger = logging.getLogger("agents.memory")

#: Seconds for which uses are collected.
_COLLECTED: Final = 0.2
_TABLE: Final = "agents_agentmemoryentry"
_USED_AT_ONCE: Final = (
    f"UPDATE {_TABLE} SET used_at = %s WHERE id = ANY(%s) AND used_at < %s RETURNING id"
)
#: On PostgreSQL, the first of queries after which nobody waits for the disk.
NO_WAIT: Final[Query] = ("SELECT set_config('synchronous_commit', 'off', true)", ())
_COLUMNS: Final = (Column("id", "uuid"), Column("used_at", "timestamptz"))


@dataclass(slots=True)
class Uses:
    """What was read of one memory: the entries with the last use of each, finds and vain looks."""

    moments: dict[UUID, datetime] = field(default_factory=dict)
    hits: int = 0
    misses: int = 0

    def add(self, ids: Sequence[UUID], moment: datetime) -> None:
        """Count a read that found ``ids``, or nothing."""
        self.moments.update(dict.fromkeys(ids, moment))
        if ids:
            self.hits += 1
        else:
            self.misses += 1


class _Pending:
    """The uses that this process has not written down yet, by agent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: dict[UUID, Uses] = {}
        self._timer: threading.Timer | None = None

    def add(self, agent_id: UUID, ids: Sequence[UUID], moment: datetime) -> None:
        with self._lock:
            self._uses.setdefault(agent_id, Uses()).add(ids, moment)

    def take(self, agent_id: UUID) -> Uses | None:
        with self._lock:
            return self._uses.pop(agent_id, None)

    def of(self, agent_id: UUID) -> Uses:
        with self._lock:
            return self._uses.get(agent_id) or Uses()

    def write_soon(self) -> None:
        """Have a thread write everything down, unless one is about to."""
        if self._timer is not None:
            return
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(_COLLECTED, self._write_all)
                self._timer.daemon = True
                self._timer.start()

    def finish(self) -> None:
        """Wait until a thread that is to write has done so."""
        while (timer := self._timer) is not None:
            timer.join()

    def _write_all(self) -> None:
        with self._lock:
            agents = sorted(self._uses)
        try:
            for agent_id in agents:
                with transaction.atomic():
                    write_pending(agent_id, is_alone=True)
        except DatabaseError as error:
            # What was used is only less well known then.
            logger.warning("The uses of some memory were not written down: %s", error)
        finally:
            connection.close()
            with self._lock:
                self._timer = None
                is_more = bool(self._uses)
            if is_more:
                self.write_soon()


_pending = _Pending()


def note_read(agent_id: UUID, ids: Sequence[UUID], moment: datetime) -> None:
    """Write down that entries were read in the database, or that nothing was found."""
    _pending.add(agent_id, ids, moment)
    if connection.in_atomic_block:
        transaction.on_commit(_pending.write_soon)
        return
    with transaction.atomic():
        write_pending(agent_id, is_alone=True)


def note_cached_read(agent_id: UUID, ids: Sequence[UUID], moment: datetime) -> None:
    """Have it written down soon that entries were read in the cache."""
    _pending.add(agent_id, ids, moment)
    _pending.write_soon()


def pending(agent_id: UUID) -> Uses:
    """Return what this process knows of the use of a memory and has not written down yet."""
    return _pending.of(agent_id)


def write_pending(agent_id: UUID, *, is_alone: bool = False) -> None:
    """Write down what this process knows of the use of a memory, whose counters it locks.

    Where that is all that a transaction does (``is_alone``), nobody waits for the disk: after a
    crash of the database a few uses are forgotten, and nothing else.
    """
    found = _pending.take(agent_id)
    if found is None:
        return
    queries: list[Query] = [
        (
            "UPDATE agents_agentmemory SET hits = hits + %s, misses = misses + %s"
            " WHERE agent_instance_id = %s RETURNING version",
            (found.hits, found.misses, agent_id),
        )
    ]
    if is_alone and connection.vendor == "postgresql":
        queries.insert(0, NO_WAIT)
    if len(set(found.moments.values())) == 1:
        moment = next(iter(found.moments.values()))
        queries.append((_USED_AT_ONCE, (moment, list(found.moments), moment)))
        found.moments.clear()
    select_each(queries)
    rows = sorted(found.moments.items())
    update_rows(_TABLE, _COLUMNS, rows)
