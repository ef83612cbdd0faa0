"""What an agent remembers, for people to read: entries by use, searched, one of them opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, Q, QuerySet, Sum, TextField
from django.db.models.functions import Cast

from agents.models import AgentInstance, AgentMemoryEntry
from workflows.pages import Listing, read_words, take_page
from workflows.pages.documents import show_json

_ENTRIES_A_PAGE: Final = 20


class MemoryList:
    """The memory of an agent at `now`; what has expired is not there.

    Args:
        asked: the query of the address: `q`, `page`, and `entry`, the one that is opened.
    """

    def __init__(self, agent: AgentInstance, asked: Mapping[str, str], now: datetime) -> None:
        self._agent = agent
        self._asked = asked
        self._now = now

    @property
    def words(self) -> str:
        """What is searched for in keys and texts."""
        return read_words(self._asked.get("q"))

    @cached_property
    def totals(self) -> dict[str, int]:
        """How many entries there are, and their bytes."""
        found = self._entries.aggregate(entries=Count("pk"), size=Sum("size_bytes"))
        return {name: count or 0 for name, count in found.items()}

    @cached_property
    def listing(self) -> Listing[AgentMemoryEntry]:
        """The entries that were found, the one that was used last first."""
        found = self._entries.order_by("-used_at", "-pk").defer("memory_data", "metadata")
        if words := self.words:
            text = Cast("memory_data", TextField())
            found = found.annotate(data_text=text).filter(_mentions(words))
        return take_page(found, self._asked.get("page"), _ENTRIES_A_PAGE)

    @cached_property
    def opened(self) -> AgentMemoryEntry | None:
        """The entry whose text is shown."""
        try:
            entry_id = UUID(self._asked.get("entry", ""))
        except ValueError:
            return None
        return self._entries.filter(pk=entry_id).first()

    @property
    def text(self) -> str:
        """What the opened entry holds."""
        return show_json(self.opened.memory_data) if self.opened else ""

    @cached_property
    def origins(self) -> dict[UUID, AgentInstance]:
        """The agents that entries of this page came from, as far as they are still there."""
        entries = [*self.listing.rows, *([self.opened] if self.opened else [])]
        ids = {entry.threaded_from for entry in entries if entry.threaded_from}
        agents = AgentInstance.objects.filter(workspace_id=self._agent.workspace_id)
        return agents.in_bulk(ids) if ids else {}

    @property
    def lines(self) -> list[tuple[AgentMemoryEntry, AgentInstance | None]]:
        """The entries, each with the agent that it came from."""
        return [(each, self._origin(each)) for each in self.listing.rows]

    @property
    def opened_origin(self) -> AgentInstance | None:
        """The agent that the opened entry came from."""
        return self._origin(self.opened) if self.opened else None

    def _origin(self, entry: AgentMemoryEntry) -> AgentInstance | None:
        return self.origins.get(entry.threaded_from) if entry.threaded_from else None

    @property
    def _entries(self) -> QuerySet[AgentMemoryEntry]:
        is_alive = Q(expires_at__isnull=True) | Q(expires_at__gt=self._now)
        return AgentMemoryEntry.objects.filter(
            is_alive, agent_instance=self._agent, workspace_id=self._agent.workspace_id
        )


def _mentions(words: str) -> Q:
    """The condition that the key or the text holds the words; SQLite keeps them as JSON has them
    in plain ASCII."""
    found = Q(memory_key__icontains=words)
    for ascii_only in (True, False):
        written: Any = json.dumps(words, ensure_ascii=ascii_only)[1:-1]
        found |= Q(data_text__icontains=written)
    return found
