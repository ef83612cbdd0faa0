"""What was decided, as a page and as files."""

from __future__ import annotations

from typing import Final

from django.http import HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from approvals.models import Door, Risk
from approvals.pages.export import EXPORTED_AT_MOST, history_csv, history_json
from approvals.pages.history import OUTCOMES, History
from approvals.pages.inbox import Inbox
from workflows.clock import database_now
from workflows.downloads import CSV, JSON, stream
from workflows.pages import PageRequest, answer, page

REGIONS: Final = {"history": "approvals/history/list.html"}


@require_safe
@page
def history(request: PageRequest) -> HttpResponse:
    """What was decided, the latest first."""
    shown = History(request.reader, request.GET.dict())
    inbox = Inbox(request.reader, {}, database_now())
    context = {"place": "inbox", "shown": shown, "inbox": inbox, "waiting_count": inbox.mine}
    context |= {"exported_at_most": f"{EXPORTED_AT_MOST:,}"}
    context |= {"outcomes": OUTCOMES, "risks": Risk.choices, "doors": Door.choices}
    return answer(request, "approvals/history.html", context, regions=REGIONS)


@require_safe
@page
def export_history(request: PageRequest, kind: str) -> HttpResponseBase:
    """The same as a file, `csv` or `json`, with the filters of the address."""
    found = History(request.reader, request.GET.dict())
    name = f"approvals-{request.reader.workspace.slug}.{kind}"
    if kind == "csv":
        return stream(request, history_csv(found), CSV, name)
    return stream(request, history_json(found), JSON, name)
