"""What is noted when attempts of agent steps end, in the transaction of their results."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from agents.models import AgentReservation
from agents.services.circuit import mark_failed, mark_recovered
from agents.services.heartbeats import note_life
from agents.services.held import read_held
from agents.services.messages import write_messages
from agents.services.pauses import write_memos
from agents.services.refusals import tell_refusals
from agents.services.results import Result, keep_and_hand_on
from agents.services.spending import note_spending
from agents.work import Work
from workflows.core.outcomes import Asks, Completed, Failed, Outcome
from workflows.events import EventDraft
from workflows.handlers import Ended


def release(ended: Sequence[Ended], now: datetime) -> list[EventDraft]:
    """Give back what attempts held; mark the agents that failed, and those that recovered; keep in
    their memory what they made, and hand on what the steps say.

    One that was abandoned leaves no reservation behind, for its number may be used again.
    """
    by_outcome: dict[str, list[UUID]] = {}
    abandoned = []
    failures: dict[UUID, Failed] = {}
    completed: dict[UUID, Ended] = {}
    for each in ended:
        step_execution_id, outcome = each.step_execution_id, each.outcome
        if outcome is None:
            abandoned.append(step_execution_id)
            continue
        by_outcome.setdefault(_word(outcome), []).append(step_execution_id)
        if isinstance(outcome, Completed):
            completed[step_execution_id] = each
        elif isinstance(outcome, Failed) and outcome.elsewhere:
            failures[step_execution_id] = outcome
    held = read_held(each.step_execution_id for each in ended)
    drafts = tell_refusals(ended, held)
    write_messages(ended, held, now)
    write_memos(ended, held, now)
    faults = {
        step_id: (held[step_id].agent_instance_id, failure)
        for step_id, failure in failures.items()
        if step_id in held
    }
    if faults:
        drafts += mark_failed(faults, now)
    if places := [held[step_id] for step_id in completed if step_id in held]:
        # One that failed at another step of this very turn has not been read since.
        failed = {agent_id for agent_id, _ in faults.values()}
        if recovered := {
            place.agent_instance_id
            for place in places
            if place.agent_instance.faults or place.agent_instance_id in failed
        }:
            drafts += mark_recovered(recovered)
        drafts += note_life({place.agent_instance for place in places}, now)
        results = [_result(place, completed[place.step_execution_id]) for place in places]
        drafts += keep_and_hand_on(results, now)
    note_spending(ended, held, now)
    unreleased = AgentReservation.objects.filter(released_at__isnull=True)
    for word, ids in by_outcome.items():
        unreleased.filter(step_execution_id__in=ids).update(released_at=now, outcome=word)
    if abandoned:
        unreleased.filter(step_execution_id__in=abandoned).delete()
    return drafts


def _result(place: AgentReservation, ended: Ended) -> Result:
    assert isinstance(ended.outcome, Completed)
    work = ended.notes if isinstance(ended.notes, Work) else Work()
    return Result(
        place.step_execution_id,
        place.agent_instance,
        ended.outcome.output,
        work.remembered,
        place.reason.get("handoff"),
    )


def _word(outcome: Outcome) -> str:
    if isinstance(outcome, Completed):
        return "completed"
    if isinstance(outcome, Asks):
        return "asked"
    return "moved" if isinstance(outcome, Failed) and outcome.elsewhere else "failed"
