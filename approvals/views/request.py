"""The page of one request, and its decision: each view parses, asks one thing, answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from approvals.models import ApprovalDecision, Door, SeenApproval, WorkflowStepApproval
from approvals.pages.form import DecisionForm, ResponseForm, field_errors, read_form
from approvals.pages.refusals import explain
from approvals.pages.request import RequestPage, read_revision
from approvals.services.decisions import Decision, DecisionResult, decide
from approvals.sign_in import must_sign_in, require_recent_sign_in, sign_in_again
from approvals.tally import tally
from workflows.clock import database_now
from workflows.errors import InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.models import User
from workflows.pages import PageRequest, answer, enter_workspace, page

REGIONS: Final = {
    "request-head": "approvals/request/head.html",
    "summary": "approvals/request/summary.html",
    "content": "approvals/request/untrusted.html",
    "files": "approvals/request/files.html",
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
    approval = find_approval(request, approval_id)
    if request.method == "POST":
        return _decide(request, approval)
    _remember_opened(request, approval)
    return show_request(request, approval, read_form(request.GET.dict()))


def show_request(
    request: PageRequest,
    approval: WorkflowStepApproval,
    form: DecisionForm,
    *,
    refused_file: Mapping[str, str] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render the page of a request, or the regions of it that are asked for."""
    shown = RequestPage(
        approval,
        request.reader,
        database_now(),
        form,
        asked=request.GET.dict(),
        refused_file=refused_file,
        must_sign_in=must_sign_in(request, approval),
    )
    context: dict[str, Any] = {"place": "inbox", "shown": shown, "approval": approval}
    return answer(request, "approvals/request.html", context, regions=REGIONS, status=status)


def refusal_status(refusal: MgxError) -> int:
    """Return the HTTP status of what a service refused."""
    return next(status for kind, status in _REFUSED.items() if isinstance(refusal, kind))


def find_approval(request: PageRequest, approval_id: UUID) -> WorkflowStepApproval:
    """Return a request with what its page says of it, in the workspace that it belongs to.

    Raises Http404.
    """
    approval = load_approval(request.user, approval_id)
    enter_workspace(request, approval.workspace_id)
    return approval


def load_approval(user: User, approval_id: UUID) -> WorkflowStepApproval:
    """Return a request that ``user`` sees, with what its page says of it. Raises Http404."""
    found = WorkflowStepApproval.objects.visible_to(user).filter(pk=approval_id)
    approval: WorkflowStepApproval | None = (
        found.select_related(
            "step_execution",
            "workflow_execution__workflow",
            "workflow_execution__version",
            "workflow_execution__started_by",
            "project",
            "requested_by",
            "approved_by",
        )
        .prefetch_related("approvers__user", "approvers__group", _decisions())
        .first()
    )
    if approval is None:
        raise Http404
    return approval


def _decisions() -> Prefetch[str]:
    decisions = ApprovalDecision.objects.select_related("user", "on_behalf_of", "retracts__user")
    return Prefetch("decisions", decisions.order_by("decided_at", "record_number"))


def _decide(request: PageRequest, approval: WorkflowStepApproval) -> HttpResponse:
    form = read_form(request.POST.dict())
    try:
        result = _decided(request, approval, form)
    except NotVisible:
        raise
    except MgxError as refusal:
        approval = find_approval(request, approval.pk)
        show_refusal(form, refusal, approval)
        return show_request(request, approval, form, status=refusal_status(refusal))
    messages.success(request, say_recorded(result, form.outcome))
    return redirect("request", result.approval.pk)


def _decided(
    request: PageRequest, approval: WorkflowStepApproval, form: DecisionForm
) -> DecisionResult:
    """Take what the form says; what it cannot read is written into the form."""
    password = request.POST.get("password", "")
    if must_sign_in(request, approval) and password:
        sign_in_again(request, password)
    require_recent_sign_in(request, approval)
    return decide(read_decision(request, approval, form), user=request.user, door=Door.PAGE)


def read_decision(
    request: HttpRequest, approval: WorkflowStepApproval, form: DecisionForm
) -> Decision:
    """Return what the posted form says. Raises InvalidInput, with ``form.errors`` filled in."""
    data = None
    if form.outcome == "approved":
        data, form.errors = ResponseForm(approval, form).read()
        if form.errors:
            raise InvalidInput("Some fields are not filled in as they should be.")
    return Decision(
        approval_id=approval.pk,
        outcome=form.outcome,
        feedback=form.feedback.strip().replace("\r\n", "\n"),
        response_data=data,
        digest=request.POST.get("digest", ""),
        revision=read_revision(request.POST.get("revision", "")),
    )


def show_refusal(form: DecisionForm, refusal: MgxError, approval: WorkflowStepApproval) -> None:
    """Write into the form why it was refused, unless it says so already.

    ``approval`` is the request as it is now.
    """
    if not form.errors:
        field, words = explain(refusal, approval, form.outcome)
        form.errors |= field_errors(getattr(refusal, "problems", ())) or {field: words}


def say_recorded(result: DecisionResult, outcome: str) -> str:
    """Say in words to the person what has become of their decision."""
    title = result.approval.title
    if result.repeated:
        return f"{_RECORDED[outcome]} “{title}”. Nothing changed: you had decided this before."
    if result.is_final:
        return f"{_RECORDED[outcome]} “{title}”."
    count = tally(result.approval)
    return f"Your approval of “{title}” is counted: {count.given} of {count.needed}."


def _remember_opened(request: PageRequest, approval: WorkflowStepApproval) -> None:
    """Keep which revision was opened: for the next one, and for the page that decides several."""
    if not SeenApproval.objects.filter(approval=approval, user=request.user).exists():
        SeenApproval.objects.bulk_create(
            [SeenApproval(approval=approval, user=request.user, seen_at=database_now())],
            ignore_conflicts=True,
        )
    opened: dict[str, int] = request.session.get(OPENED, {})
    if approval.status != "pending" or opened.get(str(approval.pk)) == approval.revision:
        return
    opened[str(approval.pk)] = approval.revision
    request.session[OPENED] = dict(list(opened.items())[-OPENED_AT_MOST:])
