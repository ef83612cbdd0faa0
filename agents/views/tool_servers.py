"""The tool servers of a workspace: what they offer, and having them asked anew."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from agents.pages.tool_servers import ToolServersPage
from agents.services.tool_servers import read_tools
from workflows.errors import Conflict
from workflows.models import Role
from workflows.pages import PageRequest, answer, page

REGIONS: Final = {"servers": "agents/tool_servers/list.html"}


@require_safe
@page
def tool_servers(request: PageRequest) -> HttpResponse:
    """The MCP servers whose tools the workspace's agents may use."""
    may_edit = request.reader.may(Role.EDITOR)
    context = {
        "place": "agents",
        "shown": ToolServersPage(request.reader),
        "may_edit": may_edit,
        "may_register": may_edit and request.user.is_staff,
    }
    return answer(request, "agents/tool_servers.html", context, regions=REGIONS)


@require_POST
@page
def read(request: PageRequest, server_id: UUID) -> HttpResponse:
    """Have a server asked now what it offers."""
    try:
        server = read_tools(server_id, user=request.user)
    except Conflict as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{server.name} is being asked what it offers.")
    return redirect("tool_servers")
