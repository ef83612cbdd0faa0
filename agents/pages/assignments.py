"""Which steps agents took, and why they and no others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from agents.models import AgentInstance, AgentReservation
from agents.pages.performance import earliest_id
from workflows.models import WorkflowStepExecution

#: Assignments from before are not looked for.
LOOKED_BACK: Final = timedelta(days=30)
CANDIDATES_SHOWN: Final = 20

STRATEGIES: Final = {
    "capability_match": "best match",
    "least_loaded": "least loaded",
    "round_robin": "in turn",
}
#: What became of an attempt, as a status; one without an outcome runs, or its worker died.
_STATUSES: Final = {"completed": "completed", "failed": "failed", "moved": "failed"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that was thought of. `score` and `load` are None of one that was refused."""

    slug: str
    score: float | None
    load: int | None
    refusal: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """An attempt that an agent took.

    Attributes:
        step: None once its run is no longer kept.
        taken_from: the agents that had failed at it just before, the last one first.
    """

    reservation: AgentReservation
    step: WorkflowStepExecution | None
    status: str
    seconds: float | None
    candidates: tuple[Candidate, ...]
    taken_from: str

    @property
    def is_moved(self) -> bool:
        """Whether another agent took over."""
        return self.reservation.outcome == "moved"

    @property
    def strategy(self) -> str:
        """By what the agent was chosen, in words."""
        return strategy_of(self.reservation)


def latest_assignments(
    workspace_id: UUID, now: datetime, *, count: int, agent: AgentInstance | None = None
) -> list[Assignment]:
    """Return the newest assignments in a workspace, or of one of its agents; three queries."""
    found = AgentReservation.objects.filter(
        workspace_id=workspace_id, id__gte=earliest_id(now - LOOKED_BACK)
    )
    if agent is not None:
        found = found.filter(agent_instance=agent)
    newest = "-id" if agent is None else "-reserved_at"
    rows = list(found.select_related("agent_instance").order_by(newest)[:count])
    steps = steps_by_id(workspace_id, {row.step_execution_id for row in rows})
    known = _slugs_of(workspace_id, rows)
    return [
        Assignment(
            reservation=row,
            step=steps.get(row.step_execution_id),
            status=_STATUSES.get(row.outcome, "pending" if row.expires_at <= now else "running"),
            seconds=((row.released_at or now) - row.reserved_at).total_seconds(),
            candidates=candidates_of(row, known),
            taken_from=taken_from(row),
        )
        for row in rows
    ]


def steps_by_id(workspace_id: UUID, ids: Collection[UUID]) -> dict[UUID, WorkflowStepExecution]:
    """Return those of the steps that are still kept, with what a link to them says."""
    steps = WorkflowStepExecution.objects.filter(execution__workspace_id=workspace_id)
    steps = steps.select_related("execution__workflow").only(
        "id", "name", "revision", "execution__number", "execution__workflow__name"
    )
    found: dict[UUID, WorkflowStepExecution] = steps.in_bulk(ids)
    return found


def candidates_of(row: AgentReservation, known: set[str]) -> tuple[Candidate, ...]:
    """Return who was thought of, the best first, then who was refused.

    `known` are the slugs that the workspace has: a reason that names others names none of its own.
    """
    chosen = row.agent_instance.slug
    eligible, refused = _entries(row.reason, "candidates"), _entries(row.reason, "refused")
    candidates = [
        Candidate(slug, facts.get("score"), facts.get("load"), "", slug == chosen)
        for slug, facts in eligible.items()
        if isinstance(facts, Mapping)
    ]
    candidates.sort(key=lambda each: (not each.is_chosen, -(each.score or 0), each.slug))
    candidates += [
        Candidate(slug, None, None, str(why), is_chosen=False)
        for slug, why in sorted(refused.items())
        if slug in known and slug not in eligible
    ]
    return tuple(candidates[:CANDIDATES_SHOWN])


def strategy_of(row: AgentReservation) -> str:
    """Return by what an agent was chosen, in words."""
    name = str(row.reason.get("strategy", ""))
    return STRATEGIES.get(name, name.replace("_", " "))


def taken_from(row: AgentReservation) -> str:
    """Return the agents that had failed at the step just before, the last one first."""
    names = row.reason.get("takes_over_from")
    return ", ".join(map(str, names)) if isinstance(names, list) else ""


def _entries(reason: Any, name: str) -> Mapping[str, Any]:
    entries = reason.get(name) if isinstance(reason, Mapping) else None
    return entries if isinstance(entries, Mapping) else {}


def _slugs_of(workspace_id: UUID, rows: list[AgentReservation]) -> set[str]:
    named = {slug for row in rows for slug in _entries(row.reason, "refused")}
    agents = AgentInstance.objects.filter(workspace_id=workspace_id, slug__in=named)
    return set(agents.values_list("slug", flat=True))
