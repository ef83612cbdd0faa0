"""What is noted when attempts of agent steps end, in the transaction of their results."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from agents.models import AgentReservation
from agents.services.circuit import mark_failed, mark_recovered
from agents.services.refusals import tell_refusals
from agents.services.step_handoffs import Wanted, hand_on_results
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.events import EventDraft
from workflows.handlers import Ended


def release(ended: Sequence[Ended], now: datetime) -> list[EventDraft]:
    """Give back what attempts held; mark the agents that failed, and those that recovered; hand
    on what the steps say.

    One that was abandoned leaves no reservation behind, for its number may be used again.
    """
    by_outcome: dict[str, list[UUID]] = {}
    abandoned = []
    failures: dict[UUID, Failed] = {}
    outputs: dict[UUID, object] = {}
    for each in ended:
        step_execution_id, outcome = each.step_execution_id, each.outcome
        if outcome is None:
            abandoned.append(step_execution_id)
            continue
        by_outcome.setdefault(_word(outcome), []).append(step_execution_id)
        if isinstance(outcome, Completed):
            outputs[step_execution_id] = outcome.output
        elif isinstance(outcome, Failed) and outcome.elsewhere:
            failures[step_execution_id] = outcome
    held = AgentReservation.objects.filter(released_at__isnull=True)
    drafts = tell_refusals(ended)
    if failures:
        agents = held.filter(step_execution_id__in=failures)
        faults = {
            step_id: (agent_id, failures[step_id])
            for step_id, agent_id in agents.values_list("step_execution_id", "agent_instance_id")
        }
        drafts += mark_failed(faults, now)
    if outputs:
        done = list(
            held.filter(step_execution_id__in=outputs).values_list(
                "step_execution_id",
                "agent_instance_id",
                "agent_instance__faults",
                "reason__handoff",
            )
        )
        if recovered := {agent_id for _, agent_id, faults, _ in done if faults}:
            drafts += mark_recovered(recovered)
        drafts += hand_on_results(
            [Wanted(step_id, agent, to, outputs[step_id]) for step_id, agent, _, to in done if to],
            now,
        )
    for word, ids in by_outcome.items():
        held.filter(step_execution_id__in=ids).update(released_at=now, outcome=word)
    if abandoned:
        held.filter(step_execution_id__in=abandoned).delete()
    return drafts


def _word(outcome: Outcome) -> str:
    if isinstance(outcome, Completed):
        return "completed"
    return "moved" if isinstance(outcome, Failed) and outcome.elsewhere else "failed"
