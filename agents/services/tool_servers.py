"""Tool servers of a workspace: its editors say which MCP servers its agents may use."""

import re
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from agents.models import ToolServer
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Role, User, Workspace
from workflows.services.access import require_role
from workflows.services.webhooks import find_wrong_address

MAX_SERVERS: Final = 100
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_SLUG: Final = re.compile(r"[a-zA-Z0-9_-]{1,50}")


def create_tool_server(
    workspace: Workspace, *, user: User, name: str, url: str, **fields: Any
) -> ToolServer:
    """Let a workspace's agents use an MCP server; the engine soon reads what it offers.

    Raises:
        NotVisible, NotPermitted: the user is no editor.
        InvalidInput: the address is none to be called, or the slug or ``secret_env`` is wrong.
        Conflict: ``slug_taken``, ``too_many``.
    """
    require_role(user, workspace.pk, Role.EDITOR)
    fields.setdefault("slug", slugify(name)[:50])
    server = ToolServer(workspace=workspace, name=name, url=url, **fields)
    with transaction.atomic():
        if ToolServer.objects.filter(workspace=workspace).count() >= MAX_SERVERS:
            message = f"A workspace has at most {MAX_SERVERS} tool servers."
            raise Conflict(message, code="too_many")
        return _save(server, user, "created", sorted({"name", "url", *fields}))


def change_tool_server(server_id: UUID, *, user: User, **fields: Any) -> ToolServer:
    """Change what is given of a tool server, and have it asked anew. Raises as
    ``create_tool_server``."""
    with transaction.atomic():
        server = _take(server_id, user)
        if fields.get("url", server.url) != server.url:
            server.tools, server.tools_read_at = [], None
        for field, value in fields.items():
            setattr(server, field, value)
        return _save(server, user, "changed", sorted(fields))


def delete_tool_server(server_id: UUID, *, user: User) -> None:
    """Let no agent use a tool server any more. Raises NotVisible, NotPermitted."""
    with transaction.atomic():
        server = _take(server_id, user)
        draft = _draft(server, user, "deleted", [])
        server.delete()
        append_events([draft], database_now())


def read_tools(server_id: UUID, *, user: User) -> ToolServer:
    """Have a tool server asked now what it offers; ``tools_read_at`` says when it was.

    Raises NotVisible, NotPermitted, and Conflict ``switched_off``.
    """
    with transaction.atomic():
        server = _take(server_id, user)
        if not server.is_enabled:
            raise Conflict("The tool server is switched off.", code="switched_off")
        now = database_now()
        server.due_at = now
        server.save(update_fields=["due_at"])
        append_events([_draft(server, user, "asked", [])], now)
    return server


def _take(server_id: UUID, user: User) -> ToolServer:
    found = ToolServer.objects.visible_to(user).filter(pk=server_id)
    server: ToolServer | None = found.select_for_update(of=("self",)).first()
    if server is None:
        raise NotVisible("There is no such tool server.")
    require_role(user, server.workspace_id, Role.EDITOR)
    return server


def _save(server: ToolServer, user: User, verb: str, fields: list[str]) -> ToolServer:
    problems = find_wrong_address(server.url, "/url")
    if not server.name.strip():
        problems.append(Problem("", "required", "Give it a name", "/name"))
    elif not _SLUG.fullmatch(server.slug):
        message = "Give it a slug: letters, digits, hyphens"
        problems.append(Problem("", "required", message, "/slug"))
    if server.secret_env and not _VARIABLE.fullmatch(server.secret_env):
        message = "The name of a variable of the environment, not the secret itself"
        problems.append(Problem("", "invalid", message, "/secret_env"))
    if problems:
        raise InvalidInput("The tool server cannot be kept like this.", problems)
    now = database_now()
    server.due_at = now if server.is_enabled else None
    try:
        with transaction.atomic():
            server.save()
    except IntegrityError:
        message = f"Another tool server of the workspace has the slug '{server.slug}'."
        raise Conflict(message, code="slug_taken") from None
    append_events([_draft(server, user, verb, fields)], now)
    return server


def _draft(server: ToolServer, user: User, verb: str, fields: list[str]) -> EventDraft:
    # Not its address: that may hold what is secret between the two sides.
    data = {"activity": f"tool_server_{verb}", "tool_server": server.slug, "fields": fields}
    message = f"{user.username} {verb} the tool server {server.name}"
    actor = f"user:{user.username}"
    return EventDraft(
        EventType.AGENT_ACTIVITY, server.workspace_id, actor=actor, data=data, message=message
    )
