"""The clock of a request: what happens to it by itself, and when.

Every moment follows from the request's row, so its timers can be thrown away and made again:
when a question stops the clock, when its answer lets it go on, when a reminder was sent.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from approvals.models import WorkflowStepApproval
from approvals.services.records import forget_timers
from workflows.bulk import insert_objects
from workflows.models import Timer

AUTO_APPROVE = "approval_auto_approve"
EXPIRY = "approval_expiry"
REMINDER = "approval_reminder"
ESCALATION = "approval_escalation"


def timers_of(approval: WorkflowStepApproval) -> list[Timer]:
    """Return the timers that a pending request has now, one of each kind at most; unsaved."""
    if approval.clock_stopped_at is not None:
        return []
    return [
        Timer(workspace_id=approval.workspace_id, kind=kind, subject_id=approval.id, due_at=due_at)
        for kind, due_at in _moments(approval)
    ]


def moment_after(approval: WorkflowStepApproval, seconds: float) -> datetime:
    """Return the moment at which a request has waited for so long, its clock's stops left out."""
    return approval.requested_at + timedelta(seconds=seconds + approval.stood_still_seconds)


def due_reminders(approval: WorkflowStepApproval, now: datetime) -> list[int]:
    """Return those of the ``reminders`` that are to be sent now, in seconds after the request."""
    return [each for each in _reminders_left(approval) if moment_after(approval, each) <= now]


def plan_anew(approvals: Sequence[WorkflowStepApproval]) -> None:
    """Give pending requests the timers that they have now, in the place of those before."""
    if approvals:
        forget_timers([approval.id for approval in approvals])
        insert_objects([timer for approval in approvals for timer in timers_of(approval)])


def _reminders_left(approval: WorkflowStepApproval) -> list[int]:
    reminders = approval.approval_metadata.get("reminders", ())
    return sorted({each for each in reminders if each > approval.reminded_seconds})


def _moments(approval: WorkflowStepApproval) -> Iterator[tuple[str, datetime]]:
    if approval.expires_at is not None:
        yield EXPIRY, approval.expires_at
    if approval.auto_approve_after_seconds is not None:
        yield AUTO_APPROVE, moment_after(approval, approval.auto_approve_after_seconds)
    if reminders := _reminders_left(approval):
        yield REMINDER, moment_after(approval, reminders[0])
    seconds = approval.approval_metadata.get("escalate_after_seconds")
    if seconds is not None and approval.escalated_at is None:
        yield ESCALATION, moment_after(approval, seconds)
