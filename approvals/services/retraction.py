"""Taking a decision back: a vote while the request waits, a final one until its step goes on."""

from copy import copy
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from approvals.models import (
    ApprovalApprover,
    ApprovalDecision,
    ApprovalStatus,
    Delegation,
    Door,
    Outcome,
    WorkflowStepApproval,
)
from approvals.rights import can_decide
from approvals.services.chain import record_decisions
from approvals.services.clock import timers_of
from approvals.services.opening import required_event
from approvals.services.records import approval_event
from workflows.bulk import insert_objects
from workflows.clock import database_now
from workflows.core.ids import uuid7
from workflows.core.states import StepStatus
from workflows.errors import Conflict, NotPermitted, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import User, WorkflowExecution, WorkflowStepExecution


def can_retract(approval: WorkflowStepApproval, user: User) -> bool:
    """Tell whether ``user`` has a decision on ``approval`` that can be taken back now."""
    decision = _latest_of(approval, user)
    is_possible = decision is not None and (not decision.is_final or _still_waits(approval))
    return is_possible and can_decide(user, approval).allowed


def retract(approval_id: UUID, *, user: User, door: Door) -> WorkflowStepApproval:
    """Take back what ``user`` decided; return the request that is open then.

    A vote is withdrawn and its request goes on waiting. A final decision stays on record with its
    retraction, and a child request asks the same again, with the time that was left.

    Raises NotVisible, NotPermitted as a decision does, and Conflict: ``nothing_to_retract``, or
    ``already_continued`` once the step behind the decision has gone on; what belongs to no step
    goes on at once.
    """
    with transaction.atomic():
        approval = _lock(approval_id, user)
        now = database_now()
        decision = _latest_of(approval, user)
        if decision is None:
            raise Conflict("You have not decided this.", code="nothing_to_retract")
        eligibility = can_decide(user, approval)
        if not eligibility.allowed:
            raise NotPermitted(eligibility.why, code=eligibility.code)
        is_reopened = decision.is_final
        if is_reopened and not _still_waits(approval):
            raise Conflict(
                "What you decided has had its effect. It cannot be taken back any more.",
                code="already_continued",
                status=approval.status,
            )
        events = [_event(decision, approval, user)]
        if is_reopened:
            again = _ask_again(approval, now)
            events[0].data["asked_again"] = str(again.id)
            events.append(required_event(again, actor=events[0].actor))
        record_decisions([_retraction(decision, approval, user, door, now)])
        append_events(events, now)
    return again if is_reopened else approval


def _lock(approval_id: UUID, user: User) -> WorkflowStepApproval:
    """Lock a request that ``user`` sees, its execution before it."""
    visible = WorkflowStepApproval.objects.visible_to(user).filter(id=approval_id)
    runs = visible.values("workflow_execution_id")
    list(WorkflowExecution.objects.filter(id__in=runs).select_for_update().values_list("id"))
    approval: WorkflowStepApproval | None = visible.select_for_update(of=("self",)).first()
    if approval is None:
        raise NotVisible("There is no such request.")
    return approval


def _latest_of(approval: WorkflowStepApproval, user: User) -> ApprovalDecision | None:
    """Return the decision of ``user`` that stands, if it counts: one for content that was edited
    since does not, nor does a vote once the request has ended."""
    own = ApprovalDecision.objects.filter(
        approval=approval, user=user, retraction__isnull=True, digest=approval.digest
    ).exclude(outcome=Outcome.RETRACTED)
    is_open = approval.status == ApprovalStatus.PENDING
    found: ApprovalDecision | None = own.filter(is_final=not is_open).last()
    return found


def _still_waits(approval: WorkflowStepApproval) -> bool:
    """Tell whether the step of a request that has ended has not taken notice of it yet."""
    if approval.step_execution_id is None:
        return False
    return WorkflowStepExecution.objects.filter(
        id=approval.step_execution_id,
        status=StepStatus.WAITING,
        execution__completed_at__isnull=True,
    ).exists()


def _retraction(
    decision: ApprovalDecision,
    approval: WorkflowStepApproval,
    user: User,
    door: Door,
    now: datetime,
) -> ApprovalDecision:
    return ApprovalDecision(
        approval=approval,
        user=user,
        outcome=Outcome.RETRACTED,
        retracts=decision,
        digest=approval.digest,
        revision=approval.revision,
        door=door,
        is_final=False,
        decided_at=now,
    )


def _event(decision: ApprovalDecision, approval: WorkflowStepApproval, user: User) -> EventDraft:
    said = Outcome(decision.outcome).label.lower()
    words = f"decided ({said}), and this was taken back"
    actor = f"user:{user.username}"
    event = approval_event(approval, EventType.DECISION_RETRACTED, words, actor=actor)
    event.data |= {"outcome": decision.outcome, "is_final": decision.is_final}
    return event


def _ask_again(approval: WorkflowStepApproval, now: datetime) -> WorkflowStepApproval:
    """Open the same request anew, for the same step, of the same people."""
    since = approval.clock_stopped_at or approval.responded_at
    assert since is not None
    waited = now - since
    again = copy(approval)
    again.id = uuid7()
    again._state = type(approval._state)()
    again.parent_approval = approval
    again.status = ApprovalStatus.PENDING
    again.approved_by = again.responded_at = again.response_data = None
    again.feedback = ""
    again.clock_stopped_at = None
    # The clock goes on from where it stood as the decision was taken.
    again.stood_still_seconds = approval.stood_still_seconds + waited.total_seconds()
    again.expires_at = approval.expires_at and approval.expires_at + waited
    insert_objects([again])
    _copy(ApprovalApprover.objects.filter(approval=approval), again)
    _copy(Delegation.objects.filter(approval=approval), again)
    insert_objects(timers_of(again))
    return again


def _copy(rows: QuerySet[Any], approval: WorkflowStepApproval) -> None:
    """Give a request what another one has."""
    copies = list(rows)
    for row in copies:
        row.pk = row._meta.pk.get_default()
        row.approval = approval
    rows.model.objects.bulk_create(copies)
