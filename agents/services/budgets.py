"""What the agents of a workspace may spend in a month, and what is left of it.

A budget is a policy of the workspace (``workflows/policies.py``), with what people have granted
besides. What is spent counts, what is reserved for attempts that run, and what was lost with those
that were cut off. None of these sums is kept; whoever reserves has the workspace's row locked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from agents.models import AgentBudgetAnswer, AgentLoss, AgentReservation, AgentUsage
from agents.prices import NOTHING, Amount, micros_of
from workflows.bulk import as_uuid, select
from workflows.policies import MONTHLY_AGENT_COST, MONTHLY_AGENT_TOKENS

#: What a workspace has whose agents may spend only so much.
BUDGETS = (MONTHLY_AGENT_TOKENS, MONTHLY_AGENT_COST)

_SUMS = (
    "SELECT workspace_id, kind, sum(tokens), sum(cost) FROM ("
    "SELECT workspace_id, 'spent' AS kind, input_tokens + output_tokens AS tokens,"
    f" cost_micros AS cost FROM {AgentUsage._meta.db_table}"
    " WHERE workspace_id = ANY(%s) AND day >= %s"
    " UNION ALL SELECT workspace_id, 'lost', tokens, cost_micros"
    f" FROM {AgentLoss._meta.db_table} WHERE workspace_id = ANY(%s) AND lost_at >= %s"
    " UNION ALL SELECT workspace_id, 'reserved', tokens_reserved, cost_reserved_micros"
    f" FROM {AgentReservation._meta.db_table}"
    " WHERE workspace_id = ANY(%s) AND released_at IS NULL AND expires_at > %s"
    " UNION ALL SELECT workspace_id, 'granted', tokens, cost_micros"
    f" FROM {AgentBudgetAnswer._meta.db_table} WHERE workspace_id = ANY(%s) AND month = %s"
    ") AS amounts GROUP BY workspace_id, kind"
)


@dataclass(slots=True)
class Budget:
    """What the agents of a workspace may spend this month, and what has become of it.

    ``tokens`` and ``cost_micros`` are what the policy says, None where it says nothing.
    ``month``: its first day. ``spent`` includes what was ``lost``.
    """

    month: date
    tokens: int | None
    cost_micros: int | None
    granted: Amount = NOTHING
    spent: Amount = NOTHING
    lost: Amount = NOTHING
    reserved: Amount = NOTHING

    @property
    def is_limited(self) -> bool:
        """Whether the policy says anything."""
        return self.tokens is not None or self.cost_micros is not None

    @property
    def used(self) -> Amount:
        """What can be spent on nothing else."""
        return self.spent + self.reserved

    def missing_for(self, need: Amount) -> Amount:
        """Return how much of what a step needs is not left."""
        after = self.used + need
        return Amount(
            _beyond(after.tokens, self.tokens, self.granted.tokens) if need.tokens else 0,
            _beyond(after.cost_micros, self.cost_micros, self.granted.cost_micros)
            if need.cost_micros
            else 0,
        )

    def is_more_than(self, tokens: int | None, cost_micros: int | None) -> bool:
        """Tell whether the policy allows more than it did when it said this."""
        return _is_raised(self.tokens, tokens) or _is_raised(self.cost_micros, cost_micros)


def budget_of(settings: Mapping[str, Any], month: date) -> Budget:
    """Return what the settings of a workspace say of a month, with nothing spent yet."""
    cost = settings.get(MONTHLY_AGENT_COST)
    return Budget(
        month, settings.get(MONTHLY_AGENT_TOKENS), None if cost is None else micros_of(cost)
    )


def read_budgets(settings: Mapping[UUID, Mapping[str, Any]], now: datetime) -> dict[UUID, Budget]:
    """Return the budgets of those workspaces that have one, as they stand in this instant."""
    month = month_of(now)
    budgets = {
        workspace_id: budget
        for workspace_id, said in settings.items()
        if (budget := budget_of(said, month)).is_limited
    }
    if budgets:
        fill_in(budgets, now)
    return budgets


def fill_in(budgets: Mapping[UUID, Budget], now: datetime) -> None:
    """Write into the budgets of workspaces what has become of them in this instant."""
    month = month_of(now)
    ids, first = list(budgets), datetime(month.year, month.month, 1, tzinfo=UTC)
    # In one statement, so that what moves from reserved to spent meanwhile is counted once.
    for key, kind, tokens, cost in select(
        _SUMS, ids, month.isoformat(), ids, first, ids, now, ids, month.isoformat()
    ):
        budget = budgets[as_uuid(key)]
        setattr(budget, kind, Amount(int(tokens), int(cost)))
    for budget in budgets.values():
        budget.spent += budget.lost


def month_of(moment: datetime) -> date:
    """Return the first day of the month (UTC) that a moment is in."""
    return moment.astimezone(UTC).date().replace(day=1)


def _beyond(amount: int, budget: int | None, granted: int) -> int:
    return 0 if budget is None else max(0, amount - budget - granted)


def _is_raised(now: int | None, before: int | None) -> bool:
    return before is not None and (now is None or now > before)
