"""The list of agents, and the page of one."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from agents.models import AgentInstance
from agents.pages.agent import AgentPage
from agents.pages.agent_list import AgentList
from agents.pages.standing import standing_agents
from workflows.clock import database_now
from workflows.models import Role
from workflows.pages import PageRequest, answer, enter_workspace, page

LIST_REGIONS: Final = {
    "head": "agents/list/head.html",
    "figures": "agents/list/figures.html",
    "instances": "agents/list/instances.html",
    "assignments": "agents/list/assignments.html",
    "drawer": "agents/list/drawer.html",
}
AGENT_REGIONS: Final = {
    "head": "agents/agent/head.html",
    "course": "agents/agent/course.html",
    "days": "agents/agent/days.html",
    "steps": "agents/agent/steps.html",
    "conversations": "agents/agent/conversations.html",
    "handoffs": "agents/agent/handoffs.html",
    "memory": "agents/agent/memory.html",
}


@require_safe
@page
def agents(request: PageRequest) -> HttpResponse:
    """The agents of the workspace, by words, status and definition."""
    shown = AgentList(request.reader, request.GET, database_now())
    context = {"place": "agents", "shown": shown, "may_edit": request.reader.may(Role.EDITOR)}
    return answer(request, "agents/agents.html", context, regions=LIST_REGIONS)


@require_safe
@page
def agent(request: PageRequest, agent_id: UUID) -> HttpResponse:
    """One agent: how it stands and did, its steps, configuration, memory, handoffs."""
    now = database_now()
    chosen = find_agent(request, agent_id)
    shown = AgentPage(standing_agents(request.reader, now).get(pk=chosen.pk), request.GET, now)
    context = {"place": "agents", "shown": shown, "may_edit": request.reader.may(Role.EDITOR)}
    return answer(request, "agents/agent.html", context, regions=AGENT_REGIONS)


def find_agent(request: PageRequest, agent_id: UUID) -> Any:
    """Return an agent that the reader sees, and turn the page to its workspace."""
    chosen = AgentInstance.objects.visible_to(request.user).filter(pk=agent_id).first()
    if chosen is None:
        raise Http404
    enter_workspace(request, chosen.workspace_id)
    return chosen
