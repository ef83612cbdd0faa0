"""What agents remember as they begin a step: read for all of a turn at once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from agents.memory import uses
from agents.memory.entries import COLUMNS, Entry
from workflows.bulk import select_each

#: So much is told at most, of the newest entries.
_MOST_BYTES: Final = 65_536
_NEWEST: Final = (
    f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE agent_instance_id = %s"
    " AND expires_at > %s ORDER BY updated_at DESC, id DESC LIMIT %s"
)


def recall(wanted: Mapping[UUID, int], now: datetime) -> dict[UUID, list[Entry]]:
    """Return the newest entries of agents, from the oldest to the newest; ``wanted``: how many of
    which agent at most. What has expired is not among them. It is a use of each."""
    asked = [(agent_id, most) for agent_id, most in wanted.items() if most > 0]
    answers = select_each([(_NEWEST, (agent_id, now, most)) for agent_id, most in asked])
    found = {}
    for (agent_id, _), rows in zip(asked, answers, strict=True):
        entries = _bounded([Entry.from_row(row) for row in rows])
        if entries:
            uses.note_read(agent_id, [entry.id for entry in entries], now)
        found[agent_id] = entries[::-1]
    return found


def _bounded(newest_first: list[Entry]) -> list[Entry]:
    size = 0
    for count, entry in enumerate(newest_first):
        size += entry.size_bytes
        if size > _MOST_BYTES:
            return newest_first[:count]
    return newest_first
