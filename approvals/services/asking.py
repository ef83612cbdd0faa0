"""Free-standing requests: any program may ask for a decision that belongs to no workflow."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack
from uuid import UUID

from django.db import transaction

from approvals.files import file_problems
from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.services.opening import (
    DEFAULT_EXPIRY_SECONDS,
    MAX_TITLE,
    Request,
    open_requests,
    required_event,
)
from workflows.clock import database_now
from workflows.core.approval import Approval
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.core.parts import MAX_SECONDS
from workflows.core.validation import without_step
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.events import append_events
from workflows.models import Project, Role, User, Workspace
from workflows.net import ForbiddenAddress, check_url
from workflows.services.access import require_role
from workflows.services.definitions import validate_document
from workflows.services.texts import text_problem

_MAX_DESCRIPTION = 100_000
_MAX_URL = 2_000
#: Which of the terms are kept in ``approval_metadata``, where they are not the usual.
_KEPT = {
    "min_approvals",
    "policy",
    "form_schema",
    "on_timeout",
    "reminders",
    "escalate_after_seconds",
    "escalate_to",
}


class Terms(TypedDict, total=False):
    """On what terms a request is decided, as a gate says it (``workflows.core.approval``).

    ``expires_after_seconds`` may be None: the request waits for ever.
    """

    required_approvers: Sequence[str]
    min_approvals: int | str
    policy: dict[str, Any] | None
    form_schema: dict[str, Any] | None
    risk: str
    prevent_self_approval: bool
    auto_approve_after_seconds: int | None
    expires_after_seconds: int | None
    on_timeout: str
    reminders: Sequence[int]
    escalate_after_seconds: int | None
    escalate_to: Sequence[str]
    max_revisions: int


def create_approval_request(
    *,
    workspace: Workspace,
    title: str,
    user: User,
    description: str = "",
    approval_data: Any = None,
    files: Sequence[Any] = (),
    callback_url: str = "",
    parent_approval_id: UUID | None = None,
    project: Project | None = None,
    **terms: Unpack[Terms],
) -> WorkflowStepApproval:
    """Ask for a decision that belongs to no workflow; who asked waits, looks later or is called.

    ``files`` are put into ``approval_data``. ``parent_approval_id``: a request of the same user's
    to which changes were requested; this is its next revision.

    Raises NotVisible or NotPermitted (role operator; another's request), InvalidInput with
    everything wrong, and Conflict: ``not_sent_back``, ``already_revised``, ``revision_limit``.
    """
    require_role(user, workspace.pk, Role.OPERATOR)
    payload = {} if approval_data is None else approval_data
    if files:
        payload = {**payload, "files": list(files)}
    problems = _content_problems(title, description, payload, callback_url)
    approval, wrong_terms = _read_terms(terms, workspace)
    if problems := [*problems, *wrong_terms]:
        raise InvalidInput("The request cannot be made like this", problems)
    assert approval is not None
    expires = terms.get("expires_after_seconds", DEFAULT_EXPIRY_SECONDS)
    request = Request(
        workspace_id=workspace.pk,
        title=title,
        description=description,
        approval_data=payload,
        required_approvers=approval.approvers,
        auto_approve_after_seconds=approval.auto_approve_after_seconds,
        expires_after_seconds=expires,
        risk=approval.risk,
        prevent_self_approval=approval.prevent_self_approval,
        rules=_rules(approval),
        project_id=project.pk if project else None,
        requested_by_id=user.pk,
        callback_url=callback_url,
    )
    with transaction.atomic():
        if parent_approval_id is not None:
            _revise(request, parent_approval_id, user)
        now = database_now()
        made = open_requests([request], now)[0]
        append_events([required_event(made, actor=f"user:{user.username}")], now)
    return made


def _revise(request: Request, parent_id: UUID, user: User) -> None:
    """Make a request the next revision of another one, whose row is locked."""
    visible = WorkflowStepApproval.objects.visible_to(user).filter(id=parent_id)
    parent = visible.select_for_update(of=("self",)).first()
    if parent is None or parent.workspace_id != request.workspace_id:
        raise NotVisible("There is no such request to revise.")
    if parent.workflow_execution_id or parent.status != ApprovalStatus.REQUEST_CHANGES:
        raise Conflict(
            "Only a request of no run, to which changes were requested, can be revised.",
            code="not_sent_back",
            status=parent.status,
        )
    if parent.requested_by_id != user.pk:
        raise NotPermitted("Only who asked can ask again.", code="not_the_requester")
    if parent.revisions.exists():
        raise Conflict("This was revised already.", code="already_revised")
    limit = parent.approval_metadata.get("max_revisions", request.rules["max_revisions"])
    if parent.revision_count >= limit:
        raise Conflict("It was revised as often as it may be.", code="revision_limit")
    request.rules["max_revisions"] = limit
    request.revision_count = parent.revision_count + 1
    request.parent_approval_id = parent.pk


def _rules(approval: Approval) -> dict[str, Any]:
    rules = approval.model_dump(mode="json", include=_KEPT, exclude_defaults=True)
    return {"max_revisions": approval.max_revisions, **rules}


def _read_terms(terms: Terms, workspace: Workspace) -> tuple[Approval | None, list[Problem]]:
    """Return the terms as a gate has them, and everything that is wrong with them.

    They are checked as those of the only step of a workflow are, so both mean the same.
    """
    given: dict[str, Any] = {key: value for key, value in terms.items() if value is not None}
    if "expires_after_seconds" in terms and terms["expires_after_seconds"] is None:
        given["expires_after_seconds"] = MAX_SECONDS
    for name in ("required_approvers", "reminders", "escalate_to"):
        if name in given:
            given[name] = list(given[name])
    step = {"name": "request", "step_type": "approval", "config": {"approval": given}}
    report = validate_document({"name": "request", "steps": [step]}, workspace=workspace)
    problems = []
    for problem in report.errors:
        path = problem.path.removeprefix("/steps/0/config/approval")
        problems.append(replace(without_step(problem), path=path))
    if not problems:
        return Approval.model_validate(given), []
    return None, problems


def _content_problems(
    title: str, description: str, payload: Any, callback_url: str
) -> list[Problem]:
    problems = [
        text_problem("title", title, MAX_TITLE, is_required=True),
        text_problem("description", description, _MAX_DESCRIPTION),
        text_problem("callback_url", callback_url, _MAX_URL),
        *file_problems(payload),
    ]
    try:
        dumps_canonical(payload)
    except UnstorableError as error:
        path = f"/approval_data{error.path or ''}"
        problems.append(Problem("", error.reason, error.message, path))
    if callback_url:
        try:
            check_url(callback_url)
        except ForbiddenAddress as error:
            problems.append(Problem("", error.code, str(error), "/callback_url"))
    return [problem for problem in problems if problem]
