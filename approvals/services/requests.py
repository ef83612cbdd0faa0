"""Requests for a decision: how they are read, waited for, remarked on and withdrawn.

How they are made stands in ``asking.py``, for free-standing ones, and ``opening.py``.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction

from approvals.models import ApprovalComment, ApprovalStatus, WorkflowStepApproval
from approvals.querysets import ApprovalQuerySet
from approvals.services.asking import create_approval_request
from approvals.services.decisions import MAX_FEEDBACK, already_decided
from approvals.services.opening import Request, open_requests, required_event
from approvals.services.records import (
    approval_event,
    decision_events,
    forget_timers,
    write_outcomes,
)
from workflows.clock import database_now
from workflows.errors import Conflict, NotVisible
from workflows.events import EventType, append_events
from workflows.models import Project, Role, User, WorkflowExecution, Workspace
from workflows.services.access import require_role
from workflows.services.texts import check_text

__all__ = [
    "Request",
    "acancel",
    "acomment",
    "acreate_approval_request",
    "await_for_approval",
    "cancel",
    "comment",
    "create_approval_request",
    "get_pending_approvals",
    "open_requests",
    "required_event",
    "visible_approval",
    "wait_for_approval",
    "withdraw",
]

MAX_WAIT_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.25


def get_pending_approvals(
    workspace: Workspace,
    project: Project | None = None,
    workflow_execution: WorkflowExecution | None = None,
) -> ApprovalQuerySet:
    """Return what waits in a workspace, in a project or an execution of it if named."""
    pending: ApprovalQuerySet = WorkflowStepApproval.objects.pending().filter(workspace=workspace)
    if project is not None:
        pending = pending.filter(project=project)
    if workflow_execution is not None:
        pending = pending.filter(workflow_execution=workflow_execution)
    return pending.order_by("expires_at", "requested_at")


def wait_for_approval(approval_id: UUID, *, user: User, timeout: float) -> WorkflowStepApproval:
    """Return the request once it is decided, or as it is after ``timeout`` seconds (at most 60).

    Raises NotVisible.
    """
    end = time.monotonic() + min(max(timeout, 0.0), MAX_WAIT_SECONDS)
    while True:
        approval = visible_approval(approval_id, user)
        left = end - time.monotonic()
        if approval.status != ApprovalStatus.PENDING or left <= 0:
            return approval
        time.sleep(min(_LOOK_EVERY_SECONDS, left))


async def await_for_approval(
    approval_id: UUID, *, user: User, timeout: float
) -> WorkflowStepApproval:
    """Do as ``wait_for_approval`` does, without holding a thread meanwhile."""
    end = time.monotonic() + min(max(timeout, 0.0), MAX_WAIT_SECONDS)
    while True:
        approval = await sync_to_async(visible_approval)(approval_id, user)
        left = end - time.monotonic()
        if approval.status != ApprovalStatus.PENDING or left <= 0:
            return approval
        await asyncio.sleep(min(_LOOK_EVERY_SECONDS, left))


def visible_approval(approval_id: UUID, user: User) -> WorkflowStepApproval:
    """Return a request of one of the user's workspaces. Raises NotVisible."""
    approval: WorkflowStepApproval | None = (
        WorkflowStepApproval.objects.visible_to(user)
        .select_related("approved_by", "workflow_execution__workflow", "workspace", "project")
        .filter(id=approval_id)
        .first()
    )
    if approval is None:
        raise NotVisible("There is no such request.")
    return approval


def comment(approval_id: UUID, *, author: User, body: str) -> ApprovalComment:
    """Add a remark that decides nothing. Raises NotVisible, and InvalidInput for a bad text."""
    check_text("body", body, MAX_FEEDBACK, is_required=True)
    approval = visible_approval(approval_id, author)
    with transaction.atomic():
        now = database_now()
        remark: ApprovalComment = ApprovalComment.objects.create(
            approval=approval, author=author, body=body, created_at=now
        )
        event = approval_event(
            approval, EventType.APPROVAL_COMMENTED, "commented on", actor=f"user:{author.username}"
        )
        append_events([event], now)
    return remark


def cancel(approval_id: UUID, *, user: User) -> WorkflowStepApproval:
    """Withdraw a free-standing request; that of a step ends with its run.

    Raises NotVisible, NotPermitted unless the user asked or is an admin, and Conflict
    ``already_decided`` or ``belongs_to_a_run``.
    """
    approval = visible_approval(approval_id, user)
    if approval.requested_by_id != user.pk:
        require_role(user, approval.workspace_id, Role.ADMIN)
    if approval.workflow_execution_id:
        raise Conflict("Cancel the run that this belongs to.", code="belongs_to_a_run")
    with transaction.atomic():
        now = database_now()
        cancelled = withdraw([approval.id], now)
        append_events(decision_events(cancelled, actor=f"user:{user.username}"), now)
    approval.refresh_from_db()
    if not cancelled:
        raise already_decided(approval)
    return approval


def withdraw(approval_ids: Iterable[UUID], now: datetime) -> list[WorkflowStepApproval]:
    """Cancel those requests that are still open, and return them; inside a transaction."""
    pending = WorkflowStepApproval.objects.pending().filter(id__in=list(approval_ids))
    approvals = list(pending.order_by("id").select_for_update(of=("self",)))
    for approval in approvals:
        approval.status = ApprovalStatus.CANCELLED
        approval.responded_at = now
    write_outcomes(approvals)
    forget_timers([approval.id for approval in approvals])
    return approvals


acreate_approval_request = sync_to_async(create_approval_request)
acancel = sync_to_async(cancel)
acomment = sync_to_async(comment)
