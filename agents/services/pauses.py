"""Where agents stopped to ask people, kept until their steps have ended."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from agents.models import AgentPause, AgentReservation
from agents.work import Work
from workflows.handlers import Ended, StepContext
from workflows.models import WorkflowStepExecution


def take_up(contexts: Iterable[StepContext]) -> dict[UUID, dict[str, Any]]:
    """Return where the agents of steps stopped, of those that did, with the ``answer`` to what they
    asked. It is kept there: the step may yet have to ask something else before it goes on."""
    answers = {c.step_execution_id: c.answer for c in contexts if c.answer is not None}
    if not answers:
        return {}
    pauses = list(AgentPause.objects.filter(id__in=answers))
    answered = []
    for pause in pauses:
        answer = answers[pause.id]
        if _is_about(pause.memo, answer):
            pause.memo["answer"] = answer
            answered.append(pause)
    AgentPause.objects.bulk_update(answered, ["memo"])
    return {pause.id: pause.memo for pause in pauses}


def _is_about(memo: dict[str, Any], answer: dict[str, Any]) -> bool:
    """Tell whether people answered what the agent stopped for."""
    payload = answer.get("payload")
    tool = payload.get("tool") if isinstance(payload, dict) else None
    return bool(tool) and tool == memo.get("asks_about")


def write_memos(
    ended: Iterable[Ended], held: Mapping[UUID, AgentReservation], now: datetime
) -> None:
    """Keep where attempts stopped, as long as another one may go on from there.

    ``held``: what the attempts hold.
    """
    memos = {}
    for each in ended:
        if isinstance(each.notes, Work) and each.notes.memo is not None:
            memos[each.step_execution_id] = each.notes.memo
    places = [held[step_execution_id] for step_execution_id in memos if step_execution_id in held]
    if not places:
        return
    AgentPause.objects.bulk_create(
        [
            AgentPause(
                id=place.step_execution_id,
                workspace_id=place.workspace_id,
                agent_instance_id=place.agent_instance_id,
                memo=memos[place.step_execution_id],
                paused_at=now,
            )
            for place in places
        ],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["agent_instance", "memo", "paused_at"],
    )


def forget_memos() -> int:
    """Delete what no attempt will go on from, and return how many that were."""
    is_open = WorkflowStepExecution.objects.filter(id=OuterRef("id"), completed_at=None)
    return AgentPause.objects.filter(~Exists(is_open)).delete()[0]
