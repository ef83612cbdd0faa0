"""What agents remembered before: values that were replaced, cleared, evicted, or that expired.

The statement that displaces a value writes it down here, so that a new key costs nothing. It is
kept for ``MGX_MEMORY_HISTORY_DAYS``, and of each agent as much as its memory may hold in bytes:
the newest stay. A value takes its own bytes, the characters of its metadata, and some for its row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.models import MemoryChange
from workflows.bulk import Rows, select, write
from workflows.events import SYSTEM

#: What a value takes, counted alike of an entry and of its past.
TAKES: Final = "size_bytes + length(CAST(metadata AS text)) + 200"
#: Where it is too much, so much of the limit is kept: not every write has to delete something.
_KEPT: Final = 7 / 8
_ROW: Final = (
    "workspace_id, agent_instance_id, memory_key, memory_data, metadata, size_bytes, threaded_from"
)
_INTO: Final = (
    f"INSERT INTO agents_agentmemorypast ({_ROW}, written_at, ended_at, change, actor)"
    f" SELECT {_ROW}, updated_at, CASE WHEN expires_at <= %s THEN expires_at ELSE %s END,"
    f" CASE WHEN expires_at <= %s THEN '{MemoryChange.EXPIRED}' ELSE %s END,"
    f" CASE WHEN expires_at <= %s THEN '{SYSTEM}' ELSE %s END FROM"
)
_REPLACED: Final = f"{_INTO} agents_agentmemoryentry WHERE id = ANY(%s)"
_GONE: Final = (
    f"DELETE FROM agents_agentmemoryentry WHERE id = ANY(%s) RETURNING size_bytes, {TAKES}"
)
_MOVED: Final = (
    "WITH gone AS (DELETE FROM agents_agentmemoryentry WHERE id = ANY(%s) RETURNING *),"
    f" past AS ({_INTO} gone) SELECT size_bytes, {TAKES} FROM gone"
)
_OLDEST: Final = (
    "DELETE FROM agents_agentmemorypast WHERE id IN (SELECT id FROM (SELECT id,"
    f" sum({TAKES}) OVER (ORDER BY ended_at DESC, id DESC) AS total"
    " FROM agents_agentmemorypast WHERE agent_instance_id = %s) AS counted WHERE total > %s)"
    f" RETURNING {TAKES}"
)


def is_kept() -> bool:
    """Tell whether anything of the past is kept at all."""
    return bool(settings.MGX_MEMORY_HISTORY_DAYS > 0)


def kept_since(now: datetime) -> datetime:
    """Return from when on what has ended is kept."""
    return now - timedelta(days=max(settings.MGX_MEMORY_HISTORY_DAYS, 0))


def keep_replaced(ids: Sequence[Any], now: datetime, actor: str) -> None:
    """Write down what these entries hold, before they are written anew, or together with that."""
    write(_REPLACED, *_told(now, MemoryChange.REPLACED, actor), list(ids))


def delete(ids: Sequence[Any]) -> Rows:
    """Delete entries and leave no past of them; return (size, what it would take) of each."""
    return select(_GONE, list(ids))


def move(ids: Sequence[Any], now: datetime, change: MemoryChange, actor: str) -> Rows:
    """Delete entries and write down what they held; return (size, what that takes) of each."""
    if not is_kept():
        return [(size, 0) for size, _ in delete(ids)]
    wanted, told = list(ids), _told(now, change, actor)
    if connection.vendor == "postgresql":
        return select(_MOVED, wanted, *told)
    write(_REPLACED, *told, wanted)
    return delete(wanted)


def trim(agent_id: UUID, max_bytes: int) -> int:
    """Delete the oldest of an agent's past where it takes too much; return what it took."""
    return _sum(select(_OLDEST, agent_id, int(max_bytes * _KEPT)))


def delete_older(agent_id: UUID, moment: datetime) -> tuple[int, int]:
    """Delete what ended before a moment; return how many values that were, and what they took."""
    gone = select(
        "DELETE FROM agents_agentmemorypast WHERE agent_instance_id = %s AND ended_at < %s"
        f" RETURNING {TAKES}",
        agent_id, moment,
    )  # fmt: skip
    return len(gone), _sum(gone)


def delete_rows(ids: Sequence[int]) -> tuple[int, int]:
    """Delete values of the past; return how many there were, and what they took."""
    if not ids:
        return 0, 0
    gone = select(
        f"DELETE FROM agents_agentmemorypast WHERE id = ANY(%s) RETURNING {TAKES}", list(ids)
    )
    return len(gone), _sum(gone)


def _told(now: datetime, change: MemoryChange, actor: str) -> tuple[Any, ...]:
    return now, now, now, change.value, now, actor


def _sum(rows: Rows) -> int:
    return sum(int(taken) for (taken,) in rows)
