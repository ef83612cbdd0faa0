"""The agents that could take the steps of a turn, as they stand, locked and with their load.

There may be a thousand of them, of which one is chosen: they are read without models, and what
only the chosen one is asked for stays as the database gives it until then.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.models import AgentDefinition, AgentInstance, AgentReservation
from agents.references import ids_in
from agents.services.heartbeats import silent_since
from workflows.bulk import Column, as_moment, select, update_rows

_INSTANCES = AgentInstance._meta.db_table
_DEFINITIONS = AgentDefinition._meta.db_table
_HEARTBEAT = "heartbeat_seconds"
_ORDER = (Column("id", "uuid"), Column("last_assigned_at", "timestamptz"))


@dataclass(slots=True, eq=False)
class Skill:
    """What agents have in common: their definition."""

    id: UUID
    slug: str
    agent_type: str
    config: dict[str, Any]
    capabilities: Sequence[str]


@dataclass(slots=True)
class Applicant:
    """An agent as far as assigning needs to know it.

    ``key``, ``config_text`` and ``assigned_text`` are its id, its own config and when it was last
    assigned, as the database writes them; the first and the last have the order of what they stand
    for. ``load``: how many steps it has; ``promised``: how many places are left to steps that wait
    longer; ``silent_since``: see ``agents/services/heartbeats.py``.
    """

    key: str
    config_text: str
    slug: str
    name: str
    max_concurrency: int
    faults: int
    assigned_text: str
    probe_at: datetime | None
    workspace_id: UUID
    project_id: UUID | None
    skill: Skill
    load: int
    promised: int = 0
    silent_since: datetime | None = None

    @property
    def id(self) -> UUID:
        return UUID(self.key)

    @property
    def config(self) -> dict[str, Any]:
        """The definition's, with the agent's own over it."""
        return {**self.skill.config, **json.loads(self.config_text)}


def lock_applicants(
    workspace_ids: Collection[UUID], names: Collection[str], now: datetime
) -> list[Applicant]:
    """Lock the agents of workspaces that ``names`` stand for, in the order of their ids.

    Only usable ones: as ``AgentInstanceQuerySet.usable`` says.
    """
    workspaces, slugs, ids = list(workspace_ids), list(names), ids_in(names)
    rows = select(
        "SELECT CAST(id AS text), CAST(config AS text), slug, name, max_concurrency, faults,"
        " coalesce(CAST(last_assigned_at AS text), ''),"
        " probe_at, CAST(workspace_id AS text), CAST(project_id AS text),"
        " CAST(definition_id AS text)"
        f" FROM {_INSTANCES}"
        " WHERE workspace_id = ANY(%s)"
        " AND is_enabled AND (status <> 'offline' OR is_silent)"
        " AND (status <> 'error' OR faults > 0)"
        f" AND definition_id IN (SELECT id FROM {_DEFINITIONS} WHERE is_enabled)"
        " AND (slug = ANY(%s) OR id = ANY(%s) OR definition_id IN"
        f" (SELECT id FROM {_DEFINITIONS} WHERE slug = ANY(%s) OR id = ANY(%s)))"
        " ORDER BY id FOR NO KEY UPDATE",
        workspaces, slugs, ids, slugs, ids,
    )  # fmt: skip
    skills = _skills({row[10] for row in rows})
    load = _load(workspaces, now)
    ids_of = {key: UUID(key) for key in {key for row in rows for key in row[8:10] if key}}
    found = [
        Applicant(
            key, config, slug, name, places, faults, assigned, as_moment(probe_at),
            ids_of[workspace], ids_of.get(project), skills[definition], load.get(key, 0),
        )
        for (
            key, config, slug, name, places, faults, assigned, probe_at, workspace, project,
            definition,
        ) in rows
    ]  # fmt: skip
    _note_silence(found, now)
    return found


def last_assigned(applicants: Iterable[Applicant]) -> datetime | None:
    """Return when any of them was assigned last."""
    return as_moment(max((agent.assigned_text for agent in applicants), default="") or None)


def write_order(assigned: Mapping[str, datetime]) -> None:
    """Write down when agents were last assigned, by their keys."""
    rows = [(UUID(key), moment) for key, moment in assigned.items()]
    update_rows(_INSTANCES, _ORDER, rows)


def _note_silence(applicants: Iterable[Applicant], now: datetime) -> None:
    """Note of the few agents that have to be heard of since when nothing was."""
    watched = {
        agent.id: agent
        for agent in applicants
        if _HEARTBEAT in agent.config_text or _HEARTBEAT in agent.skill.config
    }
    if watched:
        for agent in AgentInstance.objects.filter(id__in=watched).select_related("definition"):
            watched[agent.id].silent_since = silent_since(agent, now)


def _skills(keys: Collection[str]) -> dict[str, Skill]:
    rows = select(
        "SELECT CAST(id AS text), slug, agent_type, CAST(config AS text),"
        f" CAST(capabilities AS text) FROM {_DEFINITIONS} WHERE id = ANY(%s)",
        [UUID(key) for key in keys],
    )
    return {
        key: Skill(UUID(key), slug, agent_type, json.loads(config), json.loads(capabilities))
        for key, slug, agent_type, config, capabilities in rows
    }


def _load(workspaces: Sequence[UUID], now: datetime) -> dict[str, int]:
    """Return how many steps each agent has that has any, by its key."""
    table = AgentReservation._meta.db_table
    held = select(
        f"SELECT CAST(agent_instance_id AS text), count(*) FROM {table}"
        " WHERE workspace_id = ANY(%s) AND released_at IS NULL AND expires_at > %s"
        " GROUP BY agent_instance_id",
        workspaces, now,
    )  # fmt: skip
    return dict(held)
