"""How entries are made and written: with their words, and with the past of what they replace."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from agents.memory.entries import Entry, NewEntry, as_json, too_short_or_long, way_of, words_of
from agents.memory.limits import Limits
from agents.memory.space import Space
from agents.memory.trust import labelled, trust_of
from workflows.bulk import Column, insert_rows, together
from workflows.core.ids import uuid7
from workflows.dialects import RawJson

MAX_METADATA_BYTES: Final = 65_536
_ENTRY: Final = (
    Column("id", "uuid"),
    Column("workspace_id", "uuid"),
    Column("agent_instance_id", "uuid"),
    Column("memory_key", "text"),
    Column("memory_data", "jsonb"),
    Column("metadata", "jsonb"),
    Column("size_bytes", "bigint"),
    Column("threaded_from", "uuid"),
    Column("created_at", "timestamptz"),
    Column("updated_at", "timestamptz"),
    Column("used_at", "timestamptz"),
    Column("expires_at", "timestamptz"),
)
_TEXT: Final = (Column("entry_id", "uuid"), Column("words", "text"))
_REPLACED: Final = ", ".join(
    f"{column.name} = excluded.{column.name}"
    for column in _ENTRY
    if column.name not in ("id", "workspace_id", "agent_instance_id", "memory_key", "created_at")
)


class Made(NamedTuple):
    """An entry that is not written yet, and its data as canonical JSON."""

    entry: Entry
    data: str


def make(new: NewEntry, space: Space, now: datetime) -> Made:
    """Make an entry of what is to be stored.

    Raises:
        InvalidInput: it cannot be kept.
    """
    limits = space.limits
    data = as_json(new.memory_data, "/memory_data", limits.max_bytes)
    as_json(new.metadata, "/metadata", MAX_METADATA_BYTES)
    return _made(
        space, new.memory_key, new.memory_data, data, labelled(new.metadata, new.trust), None,
        now, now + timedelta(seconds=_ttl(new, limits)),
    )  # fmt: skip


def make_copy(original: Entry, source: UUID, space: Space, now: datetime) -> Made:
    """Make the copy of an entry of ``source`` for another agent. Its label is the original's.

    Raises:
        InvalidInput: it is larger than the other agent's memory may be.
    """
    data = as_json(original.memory_data, "/memory_data", space.limits.max_bytes)
    way = [each for each in way_of(original.metadata) if each != str(source)]
    metadata = {
        **labelled(original.metadata, trust_of(original.metadata)),
        "threaded_from": str(source),
        "threaded_at": now.isoformat(),
        "threaded_through": [*way, str(source)],
    }
    longest = now + timedelta(seconds=space.limits.ttl_seconds)
    return _made(
        space, original.memory_key, original.memory_data, data, metadata, source, now,
        min(longest, original.expires_at or longest),
    )  # fmt: skip


def put(writes: Sequence[tuple[Space, Sequence[Made]]]) -> None:
    """Write entries into locked memories, each key of a memory once, and close these."""
    writes = [(space, made) for space, made in writes if made]
    if not writes:
        return
    rows = [row for space, made in writes for row in _rows(space, made)]
    texts = [
        (entry.id, " ".join(words_of(entry.memory_key, entry.memory_data)))
        for _, made in writes
        for entry, _ in made
    ]
    with together():
        for space, made in writes:
            space.keep_replaced(entry.memory_key for entry, _ in made)
        insert_rows(
            "agents_agentmemoryentry", _ENTRY, rows, on_conflict=f"(id) DO UPDATE SET {_REPLACED}"
        )
        insert_rows(
            "agents_agentmemorytext", _TEXT, texts,
            on_conflict="(entry_id) DO UPDATE SET words = excluded.words",
        )  # fmt: skip
        crowded = []
        for space, _ in writes:
            if space.is_full or space.is_past_too_large:
                crowded.append(space)
            else:
                space.close()
    for space in crowded:
        space.make_room()
        space.close()


def _made(
    space: Space,
    key: str,
    value: Any,
    data: str,
    metadata: Mapping[str, Any],
    source: UUID | None,
    now: datetime,
    expires_at: datetime,
) -> Made:
    known = space.found.get(key)
    entry = Entry(
        known.id if known else uuid7(), key, value, dict(metadata), len(data.encode()), source,
        known.created_at if known else now, now, expires_at,
    )  # fmt: skip
    return Made(entry, data)


def _rows(space: Space, made: Iterable[Made]) -> Iterable[tuple[Any, ...]]:
    for entry, data in made:
        metadata = RawJson(as_json(entry.metadata, "/metadata", 2 * MAX_METADATA_BYTES))
        known = space.found.get(entry.memory_key)
        space.total_entries += known is None
        space.total_size_bytes += entry.size_bytes - (known.size if known else 0)
        yield (
            entry.id, space.workspace_id, space.agent_instance_id, entry.memory_key,
            RawJson(data), metadata, entry.size_bytes, entry.threaded_from,
            entry.created_at, entry.updated_at, entry.updated_at, entry.expires_at,
        )  # fmt: skip


def _ttl(new: NewEntry, limits: Limits) -> int:
    given = new.ttl_seconds
    if given is None:
        return limits.ttl_seconds
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    if not is_whole or not 1 <= given <= limits.ttl_seconds:
        raise too_short_or_long(given, limits.ttl_seconds)
    return given
