"""The inbox, and several requests decided at once: each view parses, asks one thing, answers."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from approvals.models import Door, Risk
from approvals.pages.inbox import Inbox
from approvals.pages.review import ReviewPage, read_review
from approvals.pages.search import ASKED, DEADLINES
from approvals.sign_in import decide_in_session
from approvals.views.request import OPENED
from workflows.clock import database_now
from workflows.pages import PageRequest, answer, page

INBOX_REGIONS: Final = {
    "requests": "approvals/inbox/list.html",
    "inbox-head": "approvals/inbox/head.html",
    "waiting": "components/waiting.html",
}


@require_safe
@page
def inbox(request: PageRequest) -> HttpResponse:
    """What waits for the reader, and what waits for others."""
    if request.GET.get("tab") == "decided":
        return redirect("history")
    shown = Inbox(request.reader, request.GET.dict(), database_now())
    context = {"place": "inbox", "shown": shown, "waiting_count": shown.mine}
    context |= {"risks": Risk.choices, "deadlines": DEADLINES, "ages": ASKED}
    return answer(request, "approvals/inbox.html", context, regions=INBOX_REGIONS)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def review(request: PageRequest) -> HttpResponse:
    """Several requests at once: look at each, then one record each."""
    is_decided = request.method == "POST"
    asked = read_review(request.POST if is_decided else request.GET)
    opened = request.session.get(OPENED, {})
    shown = ReviewPage(request.reader, asked, database_now(), opened)
    if is_decided and not shown.error:
        shown.results = decide_in_session(request, asked.decisions(), door=Door.PAGE)
    context = {"place": "inbox", "shown": shown}
    return answer(request, "approvals/review.html", context, status=400 if shown.error else 200)
