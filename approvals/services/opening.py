"""How requests are opened: their rows, those of their approvers, and their timers."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from approvals.models import ApprovalApprover, Risk, WorkflowStepApproval
from approvals.references import resolve_approvers
from approvals.services.clock import timers_of
from approvals.services.records import approval_event, digest_of
from workflows.bulk import as_uuid, insert_objects, select
from workflows.events import EventDraft, EventType
from workflows.policies import PREVENT_SELF_APPROVAL

DEFAULT_EXPIRY_SECONDS = 86_400
MAX_TITLE = 500
MAX_NAME = 200


@dataclass(slots=True)
class Request:
    """What is asked, of whom, and for how long. Times are in seconds.

    ``rules``: what is kept in ``approval_metadata``. ``revision_count``: how often the work was
    done anew since it was first shown; ``parent_approval_id``: the request before this one.
    """

    workspace_id: UUID
    title: str
    description: str = ""
    approval_data: Any = field(default_factory=dict)
    required_approvers: Sequence[str] = ()
    auto_approve_after_seconds: int | None = None
    expires_after_seconds: int | None = DEFAULT_EXPIRY_SECONDS
    risk: str = Risk.MEDIUM
    prevent_self_approval: bool = False
    rules: dict[str, Any] = field(default_factory=dict)
    project_id: UUID | None = None
    requested_by_id: int | None = None
    execution_id: UUID | None = None
    step_execution_id: UUID | None = None
    revision_count: int = 0
    parent_approval_id: UUID | None = None
    callback_url: str = ""


def open_requests(requests: Iterable[Request], now: datetime) -> list[WorkflowStepApproval]:
    """Write requests with their approvers and timers. Call it inside a transaction."""
    approvals, approvers, timers = [], [], []
    requests = list(requests)
    separated = _separated({request.workspace_id for request in requests})
    for request in requests:
        approval = _approval(request, now)
        approval.prevent_self_approval |= request.workspace_id in separated
        approvals.append(approval)
        resolved = resolve_approvers(request.required_approvers, workspace_id=request.workspace_id)
        for name in dict.fromkeys(request.required_approvers):
            if (approver := resolved.get(name)) is None:
                continue
            approvers.append(
                ApprovalApprover(
                    approval=approval,
                    name=name[:MAX_NAME],
                    user_id=approver.user_id,
                    group_id=approver.group_id,
                    role=approver.role,
                )
            )
        timers += timers_of(approval)
    insert_objects(approvals)
    if approvers:
        ApprovalApprover.objects.bulk_create(approvers)
    insert_objects(timers)
    return approvals


def _separated(workspace_ids: set[UUID]) -> set[UUID]:
    """Return the workspaces in which nobody decides on what they asked for themselves."""
    rows = select(
        "SELECT id, settings FROM workflows_workspace WHERE id = ANY(%s)", list(workspace_ids)
    )
    return {
        as_uuid(key) for key, text in rows if json.loads(text).get(PREVENT_SELF_APPROVAL) is True
    }


def required_event(approval: WorkflowStepApproval, *, actor: str) -> EventDraft:
    """Return the event that a decision is asked for."""
    return approval_event(
        approval, EventType.APPROVAL_REQUIRED, "asked for a decision", actor=actor
    )


def _approval(request: Request, now: datetime) -> WorkflowStepApproval:
    expires = request.expires_after_seconds
    approval = WorkflowStepApproval(
        workspace_id=request.workspace_id,
        project_id=request.project_id,
        workflow_execution_id=request.execution_id,
        step_execution_id=request.step_execution_id,
        title=request.title[:MAX_TITLE],
        description=request.description,
        approval_data=request.approval_data,
        risk=request.risk,
        prevent_self_approval=request.prevent_self_approval,
        requested_by_id=request.requested_by_id,
        requested_at=now,
        expires_at=now + timedelta(seconds=expires) if expires else None,
        auto_approve_after_seconds=request.auto_approve_after_seconds,
        required_approvers=list(request.required_approvers),
        approval_metadata=request.rules,
        revision_count=request.revision_count,
        parent_approval_id=request.parent_approval_id,
        callback_url=request.callback_url,
    )
    approval.digest = digest_of(approval)
    return approval
