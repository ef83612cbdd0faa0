"""What is deleted every night: entries that have expired, what is above limits made lower, and
what was remembered before so long ago that nobody is told of it any more."""

import json
from collections.abc import Iterator
from uuid import UUID

from agents.memory import past
from agents.memory.limits import limits_of
from agents.memory.space import Space, one_transaction
from workflows.bulk import as_uuid, select
from workflows.clock import database_now
from workflows.errors import NotVisible


def sweep() -> int:
    """Delete what no agent remembers any more, a transaction each, and return how much it was."""
    count = 0
    for agent_id, workspace_id in sorted({*_with_expired(), *_above_limits()}):
        try:
            with one_transaction():
                space = Space.lock(agent_id, workspace_id)
                before = space.total_entries
                space.forget_expired()
                space.make_room()
                space.close()
                count += before - space.total_entries
        except NotVisible:
            continue  # it was deleted meanwhile
    return count


def sweep_past() -> int:
    """Delete what ended too long ago, a transaction an agent; return how many values it was."""
    moment = past.kept_since(database_now())
    count = 0
    for agent_id, workspace_id in select(
        "SELECT agent_instance_id, workspace_id FROM agents_agentmemory m WHERE EXISTS"
        " (SELECT 1 FROM agents_agentmemorypast p WHERE p.ended_at < %s"
        " AND p.agent_instance_id = m.agent_instance_id) ORDER BY agent_instance_id",
        moment,
    ):
        try:
            with one_transaction():
                space = Space.lock(as_uuid(agent_id), as_uuid(workspace_id))
                deleted, taken = past.delete_older(space.agent_instance_id, moment)
                space.past_size_bytes -= taken
                space.close()
                count += deleted
        except NotVisible:
            continue  # it was deleted meanwhile
    return count


def _with_expired() -> Iterator[tuple[UUID, UUID]]:
    for agent_id, workspace_id in select(
        "SELECT DISTINCT agent_instance_id, workspace_id FROM agents_agentmemoryentry"
        " WHERE expires_at <= statement_timestamp()"
    ):
        yield as_uuid(agent_id), as_uuid(workspace_id)


def _above_limits() -> Iterator[tuple[UUID, UUID]]:
    for agent_id, workspace_id, entries, size, past_size, config, own in select(
        "SELECT m.agent_instance_id, m.workspace_id, m.total_entries, m.total_size_bytes,"
        " m.past_size_bytes, d.config, i.config FROM agents_agentmemory m"
        " JOIN agents_agentinstance i ON i.id = m.agent_instance_id"
        " JOIN agents_agentdefinition d ON d.id = i.definition_id"
    ):
        limits = limits_of(json.loads(config), json.loads(own))
        if entries > limits.max_entries or max(size, past_size) > limits.max_bytes:
            yield as_uuid(agent_id), as_uuid(workspace_id)
