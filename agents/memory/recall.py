"""What agents remember as they begin a step: read for all of a turn at once."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agents.memory.entries import COLUMNS, Entry
from workflows.bulk import select_each, write

#: So much is told at most, of the newest entries.
_MOST_BYTES: Final = 65_536
#: Within so short a time a second use of an entry is not written down.
_SAME_USE: Final = timedelta(milliseconds=200)
_NEWEST: Final = (
    f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE agent_instance_id = %s"
    " AND expires_at > %s ORDER BY updated_at DESC, id DESC LIMIT %s"
)
#: An entry that somebody is writing has just been used, and nobody waits for them.
_USED: Final = (
    "UPDATE agents_agentmemoryentry SET used_at = %s WHERE id IN (SELECT id"
    " FROM agents_agentmemoryentry WHERE id = ANY(%s) AND used_at < %s FOR UPDATE SKIP LOCKED)"
)


def recall(wanted: Mapping[UUID, int], now: datetime) -> dict[UUID, list[Entry]]:
    """Return the newest entries of agents, from the oldest to the newest; ``wanted``: how many of
    which agent at most. What has expired is not among them. It is a use of each."""
    asked = [(agent_id, most) for agent_id, most in wanted.items() if most > 0]
    answers = select_each([(_NEWEST, (agent_id, now, most)) for agent_id, most in asked])
    found = {
        agent_id: _bounded([Entry.from_row(row) for row in rows])[::-1]
        for (agent_id, _), rows in zip(asked, answers, strict=True)
    }
    if used := [entry.id for entries in found.values() for entry in entries]:
        write(_USED, now, used, now - _SAME_USE)
    return found


def _bounded(newest_first: list[Entry]) -> list[Entry]:
    size = 0
    for count, entry in enumerate(newest_first):
        size += entry.size_bytes
        if size > _MOST_BYTES:
            return newest_first[:count]
    return newest_first
