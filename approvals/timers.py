"""What happens to a request while nobody decides: reminders, escalation, approval, expiry.

All of it runs inside the engine's transaction (``settings.TIMER_HANDLERS``). Whether something is
due is read from the request's row, once that is locked (``approvals/services/clock.py``): a timer
that comes too late, twice, or after a question stopped the clock finds nothing to do. Like a
person's decision an end moves a pending request by one conditional update, so whoever comes first
wins.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q

from approvals.models import (
    ApprovalApprover,
    ApprovalDecision,
    ApprovalStatus,
    Door,
    Outcome,
    WorkflowStepApproval,
)
from approvals.references import resolve_approvers
from approvals.services.chain import record_decisions
from approvals.services.clock import due_reminders, moment_after, plan_anew
from approvals.services.records import (
    approval_event,
    decision_events,
    forget_timers,
    wake_executions,
    write_outcomes,
)
from workflows.events import SYSTEM, EventDraft, EventType
from workflows.models import WorkflowExecution
from workflows.policies import FORBID_AUTO_APPROVAL


def auto_approve(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Approve requests that nobody decided, as the system's decision and never a person's."""
    _lock_executions(subject_ids)
    due = []
    for approval in _lock(subject_ids, _not_expired(now)):
        seconds = approval.auto_approve_after_seconds
        if seconds is not None and moment_after(approval, seconds) <= now and _is_free(approval):
            approval.status = ApprovalStatus.APPROVED
            due.append(approval)
    return _end(due, now)


def expire(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """End requests whose time is up, as their ``on_timeout`` says; or escalate them, once."""
    _lock_executions(subject_ids)
    ended, escalated = [], []
    for approval in _lock(subject_ids, Q(expires_at__lte=now)):
        on_timeout = approval.approval_metadata.get("on_timeout")
        if on_timeout == "escalate" and approval.escalated_at is None:
            approval.expires_at = now + _time_given(approval)
            escalated.append(approval)
            continue
        is_approved = on_timeout == "approve" and _is_free(approval)
        approval.status = ApprovalStatus.APPROVED if is_approved else ApprovalStatus.TIMEOUT
        ended.append(approval)
    return [*_escalate(escalated, now), *_end(ended, now)]


def escalate(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Let those decide too to whom requests are escalated that nobody decided."""
    due = []
    for approval in _lock(subject_ids, Q(escalated_at__isnull=True) & _not_expired(now)):
        seconds = approval.approval_metadata.get("escalate_after_seconds")
        if seconds is not None and moment_after(approval, seconds) <= now:
            due.append(approval)
    return _escalate(due, now)


def remind(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Say of requests that nobody has decided them, once for each reminder that is due."""
    events, reminded = [], []
    for approval in _lock(subject_ids, _not_expired(now)):
        due = due_reminders(approval, now)
        for seconds in due:
            event = approval_event(
                approval, EventType.APPROVAL_REMINDED, "not decided yet", actor=SYSTEM
            )
            event.data["reminder_seconds"] = seconds
            events.append(event)
        if due:
            approval.reminded_seconds = due[-1]
            reminded.append(approval)
    WorkflowStepApproval.objects.bulk_update(reminded, ["reminded_seconds"])
    plan_anew(reminded)
    return events


def _escalate(approvals: Sequence[WorkflowStepApproval], now: datetime) -> list[EventDraft]:
    """Widen the circle of locked requests, by those of its names that still stand for somebody."""
    events, added = [], []
    for approval in approvals:
        names = approval.approval_metadata.get("escalate_to", ())
        found = resolve_approvers(names, workspace_id=approval.workspace_id)
        for name, approver in found.items():
            whom = {
                "user_id": approver.user_id,
                "group_id": approver.group_id,
                "role": approver.role,
            }
            added.append(ApprovalApprover(approval=approval, name=name, is_escalation=True, **whom))
        approval.escalated_at = now
        words = f"escalated to {', '.join(names)}"
        event = approval_event(approval, EventType.APPROVAL_ESCALATED, words, actor=SYSTEM)
        event.data["escalated_to"] = list(names)
        events.append(event)
    ApprovalApprover.objects.bulk_create(added)
    WorkflowStepApproval.objects.bulk_update(approvals, ["escalated_at", "expires_at"])
    plan_anew(approvals)
    return events


def _end(approvals: Sequence[WorkflowStepApproval], now: datetime) -> list[EventDraft]:
    """End locked requests with the status that they carry, and wake their executions."""
    for approval in approvals:
        approval.responded_at = now
    write_outcomes(approvals)
    forget_timers([approval.id for approval in approvals])
    record_decisions(
        [
            ApprovalDecision(
                approval=approval,
                outcome=Outcome(approval.status),
                digest=approval.digest,
                revision=approval.revision,
                door=Door.SYSTEM,
                decided_at=now,
            )
            for approval in approvals
        ]
    )
    wake_executions([a.workflow_execution_id for a in approvals if a.workflow_execution_id], now)
    return decision_events(approvals, actor=SYSTEM)


def _lock_executions(approval_ids: Sequence[UUID]) -> None:
    """Lock the executions of those requests that still wait; they come first in the lock order."""
    pending = WorkflowStepApproval.objects.pending().filter(id__in=approval_ids)
    ids = list(pending.values_list("workflow_execution_id", flat=True))
    executions = WorkflowExecution.objects.filter(id__in=ids).order_by("id")
    list(executions.select_for_update().values_list("id", flat=True))


def _lock(approval_ids: Sequence[UUID], condition: Q) -> list[WorkflowStepApproval]:
    """Lock those of the requests that still wait, whose clock runs, and that meet a condition."""
    pending = WorkflowStepApproval.objects.pending().filter(
        condition, clock_stopped_at__isnull=True, id__in=approval_ids
    )
    rows = pending.select_related("workspace").order_by("id")
    return list(rows.select_for_update(of=("self",)))


def _not_expired(now: datetime) -> Q:
    return Q(expires_at__isnull=True) | Q(expires_at__gt=now)


def _is_free(approval: WorkflowStepApproval) -> bool:
    """Whether the workspace lets a request approve itself, which it may forbid beside names."""
    is_forbidden = approval.workspace.settings.get(FORBID_AUTO_APPROVAL, False)
    return not (is_forbidden and approval.required_approvers)


def _time_given(approval: WorkflowStepApproval) -> timedelta:
    """Return how long a request was to wait at most when it was made."""
    assert approval.expires_at is not None
    return approval.expires_at - moment_after(approval, 0)
