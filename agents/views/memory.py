"""An agent's memory: cleared after a question, its past, all of it as a file."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from agents.memory import Erased
from agents.pages.memory_list import MemoryList
from agents.pages.memory_past import MemoryPast
from agents.services.memory_export import JSON_LINES, export_memory_as, export_name
from agents.services.memory_storing import clear_memory_as, erase_memory_as
from agents.views.agents import find_agent
from workflows.clock import database_now
from workflows.downloads import stream
from workflows.errors import InvalidInput
from workflows.models import Role
from workflows.pages import PageRequest, answer, page


@require_http_methods(["GET", "HEAD", "POST"])
@page
def clear(request: PageRequest, agent_id: UUID) -> HttpResponse:
    """Ask whether an entry, or all of them, are to be deleted; then delete them."""
    agent = find_agent(request, agent_id)
    if request.method == "POST":
        key = request.POST.get("key")
        try:
            if key is not None and request.POST.get("erase") == "true":
                erased = erase_memory_as(request.user, agent, key, threaded=True)
                said = _said_of_erasing(key, erased)
            else:
                said = _said(key, clear_memory_as(request.user, agent, key), agent.name)
        except InvalidInput as refusal:
            messages.error(request, f"{refusal.message} Nothing was deleted.")
        else:
            messages.success(request, said)
        return redirect("agent", agent.pk)
    memory = MemoryList(agent, request.GET, database_now())
    context = {
        "place": "agents",
        "agent": agent,
        "memory": memory,
        "entry": memory.opened,
        "may_edit": request.reader.may(Role.EDITOR),
        "days": settings.MGX_MEMORY_HISTORY_DAYS,
    }
    return answer(request, "agents/clear_memory.html", context)


@require_safe
@page
def past(request: PageRequest, agent_id: UUID) -> HttpResponse:
    """What an agent remembered before."""
    agent = find_agent(request, agent_id)
    context = {
        "place": "agents",
        "agent": agent,
        "past": MemoryPast(agent, request.GET.dict()),
        "days": settings.MGX_MEMORY_HISTORY_DAYS,
    }
    return answer(request, "agents/memory_past.html", context)


@require_safe
@page
def export(request: PageRequest, agent_id: UUID) -> HttpResponseBase:
    """All that an agent remembers as JSON Lines."""
    agent = find_agent(request, agent_id)
    lines = export_memory_as(request.user, agent, past=request.GET.get("past") == "true")
    return stream(request, lines, JSON_LINES, export_name(agent))


def _said(key: str | None, count: int, name: str) -> str:
    if not count:
        return f"Nothing was left to delete in the memory of {name}."
    if key is not None:
        return f"{name} no longer remembers {key}."
    return f"The memory of {name} is empty: {count:,} entr{'y' if count == 1 else 'ies'} deleted."


def _said_of_erasing(key: str, erased: Erased) -> str:
    places = ", ".join(f"{each.place} {each.removed} of {each.found}" for each in erased.places)
    return f"{key} is erased. Deleted: {places}."
