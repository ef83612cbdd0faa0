"""What becomes of the results of agents' steps: kept in their memory, and handed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.models import AgentInstance
from agents.services.handoff import lock_memories
from agents.services.remembering import Done, keep_results
from agents.services.step_handoffs import Wanted, find_targets, hand_on_results
from workflows.events import EventDraft
from workflows.models import WorkflowStepExecution


@dataclass(frozen=True, slots=True)
class Result:
    """What a step came to, and its agent was told to remember. ``handoff``: the step's own words,
    and its name, if it hands something on."""

    step_execution_id: UUID
    agent: AgentInstance
    output: Any
    remembered: Mapping[str, Any]
    handoff: dict[str, Any] | None


def keep_and_hand_on(results: Sequence[Result], now: datetime) -> list[EventDraft]:
    """Keep results in the memories of their agents, then hand on what their steps say."""
    steps = WorkflowStepExecution.objects.only(
        "id", "execution_id", "name", "revision", "feedback"
    ).in_bulk([result.step_execution_id for result in results])
    results = [result for result in results if result.step_execution_id in steps]
    wanted = [
        Wanted(result.step_execution_id, result.agent, result.handoff, result.output)
        for result in results
        if result.handoff
    ]
    targets = find_targets(wanted)
    agents = [result.agent for result in results] + [agent for agent in targets.values() if agent]
    if wanted:  # all of them before the first is written to
        lock_memories({(agent.id, agent.workspace_id) for agent in agents})
    done = [
        Done(result.agent, steps[result.step_execution_id], result.output, result.remembered)
        for result in results
    ]
    return keep_results(done) + hand_on_results(wanted, targets, steps, now)
