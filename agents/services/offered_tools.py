"""What an attempt may call of tool servers, told as the attempt begins: bodies read no database."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from agents.models import AgentType, ToolServer
from agents.offers import NoOffer, Offer, split_name
from agents.services.assignment import Assigned
from workflows.handlers import StepContext


def tell_tools(assigned: Iterable[tuple[StepContext, Assigned]]) -> None:
    """Put in what the servers of its workspace offer of the tools that each agent's config lists.

    It is what a server said when it was last asked, so that nobody changes a tool under an agent
    between two of its steps.
    """
    wanted = [
        (context.workspace_id, agent, names)
        for context, agent in assigned
        if agent.agent_type == AgentType.LLM and (names := _listed(agent.config))
    ]
    if not wanted:
        return
    slugs = {split_name(name)[0] for _, _, names in wanted for name in names}
    rows = ToolServer.objects.filter(
        workspace_id__in={workspace_id for workspace_id, _, _ in wanted}, slug__in=slugs
    )
    servers = {(row.workspace_id, row.slug): row for row in rows}
    for workspace_id, agent, names in wanted:
        agent.offers = {name: _offer(name, workspace_id, servers) for name in names}


def _listed(config: Mapping[str, Any]) -> list[str]:
    """Return the names of tools of servers in a config, whatever else it says."""
    tools = config.get("tools")
    names = [
        use.get("tool") if isinstance(use, Mapping) else use
        for use in (tools if isinstance(tools, list) else ())
    ]
    return [name for name in names if isinstance(name, str) and split_name(name)[0]]


def _offer(
    name: str, workspace_id: UUID, servers: Mapping[tuple[UUID, str], ToolServer]
) -> Offer | NoOffer:
    slug, tool_name = split_name(name)
    server = servers.get((workspace_id, slug))
    if server is None:
        return NoOffer(f"the workspace has no tool server “{slug[:50]}”")
    if not server.is_enabled:
        return NoOffer(f"the tool server “{slug}” is switched off")
    for tool in server.tools:
        if tool["name"] == tool_name:
            return Offer(
                slug,
                server.url,
                server.secret_env,
                tool_name,
                tool["description"],
                tool["input_schema"],
            )
    why = f" ({server.last_error[:200]})" if server.last_error else ""
    return NoOffer(f"the tool server “{slug}” offers none of that name{why}")
