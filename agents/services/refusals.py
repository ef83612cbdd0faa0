"""What models asked for and were refused (``agents/backends/tools.py``), told by an event each."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from agents.models import AgentReservation, AgentType
from workflows.core.outcomes import Completed
from workflows.events import EventDraft, EventType
from workflows.handlers import Ended
from workflows.models import WorkflowStepExecution


def tell_refusals(
    ended: Sequence[Ended], held: Mapping[UUID, AgentReservation]
) -> list[EventDraft]:
    """Return an event for each model that asked for a tool which its config does not list."""
    refused = {
        each.step_execution_id: names
        for each in ended
        if isinstance(each.outcome, Completed)
        # What another agent says by itself is only its output.
        and _is_model(held.get(each.step_execution_id))
        and (names := _refused(each.outcome.output))
    }
    if not refused:
        return []
    steps = WorkflowStepExecution.objects.in_bulk(refused)
    drafts = []
    for step_id, names in refused.items():
        place, step = held[step_id], steps[step_id]
        agent = place.agent_instance
        draft = EventDraft(
            EventType.AGENT_ACTIVITY,
            place.workspace_id,
            actor=f"agent:{agent.slug}",
            workflow_execution_id=step.execution_id,
            workflow_step_id=step.pk,
            agent_id=agent.pk,
            data={"agent": agent.slug, "refused_tools": names},
            message=f"{agent.name} asked for tools that it does not have: {', '.join(names)}",
        )
        drafts.append(draft)
    return drafts


def _is_model(place: AgentReservation | None) -> bool:
    return place is not None and place.agent_instance.definition.agent_type == AgentType.LLM


def _refused(output: Any) -> list[str]:
    """Return the names of the tools that an output says were refused, each once."""
    tools = output.get("tools") if isinstance(output, dict) else None
    named = [
        call["tool"]
        for call in (tools if isinstance(tools, list) else ())
        if isinstance(call, dict) and call.get("outcome") == "refused" and "tool" in call
    ]
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))
