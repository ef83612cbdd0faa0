"""All that an agent remembers as JSON Lines: an object a line, its entries first, then its past.

A line says what it is (``kind``: ``entry`` or ``past``) and holds what REST shows of that.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from agents.memory.entries import COLUMNS, Entry
from agents.memory.trust import trust_of
from agents.models import AgentMemoryPast
from workflows.bulk import select

#: Bytes of data, more or less, that are read at once.
_AT_ONCE: Final = 1_048_576
_PAST_AT_ONCE: Final = 1_000
_LIVE: Final = (
    "workspace_id = %s AND agent_instance_id = %s"
    " AND (expires_at IS NULL OR expires_at > statement_timestamp())"
)


def export_lines(agent: UUID, workspace: UUID, *, past: bool = False) -> Iterator[str]:
    """Yield the lines, many at a time, each row as it is when it is read.

    ``past``: also what the agent remembered before, the oldest first.
    """
    sizes = select(
        f"SELECT id, size_bytes FROM agents_agentmemoryentry WHERE {_LIVE}"
        " ORDER BY updated_at, id",
        workspace, agent,
    )  # fmt: skip
    for ids in _portions(sizes):
        rows = select(
            f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE {_LIVE} AND id = ANY(%s)"
            " ORDER BY updated_at, id",
            workspace, agent, ids,
        )  # fmt: skip
        yield _text(entry_document(Entry.from_row(row)) for row in rows)
    if past:
        yield from _past_lines(agent, workspace)


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return an entry as a line of the export says it."""
    return {
        "kind": "entry",
        "id": str(entry.id),
        "memory_key": entry.memory_key,
        "memory_data": entry.memory_data,
        "metadata": entry.metadata,
        "trust": entry.trust,
        "size_bytes": entry.size_bytes,
        "threaded_from": entry.threaded_from and str(entry.threaded_from),
        "created_at": _moment(entry.created_at),
        "updated_at": _moment(entry.updated_at),
        "expires_at": entry.expires_at and _moment(entry.expires_at),
    }


def past_document(value: AgentMemoryPast) -> dict[str, Any]:
    """Return a value of the past as a line of the export says it."""
    return {
        "kind": "past",
        "id": value.pk,
        "memory_key": value.memory_key,
        "memory_data": value.memory_data,
        "metadata": value.metadata,
        "trust": trust_of(value.metadata),
        "size_bytes": value.size_bytes,
        "threaded_from": value.threaded_from and str(value.threaded_from),
        "written_at": _moment(value.written_at),
        "ended_at": _moment(value.ended_at),
        "change": value.change,
        "actor": value.actor,
    }


def _past_lines(agent: UUID, workspace: UUID) -> Iterator[str]:
    values = AgentMemoryPast.objects.filter(agent_instance_id=agent, workspace_id=workspace)
    last = 0
    while sizes := list(
        values.filter(pk__gt=last).order_by("pk").values_list("pk", "size_bytes")[:_PAST_AT_ONCE]
    ):
        last = sizes[-1][0]
        for ids in _portions(sizes):
            found = values.filter(pk__in=ids).order_by("pk")
            yield _text(past_document(value) for value in found)


def _portions(sizes: Sequence[tuple[Any, int]]) -> Iterator[list[Any]]:
    """Yield ids whose rows together hold about so much as is read at once."""
    portion: list[Any] = []
    held = 0
    for identifier, size in sizes:
        if portion and (held + size > _AT_ONCE or len(portion) >= _PAST_AT_ONCE // 2):
            yield portion
            portion, held = [], 0
        portion.append(identifier)
        held += size
    if portion:
        yield portion


def _text(documents: Iterator[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in documents)


def _moment(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
