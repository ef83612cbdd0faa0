"""The page of one request, and what is done there: each view parses, asks one thing, answers."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from approvals.models import Door, WorkflowStepApproval
from approvals.pages.refusals import explain
from approvals.pages.request import DecisionForm, RequestPage, read_form, read_revision
from approvals.services.decisions import Decision, decide
from approvals.services.requests import comment
from workflows.clock import database_now
from workflows.errors import InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.pages import PageRequest, answer, enter_workspace, page

REQUEST_REGIONS: Final = {
    "request-head": "approvals/request/head.html",
    "summary": "approvals/request/summary.html",
    "decision": "approvals/request/decision.html",
    "people": "approvals/request/people.html",
    "comments": "approvals/request/comments.html",
}
#: What a decision was, as the message says that it is recorded.
_RECORDED: Final = {
    "approved": "Approved.",
    "rejected": "Rejected.",
    "request_changes": "Changes requested.",
}
_REFUSED: Final[dict[type[MgxError], int]] = {InvalidInput: 400, NotPermitted: 403, MgxError: 409}
#: Where the session keeps which requests its reader has opened, and how many at most.
OPENED: Final = "opened_requests"
OPENED_AT_MOST: Final = 300


@require_http_methods(["GET", "HEAD", "POST"])
@page
def request_page(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """One request, and the form that decides it."""
    approval = _approval(request, approval_id)
    if request.method == "POST":
        return _decide(request, approval)
    _remember_opened(request, approval)
    return _answer_request(request, approval, read_form(request.GET.dict()))


@require_POST
@page
def add_comment(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Add a remark that decides nothing."""
    approval = _approval(request, approval_id)
    try:
        comment(approval.pk, author=request.user, body=request.POST.get("body", ""))
    except InvalidInput as refusal:
        form = DecisionForm("", "", {"body": refusal.message})
        return _answer_request(request, approval, form, status=400)
    return redirect(f"{request.path.removesuffix('comments/')}#comments")


def _decide(request: PageRequest, approval: WorkflowStepApproval) -> HttpResponse:
    form = read_form(request.POST.dict())
    decision = Decision(
        approval_id=approval.pk,
        outcome=form.outcome,
        feedback=form.feedback.strip().replace("\r\n", "\n"),
        digest=request.POST.get("digest", ""),
        revision=read_revision(request.POST.get("revision", "")),
    )
    try:
        result = decide(decision, user=request.user, door=Door.PAGE)
    except NotVisible:
        raise
    except MgxError as refusal:
        approval = _approval(request, approval.pk)
        field, words = explain(refusal, approval, form.outcome)
        form.errors[field] = words
        status = next(s for kind, s in _REFUSED.items() if isinstance(refusal, kind))
        return _answer_request(request, approval, form, status=status)
    follows = "Nothing changed: you had decided this before." if result.repeated else ""
    title = result.approval.title
    messages.success(request, f"{_RECORDED[form.outcome]} “{title}”. {follows}".strip())
    return redirect("request", approval.pk)


def _answer_request(
    request: PageRequest, approval: WorkflowStepApproval, form: DecisionForm, status: int = 200
) -> HttpResponse:
    shown = RequestPage(approval, request.reader, database_now(), form)
    context: dict[str, Any] = {"place": "inbox", "shown": shown, "approval": approval}
    return answer(
        request, "approvals/request.html", context, regions=REQUEST_REGIONS, status=status
    )


def _approval(request: PageRequest, approval_id: UUID) -> WorkflowStepApproval:
    """A request with what its page says of it, in the workspace that it belongs to."""
    found = WorkflowStepApproval.objects.visible_to(request.user).filter(pk=approval_id)
    approval: WorkflowStepApproval | None = (
        found.select_related(
            "step_execution",
            "workflow_execution__workflow",
            "workflow_execution__version",
            "workflow_execution__started_by",
            "project",
            "requested_by",
            "approved_by",
            "parent_approval__approved_by",
        )
        .prefetch_related("approvers__user", "approvers__group")
        .first()
    )
    if approval is None:
        raise Http404
    enter_workspace(request, approval.workspace_id)
    return approval


def _remember_opened(request: PageRequest, approval: WorkflowStepApproval) -> None:
    """Keep in the session which revision was opened, for the page that decides several."""
    opened: dict[str, int] = request.session.get(OPENED, {})
    if approval.status != "pending" or opened.get(str(approval.pk)) == approval.revision:
        return
    opened[str(approval.pk)] = approval.revision
    request.session[OPENED] = dict(list(opened.items())[-OPENED_AT_MOST:])
