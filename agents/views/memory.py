"""Clearing an agent's memory: asked for on a page of its own, then done."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from agents.pages.memory_list import MemoryList
from agents.services.memory_storing import clear_memory_as
from agents.views.agents import find_agent
from workflows.clock import database_now
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
            count = clear_memory_as(request.user, agent, key)
        except InvalidInput as refusal:
            messages.error(request, f"{refusal.message} Nothing was deleted.")
        else:
            messages.success(request, _said(key, count, agent.name))
        return redirect("agent", agent.pk)
    memory = MemoryList(agent, request.GET, database_now())
    context = {
        "place": "agents",
        "agent": agent,
        "memory": memory,
        "entry": memory.opened,
        "may_edit": request.reader.may(Role.EDITOR),
    }
    return answer(request, "agents/clear_memory.html", context)


def _said(key: str | None, count: int, name: str) -> str:
    if not count:
        return f"Nothing was left to delete in the memory of {name}."
    if key is not None:
        return f"{name} no longer remembers {key}."
    return f"The memory of {name} is empty: {count:,} entr{'y' if count == 1 else 'ies'} deleted."
