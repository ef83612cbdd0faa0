"""What steps hand on when they complete: `config.handoff`, in the transaction of their result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from agents.models import AgentInstance
from agents.references import named
from agents.services.handoff import hand_over
from workflows.errors import MgxError, NotVisible
from workflows.events import EventDraft, EventType
from workflows.models import WorkflowStepExecution


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the agent of a step is to hand on; ``handoff``: the step's own words, and its name."""

    step_execution_id: UUID
    agent: AgentInstance
    handoff: dict[str, Any]
    output: object


def find_targets(wanted: Sequence[Wanted]) -> dict[UUID, AgentInstance | None]:
    """Return to whom each step hands something on; None where there is no such agent any more."""
    return {each.step_execution_id: _target(each) for each in wanted}


def hand_on_results(
    wanted: Sequence[Wanted],
    targets: Mapping[UUID, AgentInstance | None],
    steps: Mapping[UUID, WorkflowStepExecution],
    now: datetime,
) -> list[EventDraft]:
    """Hand on what steps made. A handoff that is refused is told; the step has completed.

    Call it with the memories of all who take part locked in the order of their ids.
    """
    drafts = []
    for each in wanted:
        draft = _hand_on(each, each.agent, targets[each.step_execution_id], now)
        draft.workflow_execution_id = steps[each.step_execution_id].execution_id
        drafts.append(draft)
    return drafts


def _target(wanted: Wanted) -> AgentInstance | None:
    found = AgentInstance.objects.filter(workspace_id=wanted.agent.workspace_id)
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
