"""Out of office and grants: each view parses, asks one thing, answers."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from approvals.pages.standing import GivenForm, StandingPage
from approvals.services.delegations import delegate_all, revoke_delegation
from approvals.services.grants import give_grant, revoke_grant
from workflows.clock import database_now
from workflows.errors import InvalidInput, MgxError, NotPermitted
from workflows.pages import PageRequest, answer, page


@require_safe
@page
def standing(request: PageRequest) -> HttpResponse:
    """Who stands in for whom, and what is approved ahead."""
    return _show(request, StandingPage(request.reader, database_now()))


@require_POST
@page
def add_absence(request: PageRequest) -> HttpResponse:
    """Let somebody decide in the reader's place for a time."""
    form = GivenForm(request.POST.dict())
    shown = StandingPage(request.reader, database_now(), absence=form)
    starts_at, ends_at = form.moment("starts_at"), form.needed_moment("ends_at")
    if not form.text("to"):
        form.errors["to"] = "Choose who stands in for you."
    if form.errors or ends_at is None:
        return _show(request, shown, status=400)
    try:
        delegate_all(
            request.reader.workspace,
            to=form.text("to"),
            user=request.user,
            starts_at=starts_at,
            ends_at=ends_at,
            reason=form.text("reason"),
        )
    except MgxError as refusal:
        return _refused(request, shown, form, refusal)
    messages.success(request, f"{form.text('to')} stands in for you.")
    return redirect("standing")


@require_POST
@page
def add_grant(request: PageRequest) -> HttpResponse:
    """Approve ahead what a workflow will ask."""
    form = GivenForm(request.POST.dict())
    shown = StandingPage(request.reader, database_now(), grant=form)
    workflow, step_name = shown.chosen_gate()
    max_uses, expires_at = form.number("max_uses"), form.needed_moment("expires_at")
    if form.errors or workflow is None or expires_at is None:
        return _show(request, shown, status=400)
    try:
        give_grant(
            workflow,
            user=request.user,
            step_name=step_name,
            predicate=form.text("predicate"),
            max_uses=max_uses,
            expires_at=expires_at,
            note=form.text("note"),
        )
    except MgxError as refusal:
        return _refused(request, shown, form, refusal)
    messages.success(request, f"Approved ahead: {workflow.name}.")
    return redirect("standing")


@require_POST
@page
def end_absence(request: PageRequest, delegation_id: UUID) -> HttpResponse:
    """Take a delegation back."""
    ended = revoke_delegation(delegation_id, user=request.user)
    messages.success(request, f"{ended.delegate.username} stands in no longer.")
    return redirect("standing")


@require_POST
@page
def end_grant(request: PageRequest, grant_id: UUID) -> HttpResponse:
    """Take a grant back."""
    ended = revoke_grant(grant_id, user=request.user)
    messages.success(request, f"{ended.workflow.name} is no longer approved ahead.")
    return redirect("standing")


def _refused(
    request: PageRequest, shown: StandingPage, form: GivenForm, refusal: MgxError
) -> HttpResponse:
    problems = refusal.problems if isinstance(refusal, InvalidInput) else []
    form.mark(refusal.message, problems)
    if "step_name" in form.errors:
        form.errors["gate"] = form.errors.pop("step_name")
    return _show(request, shown, status=403 if isinstance(refusal, NotPermitted) else 400)


def _show(request: PageRequest, shown: StandingPage, status: int = 200) -> HttpResponse:
    context = {"place": "standing", "shown": shown}
    return answer(request, "approvals/standing.html", context, status=status)
