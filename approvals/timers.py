"""What happens to a request when nobody decides: MGX approves it, or it expires.

Both run inside the engine's transaction (``settings.TIMER_HANDLERS``). Like a person's decision
they move a pending request by one conditional update, so whoever comes first wins.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from approvals.models import (
    ApprovalDecision,
    ApprovalStatus,
    Door,
    Outcome,
    WorkflowStepApproval,
)
from approvals.services.records import decision_events, wake_executions, write_outcomes
from workflows.bulk import insert_objects
from workflows.events import SYSTEM, EventDraft
from workflows.models import WorkflowExecution


def auto_approve(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Approve requests that nobody decided, as the system's decision and never a person's."""
    not_expired = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    return _end(subject_ids, not_expired, lambda _: ApprovalStatus.APPROVED, now)


def expire(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """End requests whose time is up, as their ``on_timeout`` says."""
    return _end(subject_ids, Q(expires_at__lte=now), _outcome_of_silence, now)


def _outcome_of_silence(approval: WorkflowStepApproval) -> ApprovalStatus:
    if approval.approval_metadata.get("on_timeout") == "approve":
        return ApprovalStatus.APPROVED
    return ApprovalStatus.TIMEOUT


def _end(
    ids: Sequence[UUID],
    condition: Q,
    outcome: Callable[[WorkflowStepApproval], ApprovalStatus],
    now: datetime,
) -> list[EventDraft]:
    if not ids:
        return []
    pending = WorkflowStepApproval.objects.pending().filter(condition, id__in=ids)
    execution_ids = pending.values_list("workflow_execution_id", flat=True)
    executions = WorkflowExecution.objects.filter(id__in=list(execution_ids)).order_by("id")
    locked = list(executions.select_for_update().values_list("id", flat=True))
    approvals = list(pending.order_by("id").select_for_update(of=("self",)))
    for approval in approvals:
        approval.status = outcome(approval)
        approval.responded_at = now
    write_outcomes(approvals)
    insert_objects(
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
    wake_executions(locked, now)
    return decision_events(approvals, actor=SYSTEM)
