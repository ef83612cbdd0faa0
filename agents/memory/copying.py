"""To copy entries from one agent's memory to another's: they tell where they are from."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from agents.memory.entries import COLUMNS, Entry, as_identifier, check_key, no_agent
from agents.memory.putting import make_copy, put
from agents.memory.space import Space, one_transaction
from agents.models import AgentInstance
from workflows.bulk import select
from workflows.core.errors import Problem
from workflows.errors import InvalidInput
from workflows.events import SYSTEM


def thread_context_between_steps(
    from_agent_id: UUID | str,
    to_agent_id: UUID | str,
    workspace_id: UUID | str,
    project_id: UUID | str | None,
    context_keys: Sequence[str],
    *,
    actor: str = SYSTEM,
) -> list[Entry]:
    """Copy entries of an agent to another one, and return the copies.

    A key that the first one has not is left out. The copies tell where they are from, and last
    no longer than what was copied, which stays as it is. ``actor``: who does it, as in events.

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
        locked = Space.lock_each({(each, workspace): keys for each in (source, target)}, actor)
        space = locked[target, workspace]
        if space is None or locked[source, workspace] is None:
            raise no_agent()
        rows = select(
            f"SELECT {COLUMNS} FROM agents_agentmemoryentry WHERE workspace_id = %s"
            " AND agent_instance_id = %s AND memory_key = ANY(%s) AND expires_at > %s"
            " ORDER BY updated_at, id",
            workspace, source, keys, space.now,
        )  # fmt: skip
        made = [
            make_copy(
                Entry.from_row(row), source, space, space.now + timedelta(microseconds=number)
            )
            for number, row in enumerate(rows)
        ]
        put([(space, made)])
    return [entry for entry, _ in made]


def _check_project(agents: Sequence[UUID], workspace: UUID, project: UUID | str | None) -> None:
    """Refuse agents of another project than the one that is named."""
    found = AgentInstance.objects.filter(pk__in=agents, workspace_id=workspace)
    projects = set(found.values_list("id", "project_id"))
    allowed = {None, as_identifier(project)} if project is not None else None
    if len(projects) < len(agents) or (
        allowed is not None and any(own not in allowed for _, own in projects)
    ):
        raise no_agent()
