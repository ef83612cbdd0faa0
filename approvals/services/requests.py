"""Requests for a decision: how they are made, read, waited for, remarked on and withdrawn."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import transaction

from approvals.models import (
    ApprovalApprover,
    ApprovalComment,
    ApprovalStatus,
    Risk,
    WorkflowStepApproval,
)
from approvals.querysets import ApprovalQuerySet
from approvals.references import resolve_approvers
from approvals.services.clock import timers_of
from approvals.services.decisions import MAX_FEEDBACK, already_decided
from approvals.services.records import (
    approval_event,
    decision_events,
    digest_of,
    forget_timers,
    write_outcomes,
)
from workflows.bulk import insert_objects
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import (
    Project,
    Role,
    User,
    WorkflowExecution,
    Workspace,
)
from workflows.policies import PREVENT_SELF_APPROVAL
from workflows.services.access import require_role

DEFAULT_EXPIRY_SECONDS = 86_400
MAX_TITLE = 500
MAX_NAME = 200
MAX_WAIT_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.25


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
    ApprovalApprover.objects.bulk_create(approvers)
    insert_objects(timers)
    return approvals


def _separated(workspace_ids: set[UUID]) -> set[UUID]:
    """Return the workspaces in which nobody decides on what they asked for themselves."""
    workspaces = Workspace.objects.filter(
        id__in=workspace_ids, **{f"settings__{PREVENT_SELF_APPROVAL}": True}
    )
    return set(workspaces.values_list("id", flat=True))


def required_event(approval: WorkflowStepApproval, *, actor: str) -> EventDraft:
    """Return the event that a decision is asked for."""
    return approval_event(
        approval, EventType.APPROVAL_REQUIRED, "asked for a decision", actor=actor
    )


def create_approval_request(
    *,
    workspace: Workspace,
    title: str,
    user: User,
    description: str = "",
    approval_data: Any = None,
    required_approvers: Sequence[str] = (),
    auto_approve_after_seconds: int | None = None,
    expires_after_seconds: int | None = DEFAULT_EXPIRY_SECONDS,
    project: Project | None = None,
) -> WorkflowStepApproval:
    """Ask for a decision that belongs to no workflow; who asked waits for it, or looks later.

    Raises NotVisible or NotPermitted (role operator), and InvalidInput with everything wrong.
    """
    require_role(user, workspace.pk, Role.OPERATOR)
    request = Request(
        workspace_id=workspace.pk,
        title=title,
        description=description,
        approval_data={} if approval_data is None else approval_data,
        required_approvers=required_approvers,
        auto_approve_after_seconds=auto_approve_after_seconds,
        expires_after_seconds=expires_after_seconds,
        project_id=project.pk if project else None,
        requested_by_id=user.pk,
    )
    if problems := _problems(request):
        raise InvalidInput("The request cannot be made like this", problems)
    with transaction.atomic():
        now = database_now()
        approval = open_requests([request], now)[0]
        append_events([required_event(approval, actor=f"user:{user.username}")], now)
    return approval


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
    problem = _text_problem("body", body, MAX_FEEDBACK)
    if problem is None and not body.strip():
        problem = Problem("", "required", "Write something.", "/body")
    if problem:
        raise InvalidInput(problem.message, [problem], code=problem.error_type)
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


def _problems(request: Request) -> list[Problem]:
    """Return everything that is wrong with a request from outside."""
    problems = [
        _text_problem("title", request.title, MAX_TITLE),
        _text_problem("description", request.description, 100_000),
    ]
    if not request.title.strip():
        problems.append(Problem("", "required", "A request needs a title.", "/title"))
    try:
        dumps_canonical(request.approval_data)
    except UnstorableError as error:
        path = f"/approval_data{error.path or ''}"
        problems.append(Problem("", error.reason, error.message, path))
    for name in ("auto_approve_after_seconds", "expires_after_seconds"):
        value = getattr(request, name)
        if value is not None and not 1 <= value <= 365 * 86_400:
            message = "This must be from 1 second to 365 days."
            problems.append(Problem("", "out_of_range", message, f"/{name}"))
    first, last = request.auto_approve_after_seconds, request.expires_after_seconds
    if first and last and first >= last:
        message = "A request must approve itself before it expires."
        problems.append(
            Problem("", "auto_approve_after_expiry", message, "/auto_approve_after_seconds")
        )
    names = request.required_approvers
    known = resolve_approvers(names, workspace_id=request.workspace_id, only_active=True)
    for index, name in enumerate(names):
        if name not in known:
            message = f"“{name}” is nobody who could decide in this workspace."
            problems.append(
                Problem("", "unknown_approver", message, f"/required_approvers/{index}")
            )
    return [problem for problem in problems if problem]


def _text_problem(name: str, text: str, longest: int) -> Problem | None:
    if len(text) > longest:
        return Problem("", "too_long", f"Write at most {longest} characters.", f"/{name}")
    try:
        dumps_canonical(text)
    except UnstorableError as error:
        return Problem("", error.reason, error.message, f"/{name}")
    return None


acreate_approval_request = sync_to_async(create_approval_request)
acancel = sync_to_async(cancel)
acomment = sync_to_async(comment)
