"""I5, I8: what must hold of agents and their memory; see ``workflows/invariants``."""

import sys
from collections.abc import Iterator

from workflows.core.canonical import dumps_canonical
from workflows.invariants.asking import Check, Query, as_json


def places_are_kept(query: Query) -> Iterator[str]:
    """I5: an agent holds no more places than it has, and only for attempts that run."""
    for agent, most, held in query(
        "SELECT i.id, i.max_concurrency, count(*) FROM agents_agentinstance i"
        " JOIN agents_agentreservation r ON r.agent_instance_id = i.id"
        " WHERE r.released_at IS NULL AND r.expires_at > CURRENT_TIMESTAMP"
        " GROUP BY i.id, i.max_concurrency HAVING count(*) > i.max_concurrency"
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


CHECKS: tuple[Check, ...] = (places_are_kept, memory_is_as_large_as_it_says)
