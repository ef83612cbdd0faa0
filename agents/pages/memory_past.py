"""What an agent remembered before: what it was, until when, what became of it, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from agents.memory.trust import Trust, trust_of
from agents.models import AgentInstance, AgentMemoryPast
from workflows.events import SYSTEM
from workflows.pages import Listing, take_page
from workflows.pages.documents import show_json

_VALUES_A_PAGE: Final = 20
_SHOWN_OF_KEY: Final = 3
_LONGEST: Final = 4_000
TRUST_WORDS: Final = {
    Trust.PERSON: "written by a person",
    Trust.AGENT: "made by an agent",
    Trust.OUTSIDE: "from outside",
}


@dataclass(frozen=True, slots=True)
class PastLine:
    """A value of the past, its text, and who changed it."""

    value: AgentMemoryPast

    @property
    def text(self) -> str:
        """What it was."""
        return show_json(self.value.memory_data, _LONGEST)

    @property
    def by(self) -> str:
        """Who changed it."""
        return say_actor(self.value.actor)

    @property
    def trust(self) -> str:
        """By whom it was written, in words."""
        return TRUST_WORDS[trust_of(self.value.metadata)]


class MemoryPast:
    """The past of an agent's memory, what ended last first.

    Args:
        asked: the query of the address: `key`, only what it held, and `page`.
    """

    def __init__(self, agent: AgentInstance, asked: Mapping[str, str]) -> None:
        self._agent = agent
        self._asked = asked

    @property
    def key(self) -> str:
        """Whose past it is; "" is that of all keys."""
        return self._asked.get("key", "").replace("\0", "")

    @cached_property
    def listing(self) -> Listing[PastLine]:
        """The values of this page."""
        found = AgentMemoryPast.objects.filter(
            agent_instance=self._agent, workspace_id=self._agent.workspace_id
        )
        if self.key:
            found = found.filter(memory_key=self.key)
        newest = found.order_by("-ended_at", "-pk")
        taken = take_page(newest, self._asked.get("page"), _VALUES_A_PAGE)
        lines = [PastLine(each) for each in taken.rows]
        return Listing(lines, taken.number, taken.previous, taken.next)


def past_of_key(agent: AgentInstance, key: str) -> list[PastLine]:
    """Return what a key held last before what it holds now."""
    found = AgentMemoryPast.objects.filter(
        agent_instance=agent, workspace_id=agent.workspace_id, memory_key=key
    )
    return [PastLine(each) for each in found.order_by("-ended_at", "-pk")[:_SHOWN_OF_KEY]]


def say_actor(actor: str) -> str:
    """Return who did something, as people are told: `user:ann` is ann."""
    kind, _, name = actor.partition(":")
    if actor in ("", SYSTEM):
        return "MGX"
    return f"the agent {name}" if kind == "agent" else name or actor
