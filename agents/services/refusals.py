"""What models asked for and were refused (``agents/backends/tools.py``), told by an event each."""

from collections.abc import Sequence
from typing import Any

from agents.models import AgentReservation, AgentType
from workflows.core.outcomes import Completed
from workflows.events import EventDraft, EventType
from workflows.handlers import Ended
from workflows.models import WorkflowStepExecution


def tell_refusals(ended: Sequence[Ended]) -> list[EventDraft]:
    """Return an event for each model that asked for a tool which its config does not list.

    Called before the attempts' places are given back.
    """
    refused = {
        each.step_execution_id: names
        for each in ended
        if isinstance(each.outcome, Completed) and (names := _refused(each.outcome.output))
    }
    if not refused:
        return []
    steps = WorkflowStepExecution.objects.in_bulk(refused)
    # What another agent says by itself is only its output.
    held = AgentReservation.objects.filter(
        released_at__isnull=True,
        step_execution_id__in=refused,
        agent_instance__definition__agent_type=AgentType.LLM,
    ).select_related("agent_instance")
    drafts = []
    for place in held:
        agent, step = place.agent_instance, steps[place.step_execution_id]
        names = refused[step.pk]
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


def _refused(output: Any) -> list[str]:
    """Return the names of the tools that an output says were refused, each once."""
    tools = output.get("tools") if isinstance(output, dict) else None
    named = [
        call["tool"]
        for call in (tools if isinstance(tools, list) else ())
        if isinstance(call, dict) and call.get("outcome") == "refused" and "tool" in call
    ]
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))
