"""What writes to the memory of agents: to store, to copy to another agent, to clear, to erase."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from agents.memory.entries import (
    COLUMNS,
    Entry,
    NewEntry,
    as_identifier,
    as_json,
    check_key,
    no_agent,
    too_short_or_long,
    way_of,
    words_of,
)
from agents.memory.limits import Limits
from agents.memory.space import Space, one_transaction
from agents.models import AgentInstance
from workflows.bulk import Column, as_moment, as_uuid, insert_rows, select, together
from workflows.core.errors import Problem
from workflows.core.ids import uuid7
from workflows.dialects import RawJson
from workflows.errors import InvalidInput

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


def store_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str,
    memory_data: Any,
    metadata: dict[str, Any] | None = None,
    *,
    ttl_seconds: int | None = None,
) -> Entry:
    """Keep ``memory_data`` under a key, in the place of what was there, and return the entry.

    What the agent used longest ago makes room for it. ``ttl_seconds``: how long it is kept, at
    most as long as the agent's limit says, which is also what None means.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: it cannot be kept: it is no JSON, alone larger than the agent's memory may
            be, or its key or time is not valid. Nothing is lost then.
    """
    entry = NewEntry(memory_key, memory_data, metadata or {}, ttl_seconds)
    return store_memories(agent_instance_id, workspace_id, [entry])[0]


def store_memories(
    agent_instance_id: UUID | str, workspace_id: UUID | str, entries: Iterable[NewEntry]
) -> list[Entry]:
    """Keep several entries in one transaction, all or none; of a key that is twice the last one.

    Raises:
        NotVisible, InvalidInput: as ``store_memory``.
    """
    wanted = {check_key(entry.memory_key): entry for entry in entries}
    with one_transaction():
        space = Space.lock(as_identifier(agent_instance_id), as_identifier(workspace_id), wanted)
        made = [
            _made(entry, space, space.now + timedelta(microseconds=number))
            for number, entry in enumerate(wanted.values())
        ]
        _write(space, made)
    return [entry for entry, _ in made]


def thread_context_between_steps(
    from_agent_id: UUID | str,
    to_agent_id: UUID | str,
    workspace_id: UUID | str,
    project_id: UUID | str | None,
    context_keys: Sequence[str],
) -> list[Entry]:
    """Copy entries of an agent to another one, and return the copies.

    A key that the first one has not is left out. The copies tell where they are from, and last
    no longer than what was copied, which stays as it is.

    Raises:
        NotVisible: one of the agents is not in the workspace, or belongs to another project.
        InvalidInput: both are the same, or a key is not valid.
    """
    source, target = as_identifier(from_agent_id), as_identifier(to_agent_id)
    workspace = as_identifier(workspace_id)
    keys = [check_key(key) for key in context_keys]
    if source == target:
        problem = Problem("", "same_agent", "Copies go to another agent", "/to_agent_id")
        raise InvalidInput("An agent hands nothing to itself.", [problem], code="same_agent")
    _check_project((source, target), workspace, project_id)
    with one_transaction():
        # Both, in the order of all: what is copied is not being erased meanwhile.
        locked = {each: Space.lock(each, workspace, keys) for each in sorted((source, target))}
        space = locked[target]
        rows = select(
            f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE workspace_id = %s"
            " AND agent_instance_id = %s AND memory_key = ANY(%s) AND expires_at > %s"
            " ORDER BY updated_at, id",
            workspace, source, keys, space.now,
        )  # fmt: skip
        made = [
            _copy(Entry.from_row(row), source, space, space.now + timedelta(microseconds=number))
            for number, row in enumerate(rows)
        ]
        _write(space, made)
    return [entry for entry, _ in made]


def clear_memory(
    agent_instance_id: UUID | str, workspace_id: UUID | str, memory_key: str | None = None
) -> int:
    """Delete the entry of a key, or all of them, and return how many there were.

    Raises:
        NotVisible: the workspace has no such agent.
        InvalidInput: no entry can have this key.
    """
    keys = [] if memory_key is None else [check_key(memory_key)]
    with one_transaction():
        space = Space.lock(as_identifier(agent_instance_id), as_identifier(workspace_id), keys)
        if memory_key is None:
            ids = select(
                "SELECT id FROM agents_agentmemoryentry"
                " WHERE workspace_id = %s AND agent_instance_id = %s",
                space.workspace_id, space.agent_instance_id,
            )  # fmt: skip
            count = space.forget([identifier for (identifier,) in ids])
        else:
            count = space.forget([identifier for identifier, _, _ in space.found.values()])
        if count:
            space.close()
    return count


def _made(new: NewEntry, space: Space, now: datetime) -> tuple[Entry, str]:
    """Return a new entry, not written yet, and its data as canonical JSON."""
    limits = space.limits
    data = as_json(new.memory_data, "/memory_data", limits.max_bytes)
    metadata = dict(new.metadata)
    as_json(metadata, "/metadata", MAX_METADATA_BYTES)
    expires_at = now + timedelta(seconds=_ttl(new, limits))
    identifier, created_at = _known(space, new.memory_key, now)
    size = len(data.encode())
    entry = Entry(
        identifier, new.memory_key, new.memory_data, metadata, size, None, created_at, now,
        expires_at,
    )  # fmt: skip
    return entry, data


def _copy(original: Entry, source: UUID, space: Space, now: datetime) -> tuple[Entry, str]:
    """Return the copy of an entry for another agent, not written yet, and its data."""
    data = as_json(original.memory_data, "/memory_data", space.limits.max_bytes)
    metadata = {
        **original.metadata,
        "threaded_from": str(source),
        "threaded_at": now.isoformat(),
        "threaded_through": [
            *(each for each in way_of(original.metadata) if each != str(source)),
            str(source),
        ],
    }
    longest = now + timedelta(seconds=space.limits.ttl_seconds)
    identifier, created_at = _known(space, original.memory_key, now)
    copy = Entry(
        identifier, original.memory_key, original.memory_data, metadata, original.size_bytes,
        source, created_at, now, min(longest, original.expires_at or longest),
    )  # fmt: skip
    return copy, data


def _ttl(new: NewEntry, limits: Limits) -> int:
    given = new.ttl_seconds
    if given is None:
        return limits.ttl_seconds
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    if not is_whole or not 1 <= given <= limits.ttl_seconds:
        raise too_short_or_long(given, limits.ttl_seconds)
    return given


def _known(space: Space, key: str, now: datetime) -> tuple[UUID, datetime]:
    """Return the id and the beginning of the entry that a key has, or those of a new one."""
    if key not in space.found:
        return uuid7(), now
    identifier, _, created_at = space.found[key]
    return as_uuid(identifier), as_moment(created_at) or now


def _write(space: Space, made: Sequence[tuple[Entry, str]]) -> None:
    if not made:
        return
    rows = []
    for entry, data in made:
        metadata = RawJson(as_json(entry.metadata, "/metadata", 2 * MAX_METADATA_BYTES))
        _, held, _ = space.found.get(entry.memory_key, (None, 0, None))
        space.total_entries += entry.memory_key not in space.found
        space.total_size_bytes += entry.size_bytes - held
        rows.append(
            (
                entry.id, space.workspace_id, space.agent_instance_id, entry.memory_key,
                RawJson(data), metadata, entry.size_bytes, entry.threaded_from,
                entry.created_at, entry.updated_at, entry.updated_at, entry.expires_at,
            )
        )  # fmt: skip
    texts = [
        (entry.id, " ".join(words_of(entry.memory_key, entry.memory_data))) for entry, _ in made
    ]
    with together():
        insert_rows(
            "agents_agentmemoryentry", _ENTRY, rows, on_conflict=f"(id) DO UPDATE SET {_REPLACED}"
        )
        insert_rows(
            "agents_agentmemorytext", _TEXT, texts,
            on_conflict="(entry_id) DO UPDATE SET words = excluded.words",
        )  # fmt: skip
        if not space.is_full:
            space.close()
            return
    space.make_room()
    space.close()


def _check_project(agents: Sequence[UUID], workspace: UUID, project: UUID | str | None) -> None:
    """Refuse agents of another project than the one that is named."""
    found = AgentInstance.objects.filter(pk__in=agents, workspace_id=workspace)
    projects = set(found.values_list("id", "project_id"))
    allowed = {None, as_identifier(project)} if project is not None else None
    if len(projects) < len(agents) or (
        allowed is not None and any(own not in allowed for _, own in projects)
    ):
        raise no_agent()
