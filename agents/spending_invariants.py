"""I5: what agents spend is within budgets, and counted; see ``agents/invariants.py``."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from agents.services.budgets import Budget, budget_of, month_of
from workflows.invariants.asking import Query, as_json, as_moment

_LIVE = "released_at IS NULL AND expires_at > CURRENT_TIMESTAMP"
#: What an attempt spent of what was reserved for it: a service outside may have taken more.
_OF_RESERVED = (
    "sum(CASE WHEN {spent} < {reserved} THEN {spent} ELSE {reserved} END)"
    " FROM agents_agentreservation"
)


def budgets_are_kept(query: Query) -> Iterator[str]:
    """I5: what is reserved for steps under way was left of the budget when the last one began.

    A budget that is made lower holds for the steps that begin after that.
    """
    for workspace, settings, last, tokens, cost in query(
        "SELECT w.id, w.settings, max(r.reserved_at), sum(r.tokens_reserved),"
        " sum(r.cost_reserved_micros) FROM workflows_workspace w"
        " JOIN agents_agentreservation r ON r.workspace_id = w.id"
        f" WHERE (r.tokens_reserved > 0 OR r.cost_reserved_micros > 0) AND r.{_LIVE}"
        " GROUP BY w.id, w.settings"
    ):
        began = as_moment(last)
        assert began is not None
        budget = budget_of(as_json(settings), month_of(began.astimezone(UTC)))
        for name, most, reserved in (
            ("tokens", budget.tokens, int(tokens)),
            ("cost_micros", budget.cost_micros, int(cost)),
        ):
            if most is None:
                continue
            spent, granted = _spent_and_granted(query, workspace, budget, name)
            if reserved and reserved + spent > most + granted:
                yield (
                    f"I5: the agents of {workspace} have spent {spent} and reserved {reserved} of"
                    f" {most + granted} ({name}) in {budget.month:%Y-%m}"
                )


def _spent_and_granted(query: Query, workspace: Any, budget: Budget, name: str) -> tuple[int, int]:
    """Return what was spent or lost in a month of what was reserved, and what was granted."""
    spent, reserved = {
        "tokens": ("(input_tokens + output_tokens)", "tokens_reserved"),
        "cost_micros": ("cost_micros", "cost_reserved_micros"),
    }[name]
    month = f"{budget.month:%Y-%m-%d}"
    [row] = query(
        f"SELECT (SELECT {_OF_RESERVED.format(spent=spent, reserved=reserved)}"
        f" WHERE workspace_id = '{workspace}' AND released_at >= '{month} 00:00:00+00'),"
        f" (SELECT sum({name}) FROM agents_agentloss"
        f" WHERE workspace_id = '{workspace}' AND lost_at >= '{month} 00:00:00+00'),"
        f" (SELECT sum({name}) FROM agents_agentbudgetanswer"
        f" WHERE workspace_id = '{workspace}' AND month = '{month}')"
    )
    used, lost, granted = (int(each or 0) for each in row)
    return used + lost, granted


def usage_is_counted(query: Query) -> Iterator[str]:
    """I5: an agent's days add up to no less than the attempts that are still kept."""
    for agent, *sums in query(
        "SELECT r.agent_instance_id, r.told, r.said, r.cost, coalesce(u.told, 0),"
        " coalesce(u.said, 0), coalesce(u.cost, 0) FROM"
        " (SELECT agent_instance_id, sum(input_tokens) AS told, sum(output_tokens) AS said,"
        " sum(cost_micros) AS cost FROM agents_agentreservation"
        " WHERE released_at IS NOT NULL GROUP BY agent_instance_id) AS r"
        " LEFT JOIN (SELECT agent_instance_id, sum(input_tokens) AS told,"
        " sum(output_tokens) AS said, sum(cost_micros) AS cost"
        " FROM agents_agentusage GROUP BY agent_instance_id) AS u"
        " ON u.agent_instance_id = r.agent_instance_id"
        " WHERE r.told > coalesce(u.told, 0) OR r.said > coalesce(u.said, 0)"
        " OR r.cost > coalesce(u.cost, 0)"
    ):
        kept, counted = [int(n) for n in sums[:3]], [int(n) for n in sums[3:]]
        yield f"I5: the days of the agent {agent} add up to {counted}, its attempts to {kept}"
