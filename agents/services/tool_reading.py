"""What tool servers offer, read by the relays of the engine when it is due (``OUTBOXES``).

There, because the secrets are in the environment of those that call agents and their tools, and
because nobody's request should wait for a server outside.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Min

from agents.faults import AgentFault
from agents.models import ToolServer
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import UnstorableError
from workflows.events import EventDraft, EventType, append_events

logger = logging.getLogger("agents")

#: How long what a server said counts as fresh.
FRESH: Final = timedelta(minutes=5)
#: Nobody else asks a server that was taken, until its process must have ended.
_CLAIM: Final = timedelta(seconds=60)
_READ_SECONDS: Final = 15.0
_MOST_TOOLS: Final = 200
_LONGEST_DESCRIPTION: Final = 2_000
_MOST_BYTES: Final = 262_144
#: Names that also stand in a header and in an agent's config.
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True, slots=True)
class Question:
    """A server that this process is to ask."""

    server_id: UUID
    url: str
    secret_env: str = field(repr=False)
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """What a server offers; None where it could not be asked: ``error`` says why."""

    tools: list[dict[str, Any]] | None
    error: str = ""


class ToolReading:
    """The servers that are to be asked (``settings.OUTBOXES``)."""

    at_once = 4

    def next_due(self) -> datetime | None:
        found: datetime | None = ToolServer.objects.aggregate(at=Min("due_at"))["at"]
        return found

    def claim(self, now: datetime, at_most: int, sending: Sequence[Question]) -> list[Question]:
        with transaction.atomic():
            due = ToolServer.objects.filter(due_at__lte=now).order_by("due_at")
            rows = list(due.select_for_update(skip_locked=True)[:at_most])
            for row in rows:
                row.due_at = now + _CLAIM
            ToolServer.objects.bulk_update(rows, ["due_at"])
        return [Question(row.pk, row.url, row.secret_env, now + _CLAIM) for row in rows]

    def send(self, question: Question) -> Found:
        """Ask a server what it offers."""
        from agents.backends.calls import secret_for
        from agents.backends.mcp_session import McpSession, ToolServerFault

        try:
            secret = secret_for(question.secret_env, question.url) if question.secret_env else ""
            session = McpSession(question.url, secret, _READ_SECONDS)
            return kept(asyncio.run(session.list_tools()))
        except (ToolServerFault, AgentFault) as fault:
            return Found(None, str(fault))

    def record(self, sent: Sequence[tuple[Question, Found]], now: datetime) -> None:
        for question, found in sent:
            with transaction.atomic():
                own = ToolServer.objects.filter(pk=question.server_id, due_at=question.due_at)
                server = own.select_for_update().first()
                if server is not None:
                    _record(server, found, now)


def kept(tools: Sequence[dict[str, Any]]) -> Found:
    """Return what is kept of the tools that a server describes, and why some are not."""
    found: dict[str, dict[str, Any]] = {}
    left_out, size = [], 0
    for tool in tools:
        name, schema = tool.get("name"), tool.get("inputSchema")
        is_named = isinstance(name, str) and _NAME.fullmatch(name) and name not in found
        if not is_named or not isinstance(schema, dict) or schema.get("type") != "object":
            left_out.append(str(name)[:60])
            continue
        description = tool.get("description")
        words = description[:_LONGEST_DESCRIPTION] if isinstance(description, str) else ""
        entry = {"name": name, "description": words, "input_schema": schema}
        try:
            size += len(dumps_canonical(entry, max_bytes=_MOST_BYTES))
        except UnstorableError:
            left_out.append(str(name))
            continue
        if size > _MOST_BYTES or len(found) == _MOST_TOOLS:
            left_out.append(str(name))
            break
        found[str(name)] = entry
    error = f"Not understood, or too much, and left out: {', '.join(left_out[:10])}"
    return Found(list(found.values()), error if left_out else "")


def _record(server: ToolServer, found: Found, now: datetime) -> None:
    before = {tool["name"]: tool for tool in server.tools}
    is_first, said = server.tools_read_at is None, server.last_error
    server.tools_read_at, server.due_at = now, now + FRESH
    server.last_error = found.error
    if found.tools is None:
        logger.warning("The tool server %s could not be asked: %s", server.slug, found.error)
    else:
        server.tools = found.tools
    server.save(update_fields=["tools", "tools_read_at", "due_at", "last_error"])
    after = {tool["name"]: tool for tool in server.tools}
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if is_first or changed or found.error != said:
        append_events([_tell(server, changed, is_first=is_first)], now)


def _tell(server: ToolServer, changed: list[str], *, is_first: bool) -> EventDraft:
    """Return the event that says what is new of a server: its tools, other tools, or an error."""
    data: dict[str, Any] = {"tool_server": server.slug, "tools": changed[:50]}
    if changed and not is_first:
        activity = "tools_changed"
        words = f"changed what it offers: {', '.join(changed[:5])}"
    elif server.last_error:
        activity, words = "tools_missing", "did not offer what it should"
    else:
        count = len(server.tools)
        activity, words = "tools_read", f"offers {count} tool{'' if count == 1 else 's'}"
    return EventDraft(
        EventType.AGENT_ACTIVITY,
        server.workspace_id,
        data={"activity": activity, **data},
        message=f"The tool server {server.name} {words}",
    )
