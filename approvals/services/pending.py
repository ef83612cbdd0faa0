"""The request that a verb is about: locked, seen by the user, still waiting, not expired."""

from datetime import datetime
from uuid import UUID

from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.services.decisions import already_decided
from workflows.errors import Conflict, NotVisible
from workflows.models import User


def lock_pending(approval_id: UUID | None, user: User) -> WorkflowStepApproval:
    """Lock a request that waits; raise NotVisible, or Conflict ``already_decided``."""
    visible = WorkflowStepApproval.objects.visible_to(user).filter(id=approval_id)
    approval: WorkflowStepApproval | None = visible.select_for_update(of=("self",)).first()
    if approval is None:
        raise NotVisible("There is no such request.")
    if approval.status != ApprovalStatus.PENDING:
        raise already_decided(approval)
    return approval


def refuse_expired(approval: WorkflowStepApproval, now: datetime) -> None:
    """Raise Conflict ``expired`` where the time is up, whether or not a timer has noticed."""
    is_running = approval.clock_stopped_at is None
    if is_running and approval.expires_at is not None and approval.expires_at <= now:
        raise Conflict(
            "This request has expired. It can no longer be decided.",
            code="expired",
            expired_at=approval.expires_at,
        )
