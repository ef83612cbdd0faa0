"""I5, I8: what must hold of agents and their memory; see ``workflows/invariants``."""

import sys
from collections.abc import Iterator

from agents.memory import past
from agents.memory.limits import limits_of
from agents.spending_invariants import budgets_are_kept, usage_is_counted
from workflows.core.canonical import dumps_canonical
from workflows.invariants.asking import Check, Query, as_json


def places_are_kept(query: Query) -> Iterator[str]:
    """I5: an agent holds no more places than it had when it took the last of them, and only for
    attempts that run.

    Fewer places hold for the attempts that begin after that.
    """
    for agent, most, held in query(
        "SELECT agent, most, held FROM (SELECT i.id AS agent,"
        # Those from before it was noted are judged by what the agent has now.
        " coalesce(CAST(r.reason ->> 'places' AS integer), i.max_concurrency) AS most,"
        " count(*) OVER (PARTITION BY i.id) AS held,"
        " row_number() OVER (PARTITION BY i.id ORDER BY r.reserved_at DESC) AS place"
        " FROM agents_agentinstance i"
        " JOIN agents_agentreservation r ON r.agent_instance_id = i.id"
        " WHERE r.released_at IS NULL AND r.expires_at > CURRENT_TIMESTAMP) AS latest"
        " WHERE place = 1 AND held > most"
    ):
        yield f"I5: the agent {agent} holds {held} places of {most}"
    for run, name, status in query(
        "SELECT s.execution_id, s.name, s.status FROM agents_agentreservation r"
        " JOIN workflows_workflowstepexecution s ON s.id = r.step_execution_id"
        " WHERE r.released_at IS NULL AND s.status <> 'running'"
    ):
        yield f"I5: the step {name} of {run} is {status} and still holds a place"


def memory_is_as_large_as_it_says(query: Query) -> Iterator[str]:
    """I8: the size of each entry, of which the figures of an agent are sums, is what it holds."""
    for entry, key, size, data in query(
        "SELECT id, memory_key, size_bytes, memory_data FROM agents_agentmemoryentry"
    ):
        counted = len(dumps_canonical(as_json(data), max_bytes=sys.maxsize).encode())
        if counted != size:
            yield f"I8: the entry {entry} ({key}) has {counted} bytes, not {size}"


def memory_is_counted(query: Query) -> Iterator[str]:
    """I8: what an agent's memory comes to is what its entries are, counted anew."""
    for agent, entries, size, counted, summed in query(
        "SELECT m.agent_instance_id, m.total_entries, m.total_size_bytes, count(e.id),"
        " coalesce(sum(e.size_bytes), 0) FROM agents_agentmemory m"
        " LEFT JOIN agents_agentmemoryentry e ON e.agent_instance_id = m.agent_instance_id"
        " GROUP BY m.agent_instance_id, m.total_entries, m.total_size_bytes"
        " HAVING m.total_entries <> count(e.id)"
        " OR m.total_size_bytes <> coalesce(sum(e.size_bytes), 0)"
    ):
        yield (
            f"I8: the memory of the agent {agent} has {counted} entries of {summed} bytes,"
            f" not {entries} of {size}"
        )


def past_of_memory_is_counted(query: Query) -> Iterator[str]:
    """I8: what the past of an agent's memory takes is what its values take, counted anew."""
    for agent, said, counted in query(
        f"SELECT m.agent_instance_id, m.past_size_bytes, coalesce(sum({past.TAKES}), 0)"
        " FROM agents_agentmemory m LEFT JOIN agents_agentmemorypast p"
        " ON p.agent_instance_id = m.agent_instance_id"
        " GROUP BY m.agent_instance_id, m.past_size_bytes"
        f" HAVING m.past_size_bytes <> coalesce(sum({past.TAKES}), 0)"
    ):
        yield f"I8: the past of the memory of the agent {agent} takes {counted} bytes, not {said}"


def memory_is_within_its_limits(query: Query) -> Iterator[str]:
    """I8: no agent remembers more than it may; limits made lower hold from its next write on."""
    for agent, entries, size, past_size, config, own in query(
        "SELECT m.agent_instance_id, m.total_entries, m.total_size_bytes, m.past_size_bytes,"
        " d.config, i.config"
        " FROM agents_agentmemory m JOIN agents_agentinstance i ON i.id = m.agent_instance_id"
        " JOIN agents_agentdefinition d ON d.id = i.definition_id"
    ):
        limits = limits_of(as_json(config), as_json(own))
        if past_size > limits.max_bytes:
            yield (
                f"I8: the past of the memory of the agent {agent} takes {past_size} bytes,"
                f" above its limit of {limits.max_bytes}"
            )
        if entries > limits.max_entries or size > limits.max_bytes:
            yield (
                f"I8: the memory of the agent {agent} has {entries} entries of {size} bytes,"
                f" above its limits of {limits.max_entries} and {limits.max_bytes}"
            )


CHECKS: tuple[Check, ...] = (
    places_are_kept,
    budgets_are_kept,
    usage_is_counted,
    memory_is_as_large_as_it_says,
    memory_is_counted,
    past_of_memory_is_counted,
    memory_is_within_its_limits,
)
