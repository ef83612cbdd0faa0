"""What the page of an agent shows: how it stands and did, its steps, what was said, memory and
handoffs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from agents.masking import text_without_secrets, without_secrets
from agents.pages.assignments import Assignment, latest_assignments
from agents.pages.conversations import Conversation, conversations
from agents.pages.handoffs import HandoffLine, latest_handoffs
from agents.pages.memory_list import MemoryList
from agents.pages.performance import PERIODS, Course, Performance, Performances, Period
from agents.pages.spending import Days, Spent, days_of, spent_by_each
from agents.services.heartbeats import not_heard_of_since, silence_allowed, silent_since
from workflows.pages.documents import show_json

_STEPS_SHOWN: Final = 8


class AgentPage:
    """An agent with its `load` and `standing` at `now`.

    Args:
        asked: the query of the address: `period`, `conversation` (the id of a step execution),
            and what its memory is asked for.
    """

    def __init__(self, agent: Any, asked: Mapping[str, str], now: datetime) -> None:
        self.agent = agent
        self.now = now
        self.period_name = asked["period"] if asked.get("period") in PERIODS else "day"
        self.periods = [(name, period.word) for name, period in PERIODS.items()]
        self.asked_conversation = asked.get("conversation", "")
        self.memory = MemoryList(agent, asked, now)

    @property
    def period(self) -> Period:
        """The time that the figures are of."""
        return PERIODS[self.period_name]

    @property
    def error(self) -> str:
        """What it failed with last."""
        return text_without_secrets(self.agent.last_error)

    @cached_property
    def silence(self) -> str:
        """Since when nothing is heard of it, where that is too long."""
        since = silent_since(self.agent, self.now)
        return not_heard_of_since(since) if since else ""

    @property
    def heartbeat_seconds(self) -> str:
        """How long it may be silent, if it is at all expected to show that it lives."""
        limit = silence_allowed(self.agent)
        return f"{limit.total_seconds():g}" if limit else ""

    @property
    def config(self) -> str:
        """The definition's configuration with the agent's own over it, without secrets."""
        config = {**self.agent.definition.config, **self.agent.config}
        return show_json(without_secrets(config)) if config else ""

    @cached_property
    def performance(self) -> Performance:
        """How it did."""
        return self._performances.of_each().get(self.agent.pk, Performance())

    @cached_property
    def course(self) -> Course | None:
        """How many steps ended in each part of the period; None where none did."""
        return self._performances.courses().get(self.agent.pk)

    @cached_property
    def spent(self) -> Spent:
        """What it spent in the period."""
        spent = spent_by_each(self.agent.workspace_id, self.period, self.now, self.agent.pk)
        return spent.get(self.agent.pk, Spent())

    @cached_property
    def days(self) -> Days:
        """What its last 30 days came to."""
        return days_of(self.agent.pk, self.now)

    @cached_property
    def assignments(self) -> list[Assignment]:
        """The latest steps that it took."""
        return latest_assignments(
            self.agent.workspace_id, self.now, count=_STEPS_SHOWN, agent=self.agent
        )

    @cached_property
    def handoffs(self) -> list[HandoffLine]:
        """What it handed over and got."""
        return latest_handoffs(self.agent)

    @cached_property
    def conversations(self) -> list[Conversation]:
        """What it was told and said."""
        return conversations(self.agent, self.asked_conversation)

    @cached_property
    def _performances(self) -> Performances:
        agent = self.agent
        return Performances(agent.workspace_id, self.period, self.now, agent.pk)
