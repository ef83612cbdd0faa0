"""Questions to whoever asked: nothing is decided, and the clock stands still until the answer."""

from datetime import datetime, timedelta
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction

from approvals.models import ApprovalQuestion, WorkflowStepApproval
from approvals.rights import can_decide
from approvals.services.clock import plan_anew
from approvals.services.pending import lock_pending, refuse_expired
from approvals.services.records import approval_event, forget_timers
from workflows.bulk import wake_engine
from workflows.clock import database_now
from workflows.errors import Conflict, NotPermitted
from workflows.events import EventType, append_events
from workflows.models import Role, User
from workflows.services.access import require_role
from workflows.services.texts import check_text

MAX_TEXT = 10_000


def ask(approval_id: UUID, *, user: User, body: str) -> ApprovalQuestion:
    """Ask something about a request, and stop its clock.

    Raises NotVisible, NotPermitted unless ``user`` may decide on it, InvalidInput for a bad text,
    and Conflict ``already_decided`` or ``expired``.
    """
    check_text("body", body, MAX_TEXT, is_required=True)
    with transaction.atomic():
        approval = lock_pending(approval_id, user)
        now = database_now()
        eligibility = can_decide(user, approval)
        if not eligibility.allowed:
            raise NotPermitted(eligibility.why, code=eligibility.code)
        refuse_expired(approval, now)
        question: ApprovalQuestion = ApprovalQuestion.objects.create(
            approval=approval, asked_by=user, body=body, asked_at=now
        )
        if approval.clock_stopped_at is None:
            approval.clock_stopped_at = now
            approval.save(update_fields=["clock_stopped_at", "updated_at"])
            forget_timers([approval.id])
        _tell(question, EventType.QUESTION_ASKED, "asked about", user, now)
    return question


def answer(question_id: UUID, *, user: User, body: str) -> ApprovalQuestion:
    """Answer a question; with the last open one answered, the clock goes on where it stood.

    Raises NotVisible, NotPermitted unless ``user`` asked for the decision or is an operator,
    InvalidInput for a bad text, and Conflict ``already_answered`` or ``already_decided``.
    """
    check_text("body", body, MAX_TEXT, is_required=True)
    with transaction.atomic():
        found = ApprovalQuestion.objects.filter(id=question_id).values_list("approval_id")
        approval = lock_pending(found[0][0] if found else None, user)
        question = ApprovalQuestion.objects.select_related("answered_by").get(id=question_id)
        if approval.requested_by_id != user.pk:
            require_role(user, approval.workspace_id, Role.OPERATOR)
        if question.answered_by is not None:
            raise Conflict(
                f"{question.answered_by.username} has answered this already.",
                code="already_answered",
                answered_by=question.answered_by.username,
                answered_at=question.answered_at,
            )
        now = database_now()
        question.approval = approval
        question.answer, question.answered_by, question.answered_at = body, user, now
        question.save(update_fields=["answer", "answered_by", "answered_at"])
        if not approval.questions.filter(answered_at__isnull=True).exists():
            _go_on(approval, now)
        _tell(question, EventType.QUESTION_ANSWERED, "explained", user, now)
    return question


def _go_on(approval: WorkflowStepApproval, now: datetime) -> None:
    """Let the clock of a request go on: all that is still to come comes later by its standstill."""
    assert approval.clock_stopped_at is not None
    stood_still: timedelta = now - approval.clock_stopped_at
    approval.clock_stopped_at = None
    approval.stood_still_seconds += stood_still.total_seconds()
    if approval.expires_at is not None:
        approval.expires_at += stood_still
    approval.save(
        update_fields=["clock_stopped_at", "stood_still_seconds", "expires_at", "updated_at"]
    )
    plan_anew([approval])
    wake_engine()


def _tell(
    question: ApprovalQuestion, event_type: EventType, words: str, user: User, now: datetime
) -> None:
    event = approval_event(question.approval, event_type, words, actor=f"user:{user.username}")
    event.data |= {"question_id": str(question.id), "question": question.body}
    if question.answer:
        event.data["answer"] = question.answer
    append_events([event], now)


aask = sync_to_async(ask)
aanswer = sync_to_async(answer)
