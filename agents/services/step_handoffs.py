"""What steps hand on when they complete: `config.handoff`, in the transaction of their result."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from agents.models import AgentInstance
from agents.references import named
from agents.services.handoff import hand_over, lock_memories
from workflows.errors import MgxError, NotVisible
from workflows.events import EventDraft, EventType
from workflows.models import WorkflowStepExecution


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the agent of a step is to hand on; ``handoff``: the step's own words, and its name."""

    step_execution_id: UUID
    agent_id: UUID
    handoff: dict[str, Any]
    output: object


def hand_on_results(wanted: Sequence[Wanted], now: datetime) -> list[EventDraft]:
    """Hand on what steps made. A handoff that is refused is told; the step has completed."""
    if not wanted:
        return []
    sources = AgentInstance.objects.in_bulk({each.agent_id for each in wanted})
    runs = WorkflowStepExecution.objects.in_bulk({each.step_execution_id for each in wanted})
    pairs = [(each, sources[each.agent_id], _target(each, sources)) for each in wanted]
    involved = {(agent.workspace_id, agent.id) for _, *pair in pairs for agent in pair if agent}
    for workspace_id, agent_id in sorted(involved):
        lock_memories(workspace_id, [agent_id])
    drafts = []
    for each, source, target in pairs:
        draft = _hand_on(each, source, target, now)
        draft.workflow_execution_id = runs[each.step_execution_id].execution_id
        drafts.append(draft)
    return drafts


def _target(wanted: Wanted, sources: dict[UUID, AgentInstance]) -> AgentInstance | None:
    workspace_id = sources[wanted.agent_id].workspace_id
    found = AgentInstance.objects.filter(workspace_id=workspace_id)
    return found.filter(named([wanted.handoff["to_agent_id"]])).first()


def _hand_on(
    wanted: Wanted, source: AgentInstance, target: AgentInstance | None, now: datetime
) -> EventDraft:
    name, keys = wanted.handoff["step"], wanted.handoff["context_keys"]
    try:
        if target is None:
            raise NotVisible(f"There is no agent {wanted.handoff['to_agent_id']!r} any more.")
        with transaction.atomic():
            _, draft = hand_over(
                source, target.id, {name: wanted.output}, keys, {"step": name}, now,
                wanted.step_execution_id,
            )  # fmt: skip
    except MgxError as refused:
        draft = EventDraft(
            EventType.AGENT_ACTIVITY,
            source.workspace_id,
            workflow_step_id=wanted.step_execution_id,
            agent_id=source.id,
            data={"activity": "handoff_refused", "agent": source.slug, "code": refused.code},
            message=f"{source.name} could not hand on what {name} made: {refused.message}",
        )
    return draft
