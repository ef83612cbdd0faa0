"""The addresses of the pages of agents."""

from django.urls import path

from agents.views import agents, memory, tool_servers

urlpatterns = [
    path("agents/", agents.agents, name="agents"),
    path("agents/tools/", tool_servers.tool_servers, name="tool_servers"),
    path("agents/tools/<uuid:server_id>/read/", tool_servers.read, name="read_tools"),
    path("agents/<uuid:agent_id>/", agents.agent, name="agent"),
    path("agents/<uuid:agent_id>/memory/clear/", memory.clear, name="clear_agent_memory"),
    path("agents/<uuid:agent_id>/memory/past/", memory.past, name="agent_memory_past"),
    path("agents/<uuid:agent_id>/memory/export/", memory.export, name="export_agent_memory"),
]
