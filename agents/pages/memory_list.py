"""What an agent remembers, for people to read: entries by use, searched, one of them opened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from math import floor
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from agents.memory import MemoryStats, get_memory_stats, search_memory
from agents.memory.limits import Limits, limits_of
from agents.memory.trust import Trust, trust_of
from agents.models import AgentInstance, AgentMemoryEntry
from agents.pages.memory_past import TRUST_WORDS, PastLine, past_of_key
from workflows.pages import Listing, read_words, take_page
from workflows.pages.documents import show_json

_ENTRIES_A_PAGE: Final = 20
#: Entries that are found by their texts; by its key every entry is.
_FOUND_BY_TEXT: Final = 50


class MemoryLine(NamedTuple):
    """An entry, the agent that it came from, and by whom it was written."""

    entry: AgentMemoryEntry
    origin: AgentInstance | None
    trust: Trust

    @property
    def trust_word(self) -> str:
        """By whom it was written, in words."""
        return TRUST_WORDS[self.trust]


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
    def stats(self) -> MemoryStats:
        """How much it is, and how it has been used."""
        return get_memory_stats(self._agent.pk, self._agent.workspace_id)

    @cached_property
    def limits(self) -> Limits:
        """How much it may be at most."""
        return limits_of(self._agent.definition.config, self._agent.config)

    @property
    def hit_rate(self) -> str:
        """The part of all reads that found something; a dash before the first one."""
        rate = self.stats["hit_rate"]
        return "—" if rate is None else f"{floor(rate * 100)} %"

    @cached_property
    def listing(self) -> Listing[AgentMemoryEntry]:
        """The entries that were found, the one that was used last first."""
        found = self._entries.order_by("-used_at", "-pk").defer("memory_data")
        if words := self.words:
            held = search_memory(
                self._agent.pk, self._agent.workspace_id, words, limit=_FOUND_BY_TEXT
            )
            found = found.filter(
                Q(memory_key__icontains=words) | Q(pk__in=[entry.id for entry in held])
            )
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
    def lines(self) -> list[MemoryLine]:
        """The entries, each with where it is from."""
        return [self._line(each) for each in self.listing.rows]

    @property
    def opened_line(self) -> MemoryLine | None:
        """The opened entry with where it is from."""
        return self._line(self.opened) if self.opened else None

    @property
    def opened_past(self) -> list[PastLine]:
        """What the opened entry's key held last before."""
        return past_of_key(self._agent, self.opened.memory_key) if self.opened else []

    def _line(self, entry: AgentMemoryEntry) -> MemoryLine:
        return MemoryLine(entry, self._origin(entry), trust_of(entry.metadata))

    def _origin(self, entry: AgentMemoryEntry) -> AgentInstance | None:
        return self.origins.get(entry.threaded_from) if entry.threaded_from else None

    @property
    def _entries(self) -> QuerySet[AgentMemoryEntry]:
        is_alive = Q(expires_at__isnull=True) | Q(expires_at__gt=self._now)
        return AgentMemoryEntry.objects.filter(
            is_alive, agent_instance=self._agent, workspace_id=self._agent.workspace_id
        )
