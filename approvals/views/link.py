"""The page that a person's link opens, without signing in. Only posting its form decides."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals.files import files_of
from approvals.models import ApprovalLink, Risk, WorkflowStepApproval
from approvals.notifications.links import decide_by_link, open_link
from approvals.pages.form import DecisionForm, read_form
from approvals.pages.request import RequestPage
from approvals.services.decisions import DecisionResult
from approvals.views.request import (
    load_approval,
    read_decision,
    refusal_status,
    say_recorded,
    show_refusal,
)
from workflows.clock import database_now
from workflows.errors import Conflict, MgxError, NotPermitted
from workflows.models import Membership, Role
from workflows.pages import Reader

#: Nobody keeps these pages, finds them, or learns their address from where they lead.
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}
_SPENT = ("used_link", "expired_link")


@require_http_methods(["GET", "HEAD", "POST"])
def approval_link(request: HttpRequest, token: str) -> HttpResponse:
    """One request, for the person whose link this is, and the form that decides it."""
    try:
        link = open_link(token)
        approval = load_approval(link.user, link.approval_id)
        if request.method != "POST":
            return _show(request, token, link, approval, DecisionForm("", ""))
        return _decide(request, token, link, approval)
    except (Conflict, NotPermitted) as refusal:
        return _refuse(request, refusal)


def _decide(
    request: HttpRequest, token: str, link: ApprovalLink, approval: WorkflowStepApproval
) -> HttpResponse:
    form = read_form(request.POST.dict())
    try:
        result = _decided(request, link, approval, form)
    except MgxError as refusal:
        if refusal.code in _SPENT:
            raise
        approval = load_approval(link.user, approval.pk)
        show_refusal(form, refusal, approval)
        return _show(request, token, link, approval, form, status=refusal_status(refusal))
    context = {"said": say_recorded(result, form.outcome), "page": _page(result.approval.pk)}
    return _answer(request, "approvals/link_done.html", context)


def _decided(
    request: HttpRequest, link: ApprovalLink, approval: WorkflowStepApproval, form: DecisionForm
) -> DecisionResult:
    """Take what the form says; what it cannot read is written into the form."""
    if why := _needs_sign_in(approval):
        raise NotPermitted(why, code="sign_in_required")
    return decide_by_link(link, read_decision(request, approval, form))


def _show(
    request: HttpRequest,
    token: str,
    link: ApprovalLink,
    approval: WorkflowStepApproval,
    form: DecisionForm,
    status: int = 200,
) -> HttpResponse:
    reader = _reader(link)
    shown = RequestPage(approval, reader, database_now(), form, asked=request.GET.dict())
    context: dict[str, Any] = {
        "shown": shown,
        "approval": approval,
        "person": link.user,
        "workspace": reader.workspace,
        "decide_at": reverse("approval_link", args=[token]),
        "needs_sign_in": _needs_sign_in(approval),
        "page": _page(approval.pk),
    }
    return _answer(request, "approvals/link.html", context, status)


def _needs_sign_in(approval: WorkflowStepApproval) -> str:
    """Say why a request is not decided through a link; "" if it can be."""
    if approval.risk == Risk.HIGH:
        return "The risk is high: sign in to decide."
    if files_of(approval):
        return "There are files to review: sign in to decide."
    return ""


def _reader(link: ApprovalLink) -> Reader:
    membership = (
        Membership.objects.filter(user=link.user_id, workspace=link.approval.workspace_id)
        .select_related("workspace")
        .first()
    )
    if membership is None:
        raise Http404
    return Reader(
        user=link.user,
        workspace=membership.workspace,
        role=Role(membership.role),
        live_cursor=0,
        memberships=(membership,),
    )


def _refuse(request: HttpRequest, refusal: MgxError) -> HttpResponse:
    status = HTTPStatus.GONE if refusal.code in _SPENT else HTTPStatus.FORBIDDEN
    approval_id = refusal.facts.get("approval_id")
    context = {"why": refusal.message, "page": _page(approval_id) if approval_id else "/"}
    return _answer(request, "approvals/link_refused.html", context, status)


def _answer(
    request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    response = render(request, template, context, status=status)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


def _page(approval_id: Any) -> str:
    """Return the address of the request's own page, which asks for the sign-in."""
    return reverse("request", args=[approval_id])
