"""What agents spent: over a period, on each of the last 30 days, and of the workspace's budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Sum

from agents.models import AgentReservation, AgentUsage
from agents.pages.performance import Bar, Period, earliest_id
from agents.prices import units_of
from agents.services.budgets import Budget, read_budgets
from workflows.models import Workspace

#: So many days are looked back on, today included.
DAYS: Final = 30
_SPENT: Final = ("input_tokens", "output_tokens", "cost_micros")
_SCALES: Final = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that models were told and that they answered, and what both cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def words(self) -> str:
        """The tokens, as short as they can be read."""
        return short(self.tokens)

    @property
    def told(self) -> str:
        """The tokens that models were told, as short."""
        return short(self.input_tokens)

    @property
    def said(self) -> str:
        """The tokens that they answered, as short."""
        return short(self.output_tokens)

    @property
    def cost(self) -> str:
        """The cost in the unit of the prices."""
        return money(self.cost_micros)


_NOTHING: Final = Spent()


@dataclass(frozen=True, slots=True)
class Day:
    """What the attempts came to that ended on a day (UTC)."""

    day: date
    steps: int = 0
    failures: int = 0
    spent: Spent = _NOTHING
    busy_ms: int = 0


@dataclass(frozen=True, slots=True)
class Days:
    """The last days of an agent, the oldest first."""

    days: tuple[Day, ...]

    @property
    def is_used(self) -> bool:
        """Whether anything ended on any of them."""
        return any(day.steps or day.spent.tokens for day in self.days)

    @property
    def told(self) -> list[Day]:
        """Those on which anything ended, the newest first."""
        return [day for day in reversed(self.days) if day.steps or day.spent.tokens]

    @property
    def total(self) -> Spent:
        """What was spent on all of them."""
        return Spent(
            sum(day.spent.input_tokens for day in self.days),
            sum(day.spent.output_tokens for day in self.days),
            sum(day.spent.cost_micros for day in self.days),
        )

    @property
    def failures(self) -> int:
        return sum(day.failures for day in self.days)

    @property
    def dearest(self) -> Day:
        """The day on which most tokens were used."""
        return max(self.days, key=lambda day: day.spent.tokens)

    @property
    def steps(self) -> int:
        return sum(day.steps for day in self.days)

    def step_bars(self) -> Iterator[Bar]:
        """Yield a bar a day: the steps that failed stand on the others."""
        heights = [(day.steps - day.failures, day.failures) for day in self.days]
        return _bars(heights, ("completed", "failed"))

    def token_bars(self) -> Iterator[Bar]:
        """Yield a bar a day: the tokens that were answered stand on those that were told."""
        heights = [(day.spent.input_tokens, day.spent.output_tokens) for day in self.days]
        return _bars(heights, ("told", "answered"))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workspace's budget stands."""

    budget: Budget

    @property
    def month(self) -> str:
        return f"{self.budget.month:%B}"

    def parts(self) -> Iterator[str]:
        """Yield how much of each limit is spent or reserved."""
        budget, used = self.budget, self.budget.used
        if budget.tokens is not None:
            allowed = budget.tokens + budget.granted.tokens
            yield f"{short(used.tokens)} of {short(allowed)} tokens"
        if budget.cost_micros is not None:
            allowed = budget.cost_micros + budget.granted.cost_micros
            yield f"{money(used.cost_micros)} of {money(allowed)}"

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left of one of the limits."""
        budget, used = self.budget, self.budget.used
        limits = (
            (budget.tokens, budget.granted.tokens, used.tokens),
            (budget.cost_micros, budget.granted.cost_micros, used.cost_micros),
        )
        return any(most is not None and most + more <= taken for most, more, taken in limits)


def spent_by_each(
    workspace_id: UUID, period: Period, now: datetime, agent_id: UUID | None = None
) -> dict[UUID, Spent]:
    """Return what the agents of a workspace, or one of them, spent in a period."""
    since = now - period.length
    ended = AgentReservation.objects.filter(
        id__gte=earliest_id(since),
        workspace_id=workspace_id,
        reserved_at__gte=since,
        released_at__isnull=False,
    )
    if agent_id:
        ended = ended.filter(agent_instance_id=agent_id)
    rows = ended.order_by().values_list("agent_instance_id")
    return {
        agent: Spent(*map(int, sums))
        for agent, *sums in rows.annotate(*(Sum(name) for name in _SPENT))
    }


def days_of(agent_id: UUID, now: datetime) -> Days:
    """Return the last 30 days of an agent, today included."""
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    known = {
        row.day: Day(
            row.day,
            row.steps,
            row.failures,
            Spent(row.input_tokens, row.output_tokens, row.cost_micros),
            row.busy_ms,
        )
        for row in AgentUsage.objects.filter(agent_instance_id=agent_id, day__gte=first)
    }
    days = [first + timedelta(days=number) for number in range(DAYS)]
    return Days(tuple(known.get(day, Day(day)) for day in days))


def standing_of(workspace: Workspace, now: datetime) -> Standing | None:
    """Return how the budget of a workspace stands; None where it has none."""
    budget = read_budgets({workspace.pk: workspace.settings}, now).get(workspace.pk)
    return Standing(budget) if budget else None


def together(spent: Mapping[Any, Spent]) -> Spent:
    """Return what several spent together."""
    return Spent(*(sum(getattr(each, name) for each in spent.values()) for name in _SPENT))


def short(count: int) -> str:
    """Return a number in three digits at most, never rounded up: 1,234,567 is 1.23 M."""
    for scale, letter in _SCALES:
        if count >= scale:
            whole = count // scale
            places = 2 if whole < 10 else 1 if whole < 100 else 0
            cut = count * 10**places // scale / 10**places
            digits = f"{cut:,.{places}f}"
            return (
                f"{digits.rstrip('0').rstrip('.') if places else digits}\N{NO-BREAK SPACE}{letter}"
            )
    return str(count)


def money(micros: int) -> str:
    """Return a cost with two places, or with as many as a small one needs to be more than 0; cut
    off, and not rounded."""
    if 0 < micros < 10_000:
        return f"{units_of(micros):.6f}".rstrip("0")
    return f"{units_of(micros // 10_000 * 10_000):,.2f}"


def _bars(heights: Sequence[tuple[int, int]], tones: tuple[str, str]) -> Iterator[Bar]:
    """Yield bars of two parts each, the second on the first, as ``Course`` draws them."""
    scale = 20 / max(max(map(sum, heights)), 1)
    for at, (lower, upper) in enumerate(heights):
        if lower:
            yield Bar(at + 0.1, 20 - lower * scale, lower * scale, tones[0])
        if upper:
            yield Bar(at + 0.1, 20 - (lower + upper) * scale, upper * scale, tones[1])
