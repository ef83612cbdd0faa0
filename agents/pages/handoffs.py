"""What an agent handed to others and got from them, and through whose hands it had gone before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from agents.models import AgentHandoff, AgentInstance
from workflows.models import WorkflowStepExecution

HANDOFFS_SHOWN: Final = 10
#: Handoffs before one that are named; `hops` counts them all.
_EARLIER_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class HandoffLine:
    """A handoff. `earlier`: the names of the agents through whose hands it had gone before."""

    handoff: AgentHandoff
    is_given: bool
    step: WorkflowStepExecution | None
    earlier: tuple[str, ...]

    @property
    def other(self) -> AgentInstance:
        """The agent at its other end."""
        return self.handoff.to_agent if self.is_given else self.handoff.from_agent

    @property
    def keys(self) -> str:
        """The names of what was handed over."""
        copied = self.handoff.context_keys
        keys = [*self.handoff.context, *(copied if isinstance(copied, list) else ())]
        return ", ".join(map(str, keys))


def latest_handoffs(agent: AgentInstance) -> list[HandoffLine]:
    """Return the newest handoffs that an agent gave or took, the latest first."""
    found = AgentHandoff.objects.filter(
        Q(from_agent=agent) | Q(to_agent=agent), workspace_id=agent.workspace_id
    )
    found = found.select_related("from_agent", "to_agent").defer("handoff_metadata")
    rows = list(found.order_by("-created_at", "-pk")[:HANDOFFS_SHOWN])
    parents = _earlier(rows)
    steps: Any = WorkflowStepExecution.objects.filter(execution__workspace_id=agent.workspace_id)
    steps = steps.select_related("execution__workflow").only(
        "id", "name", "execution__number", "execution__workflow__name"
    )
    known = steps.in_bulk([row.step_execution_id for row in rows if row.step_execution_id])
    return [
        HandoffLine(
            handoff=row,
            is_given=row.from_agent_id == agent.pk,
            step=known.get(row.step_execution_id),
            earlier=tuple(_line(row, parents)),
        )
        for row in rows
    ]


def _earlier(rows: Sequence[AgentHandoff]) -> dict[UUID, AgentHandoff]:
    """Return what the handoffs continue, a query for each step back that any of them goes."""
    known = {row.pk: row for row in rows}
    for _ in range(_EARLIER_AT_MOST):
        wanted = {row.parent_id for row in known.values() if row.parent_id} - known.keys()
        if not wanted:
            break
        found = AgentHandoff.objects.filter(pk__in=wanted).select_related("from_agent")
        before = found.defer("context", "handoff_metadata")
        if not before:
            break
        known |= {row.pk: row for row in before}
    return known


def _line(row: AgentHandoff, known: dict[UUID, AgentHandoff]) -> list[str]:
    names: list[str] = []
    parent = known.get(row.parent_id) if row.parent_id else None
    while parent is not None and len(names) < _EARLIER_AT_MOST:
        names.append(parent.from_agent.name)
        parent = known.get(parent.parent_id) if parent.parent_id else None
    return names[::-1]
