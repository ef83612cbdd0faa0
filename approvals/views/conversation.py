"""What is said and handed on beside a decision: each view parses, asks one thing, answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from uuid import UUID

from django.contrib import messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from approvals.models import ApprovalQuestion, Door, WorkflowStepApproval
from approvals.pages.form import DecisionForm
from approvals.services.delegations import delegate
from approvals.services.files import comment_line, review_file
from approvals.services.questions import answer as answer_question
from approvals.services.questions import ask
from approvals.services.receipts import receipt
from approvals.services.requests import comment
from approvals.services.retraction import retract
from approvals.views.request import find_approval, refusal_status, show_request
from workflows.errors import MgxError, NotVisible
from workflows.pages import PageRequest, page


@require_POST
@page
def add_comment(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Add a remark that decides nothing."""
    approval = find_approval(request, approval_id)
    body = _text(request, "body")
    try:
        comment(approval.pk, author=request.user, body=body)
    except MgxError as refusal:
        return _refused(request, approval, refusal, {"body": body})
    return _back(approval, "comments")


@require_POST
@page
def add_question(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Ask whoever asked; the clock stands still until they answer."""
    approval = find_approval(request, approval_id)
    body = _text(request, "body")
    try:
        ask(approval.pk, user=request.user, body=body)
    except MgxError as refusal:
        return _refused(request, approval, refusal, {"body": body})
    return _back(approval, "comments")


@require_POST
@page
def add_answer(request: PageRequest, approval_id: UUID, question_id: UUID) -> HttpResponse:
    """Answer a question; with the last one the clock goes on."""
    approval = find_approval(request, approval_id)
    if not ApprovalQuestion.objects.filter(pk=question_id, approval=approval).exists():
        raise NotVisible("There is no such question.")
    body = _text(request, "answer")
    try:
        answer_question(question_id, user=request.user, body=body)
    except MgxError as refusal:
        return _refused(request, approval, refusal, {f"answer-{question_id}": body})
    return _back(approval, "comments")


@require_POST
@page
def take_back(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Take back what the reader decided, as long as nothing has gone on with it."""
    approval = find_approval(request, approval_id)
    try:
        open_now = retract(approval.pk, user=request.user, door=Door.PAGE)
    except MgxError as refusal:
        return _refused(request, approval, refusal, {"": ""})
    messages.success(request, f"Taken back. “{open_now.title}” waits for a decision again.")
    return redirect("request", open_now.pk)


@require_POST
@page
def pass_on(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Let somebody else decide in the reader's place."""
    approval = find_approval(request, approval_id)
    said = {name: _text(request, name) for name in ("to", "reason")}
    try:
        given = delegate(approval.pk, user=request.user, **said)
    except MgxError as refusal:
        return _refused(request, approval, refusal, said)
    name = given.delegate.get_full_name() or given.delegate.get_username()
    messages.success(request, f"{name} can decide in your place now. So can you.")
    return _back(approval, "people")


@require_POST
@page
def add_file_review(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Say something of one file."""
    approval = find_approval(request, approval_id)
    said = {name: _text(request, name) for name in ("path", "outcome", "comment")}
    try:
        digest = request.POST.get("digest", "")
        review_file(approval.pk, user=request.user, digest=digest, **said)
    except MgxError as refusal:
        return _refused_file(request, approval, refusal, said | {"field": "comment"})
    return _back(approval, f"file-{_number(request)}")


@require_POST
@page
def add_line_comment(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """Remark on a line of a file."""
    approval = find_approval(request, approval_id)
    said = {name: _text(request, name) for name in ("path", "side", "body", "line")}
    line = int(said["line"]) if said["line"].isascii() and said["line"].isdigit() else 0
    try:
        comment_line(
            approval.pk,
            path=said["path"],
            side=said["side"],
            line=line if line < 2**31 else 0,
            body=said["body"],
            user=request.user,
            digest=request.POST.get("digest", ""),
        )
    except MgxError as refusal:
        return _refused_file(request, approval, refusal, said | {"field": "body"})
    return _back(approval, f"file-{_number(request)}")


@require_safe
@page
def show_receipt(request: PageRequest, approval_id: UUID) -> HttpResponse:
    """The receipt of a decided request, to keep."""
    approval = find_approval(request, approval_id)
    try:
        document = receipt(approval.pk, user=request.user)
    except MgxError as refusal:
        return _refused(request, approval, refusal, {"": ""})
    text = json.dumps(document, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="receipt-{approval.pk}.json"'
    return response


def _refused(
    request: PageRequest,
    approval: WorkflowStepApproval,
    refusal: MgxError,
    kept: Mapping[str, str],
) -> HttpResponse:
    """Show the page again with what was written, and what was wrong beside its field.

    Args:
        kept: what was written, by field; beside the first stands what is about none of them.
    """
    if isinstance(refusal, NotVisible):
        raise refusal
    problems = {each.path[1:]: each.message for each in getattr(refusal, "problems", ())}
    errors = {field: problems[field] for field in kept if field in problems}
    errors = errors or {next(iter(kept)): refusal.message}
    form = DecisionForm("", "", errors, kept=kept)
    approval = find_approval(request, approval.pk)
    return show_request(request, approval, form, status=refusal_status(refusal))


def _refused_file(
    request: PageRequest,
    approval: WorkflowStepApproval,
    refusal: MgxError,
    said: dict[str, str],
) -> HttpResponse:
    if isinstance(refusal, NotVisible):
        raise refusal
    approval = find_approval(request, approval.pk)
    said |= {"error": refusal.message}
    form = DecisionForm("", "")
    status = refusal_status(refusal)
    return show_request(request, approval, form, refused_file=said, status=status)


def _text(request: PageRequest, name: str) -> str:
    return request.POST.get(name, "").strip().replace("\r\n", "\n")


def _number(request: PageRequest) -> str:
    """The place of the file on the page, to come back to."""
    number = request.POST.get("number", "")
    return number if number.isascii() and number.isdigit() else "1"


def _back(approval: WorkflowStepApproval, place: str) -> HttpResponse:
    return redirect(f"/approvals/{approval.pk}/#{place}")
