"""The tool servers of a workspace, and what each offers its agents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agents.masking import text_without_secrets
from agents.models import ToolServer
from workflows.net import origin_of
from workflows.pages import Reader


@dataclass(frozen=True, slots=True)
class ServerLine:
    """A server."""

    server: Any

    @property
    def origin(self) -> str:
        """Where it is, without what may be secret."""
        return origin_of(self.server.url)

    @property
    def error(self) -> str:
        """Why it did not offer what it should when it was last asked."""
        return text_without_secrets(self.server.last_error)

    @property
    def tools(self) -> list[tuple[str, str]]:
        """The names of its tools as an agent's config has them, with their descriptions."""
        slug = self.server.slug
        return [(f"{slug}/{tool['name']}", tool["description"]) for tool in self.server.tools]


class ToolServersPage:
    """The servers of the reader's workspace."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @cached_property
    def lines(self) -> list[ServerLine]:
        """Each server, by name."""
        rows = ToolServer.objects.filter(workspace=self._reader.workspace).order_by("name", "pk")
        return [ServerLine(row) for row in rows]
