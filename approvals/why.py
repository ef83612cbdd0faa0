"""What an open request is waiting for (`settings.STEP_EXPLAINERS`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Prefetch

from approvals.models import ApprovalQuestion, WorkflowStepApproval
from approvals.pages.following import Effect, silence_of
from approvals.pages.people import say_needed, say_questions
from approvals.rights import may_decide
from workflows.models import User, WorkflowExecution
from workflows.services.explain import Reason, about
from workflows.services.open_steps import OpenStep

#: What silence leads to, at its moment.
_SILENCE: Final[dict[Effect, str]] = {
    "approves": "If nobody decides, MGX approves it by itself.",
    "continues": "If nobody decides, the run goes on without an answer.",
    "escalates": "If nobody decides, more people are asked.",
    "leads_on": "If nobody decides, a step runs that only this starts.",
    "fails": "If nobody decides, the step fails.",
    "nothing": "It waits for as long as that takes.",
}


def explain(
    steps: Sequence[OpenStep], execution: WorkflowExecution, user: User, now: datetime
) -> dict[UUID, Reason]:
    """Tell who may decide on what, since when it waits, and what happens if nobody does, or what
    question keeps the clock from going on."""
    by_id = {step.id: step for step in steps if step.row is not None}
    pending = WorkflowStepApproval.objects.pending().filter(step_execution__in=list(by_id))
    unanswered = ApprovalQuestion.objects.filter(answered_at=None).select_related("asked_by")
    pending = pending.annotate(can_decide=may_decide(user)).defer("approval_data", "description")
    return {
        approval.step_execution_id: _reason(by_id[approval.step_execution_id], approval, user)
        for approval in pending.select_related("requested_by").prefetch_related(
            "approvers__user", "approvers__group", "decisions", Prefetch("questions", unanswered)
        )
    }


def _reason(step: OpenStep, approval: WorkflowStepApproval, user: User) -> Reason:
    silence = silence_of(approval)
    ending = _SILENCE[silence.effect]
    if silence.is_stopped:
        ending = f"{say_questions(approval, user)}: until then the clock stands still."
    return about(
        step,
        "waiting_for_approval",
        f"“{approval.title}” waits for a decision. Needed: {say_needed(approval, user)}. {ending}",
        since=approval.requested_at,
        until=None if silence.is_stopped else silence.at,
        facts={
            "approval_id": str(approval.pk),
            "can_decide": approval.can_decide,  # type: ignore[attr-defined]  # annotated
            "required_approvers": approval.required_approvers,
            "if_nobody_decides": "nothing" if silence.is_stopped else silence.effect,
            "clock_stopped_at": approval.clock_stopped_at,
        },
    )
