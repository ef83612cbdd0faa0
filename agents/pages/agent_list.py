"""The agents of a workspace: figures, instances, the chosen one's memory, why they were chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.db.models.functions import Lower

from agents.masking import text_without_secrets
from agents.models import AgentDefinition, AgentWait
from agents.pages.assignments import Assignment, latest_assignments
from agents.pages.memory_list import MemoryList
from agents.pages.performance import PERIODS, Course, Performance, Performances, Period
from agents.pages.spending import Spent, Standing, spent_by_each, standing_of, together
from agents.pages.standing import NEED_ATTENTION, STANDINGS, standing_agents
from agents.services.circuit import places
from agents.services.line import STILL_WAITS
from workflows.pages import Listing, Reader, read_words, take_page
from workflows.policies import MAX_AGENT_STEPS

_FILTERS: Final = ("q", "status", "definition")
_ASSIGNMENTS_SHOWN: Final = 4
_DEFINITIONS_AT_MOST: Final = 500
#: Steps that wait are counted up to here.
_WAITS_AT_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent of the list.

    Attributes:
        href: chooses it, so that its memory stands beside the list.
        waiting: how many steps wait that it could take.
    """

    agent: Any
    performance: Performance
    course: Course | None
    spent: Spent
    href: str
    is_chosen: bool
    waiting: int

    @property
    def is_full(self) -> bool:
        """Whether every place is taken."""
        return bool(self.agent.load >= self.places)

    @property
    def places(self) -> int:
        """How many steps it may have at once: one that fails, one on trial."""
        return places(self.agent)

    @property
    def share(self) -> float:
        """The share of the places that are taken, at most 1."""
        return min(1.0, float(self.agent.load / self.places))

    @property
    def error(self) -> str:
        """What it failed with, unless it has come back since."""
        is_down = self.agent.standing in NEED_ATTENTION
        return text_without_secrets(self.agent.last_error) if is_down else ""


class AgentList:
    """The agents of the reader's workspace as they stand at `now`.

    Args:
        asked: the query of the address: `q`, `status`, `definition` (a slug), `period` (a name
            of `PERIODS`), `page`, and `agent`, which is the one that is chosen.
    """

    def __init__(self, reader: Reader, asked: Mapping[str, str], now: datetime) -> None:
        self.reader = reader
        self.asked = asked
        self.now = now
        self.period_name = asked["period"] if asked.get("period") in PERIODS else "day"
        self.statuses = STANDINGS
        self.periods = [(name, period.word) for name, period in PERIODS.items()]

    @property
    def period(self) -> Period:
        """The time that the figures are of."""
        return PERIODS[self.period_name]

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        return any(self.asked.get(name) for name in _FILTERS)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many agents and places there are: all, taken, and what somebody should know of."""
        is_on = ~Q(standing="disabled")
        totals: dict[str, int | None] = standing_agents(self.reader, self.now).aggregate(
            agents=Count("pk"),
            busy=Count("pk", filter=Q(load__gt=0)),
            taken=Sum("load"),
            places=Sum("max_concurrency", filter=is_on),
            attention=Count("pk", filter=Q(standing__in=NEED_ATTENTION)),
        )
        return {name: count or 0 for name, count in totals.items()}

    @cached_property
    def waiting(self) -> Counter[str]:
        """How many steps wait for each agent, by its id, and how many there are in all ("")."""
        waits = AgentWait.objects.filter(
            workspace=self.reader.workspace, asked_at__gt=self.now - STILL_WAITS
        )
        agents = list(waits.values_list("agents", flat=True)[:_WAITS_AT_MOST])
        counted = Counter(agent for each in agents if isinstance(each, list) for agent in each)
        counted[""] = len(agents)
        return counted

    @property
    def steps_waiting(self) -> str:
        """How many steps wait for an agent."""
        count = self.waiting[""]
        return f"{count:,}" + ("+" if count == _WAITS_AT_MOST else "")

    @property
    def allowed(self) -> int | None:
        """How many steps the agents may have at once, all together; None without a limit."""
        limit: int | None = self.reader.workspace.settings.get(MAX_AGENT_STEPS)
        return limit

    @cached_property
    def budget(self) -> Standing | None:
        """How what the agents may spend this month stands; None without a limit."""
        return standing_of(self.reader.workspace, self.now)

    @property
    def spent(self) -> Spent:
        """What all agents spent."""
        return together(self._spent)

    @cached_property
    def together(self) -> Performance:
        """How all agents did."""
        return self._performances.together()

    @cached_property
    def listing(self) -> Listing[AgentRow]:
        """The agents of this page."""
        taken = take_page(self._found, self.asked.get("page"))
        each, courses = self._performances.of_each(), self._performances.courses()
        rows = [
            AgentRow(
                agent=agent,
                performance=each.get(agent.pk, Performance()),
                course=courses.get(agent.pk),
                spent=self._spent.get(agent.pk, Spent()),
                href=self._choosing(agent.pk),
                is_chosen=self.chosen is not None and agent.pk == self.chosen.pk,
                waiting=self.waiting[str(agent.pk)],
            )
            for agent in taken.rows
        ]
        return Listing(rows, taken.number, taken.previous, taken.next)

    @cached_property
    def chosen(self) -> Any:
        """The agent whose memory stands beside the list; None where none is chosen."""
        try:
            agent_id = UUID(self.asked.get("agent", ""))
        except ValueError:
            return None
        return standing_agents(self.reader, self.now).filter(pk=agent_id).first()

    @cached_property
    def memory(self) -> MemoryList | None:
        """What the chosen agent remembers."""
        return MemoryList(self.chosen, {}, self.now) if self.chosen else None

    @property
    def closing(self) -> str:
        """The address with no agent chosen."""
        return self._choosing(None)

    @cached_property
    def assignments(self) -> list[Assignment]:
        """The latest assignments, of the chosen agent or of all."""
        return latest_assignments(
            self.reader.workspace.pk, self.now, count=_ASSIGNMENTS_SHOWN, agent=self.chosen
        )

    @cached_property
    def definitions(self) -> list[AgentDefinition]:
        """The definitions to filter by: those that the workspace has agents of."""
        found = AgentDefinition.objects.filter(instances__workspace=self.reader.workspace)
        return list(found.distinct().only("slug", "name")[:_DEFINITIONS_AT_MOST])

    @cached_property
    def _performances(self) -> Performances:
        return Performances(self.reader.workspace.pk, self.period, self.now)

    @cached_property
    def _spent(self) -> dict[UUID, Spent]:
        return spent_by_each(self.reader.workspace.pk, self.period, self.now)

    @property
    def _found(self) -> Any:
        asked, found = self.asked, standing_agents(self.reader, self.now)
        if words := read_words(asked.get("q")):
            found = found.filter(
                Q(name__icontains=words) | Q(slug__icontains=words) | _named(words, "definition__")
            )
        if asked.get("status") in STANDINGS:
            found = found.filter(standing=asked["status"])
        if definition := asked.get("definition"):
            found = found.filter(definition__slug=definition.replace("\0", ""))
        return found.order_by(Lower("name"), "pk")

    def _choosing(self, agent_id: UUID | None) -> str:
        kept = {name: self.asked.get(name, "") for name in (*_FILTERS, "period", "page")}
        query = {**kept, "agent": str(agent_id) if agent_id else ""}
        return "?" + urlencode({name: value for name, value in query.items() if value})


def _named(words: str, prefix: str) -> Q:
    return Q(**{f"{prefix}name__icontains": words}) | Q(**{f"{prefix}slug__icontains": words})
