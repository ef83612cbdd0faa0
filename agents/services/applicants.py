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

from agents.models import AgentDefinition, AgentInstance, AgentReservation, AgentWait
from agents.references import ids_in
from agents.services.budgets import BUDGETS
from agents.services.circuit import lock_of_assigning
from agents.services.heartbeats import silent_since
from agents.services.line import STILL_WAITS
from workflows.bulk import Column, Row, as_moment, as_uuid, select_each, update_rows
from workflows.models import Workspace
from workflows.policies import MAX_AGENT_STEPS

_INSTANCES = AgentInstance._meta.db_table
_DEFINITIONS = AgentDefinition._meta.db_table
_HEARTBEAT = "heartbeat_seconds"
_ORDER = (Column("id", "uuid"), Column("last_assigned_at", "timestamptz"))
_LIMITS = (
    f"SELECT id, settings FROM {Workspace._meta.db_table} WHERE id = ANY(%s) AND ("
    + " OR ".join(f"settings ->> '{name}' IS NOT NULL" for name in (MAX_AGENT_STEPS, *BUDGETS))
    + ") ORDER BY id FOR NO KEY UPDATE"
)
_APPLICANTS = (
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
    " ORDER BY id FOR NO KEY UPDATE"
)
_SKILLS = (
    "SELECT CAST(id AS text), slug, agent_type, CAST(config AS text),"
    f" CAST(capabilities AS text) FROM {_DEFINITIONS}"
    f" WHERE id IN (SELECT definition_id FROM {_INSTANCES} WHERE workspace_id = ANY(%s))"
)
#: How many steps each agent has that has any.
_LOAD = (
    f"SELECT CAST(agent_instance_id AS text), count(*) FROM {AgentReservation._meta.db_table}"
    " WHERE workspace_id = ANY(%s) AND released_at IS NULL AND expires_at > %s"
    " GROUP BY agent_instance_id"
)
_WAITS = (
    f"SELECT id, workspace_id, agents, since, asked_at FROM {AgentWait._meta.db_table}"
    " WHERE workspace_id = ANY(%s) AND asked_at > %s ORDER BY since"
)


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


@dataclass(frozen=True, slots=True)
class Locked:
    """What steps of some workspaces are assigned from, locked until the transaction ends.

    ``limits``: the settings of those workspaces that limit their agents; ``waits``: who waits
    already, the longest first.
    """

    limits: dict[UUID, dict[str, Any]]
    applicants: list[Applicant]
    waits: list[AgentWait]


def lock_applicants(
    workspace_ids: Collection[UUID], names: Collection[str], now: datetime
) -> Locked:
    """Lock the limits of workspaces, and those of their agents that ``names`` stand for, in the
    order of their ids; then read their load and who waits for them, on the same way.

    Only usable agents: as ``AgentInstanceQuerySet.usable`` says.
    """
    workspaces, slugs, ids = list(workspace_ids), list(names), ids_in(names)
    *_, limits, rows, definitions, held, waits = select_each(
        [
            *lock_of_assigning(),
            (_LIMITS, (workspaces,)),
            (_APPLICANTS, (workspaces, slugs, ids, slugs, ids)),
            (_SKILLS, (workspaces,)),
            (_LOAD, (workspaces, now)),
            (_WAITS, (workspaces, now - STILL_WAITS)),
        ]
    )
    skills = {
        key: Skill(UUID(key), slug, agent_type, json.loads(config), json.loads(capabilities))
        for key, slug, agent_type, config, capabilities in definitions
    }
    load: dict[str, int] = dict(held)
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
    return Locked(
        {as_uuid(key): json.loads(settings) for key, settings in limits},
        found,
        [_wait(row) for row in waits],
    )


def _wait(row: Row) -> AgentWait:
    key, workspace, agents, *moments = row
    since, asked_at = map(as_moment, moments)
    assert since is not None
    assert asked_at is not None
    return AgentWait(
        id=as_uuid(key),
        workspace_id=as_uuid(workspace),
        agents=json.loads(agents),
        since=since,
        asked_at=asked_at,
    )


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
