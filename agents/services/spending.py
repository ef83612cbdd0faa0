"""What attempts have spent when they end, written in the transaction of their results.

Each place that is given back says what its attempt spent, and each agent has a row a day of what
all of them came to. Of one that was cut off nobody knows: what was reserved for it counts as lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from uuid import UUID

from agents.models import AgentInstance, AgentLoss, AgentReservation, AgentUsage
from agents.prices import MOST_TOKENS, Prices, cost_of, spending_of
from agents.services.circuit import lock_for_assigning
from agents.work import Work
from workflows.bulk import Column, insert_rows, update_rows
from workflows.core.outcomes import Asks, Failed
from workflows.handlers import Ended


@dataclass(slots=True)
class _Sums:
    """What attempts came to, in the order of the columns of ``AgentUsage``."""

    steps: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    busy_ms: int = 0


_SUMS = tuple(field.name for field in fields(_Sums))
_SPENT = ("input_tokens", "output_tokens", "cost_micros")
_USAGE = AgentUsage._meta.db_table
_USAGE_COLUMNS = (
    Column("workspace_id", "uuid"),
    Column("agent_instance_id", "uuid"),
    Column("day", "date"),
    *(Column(name, "bigint") for name in _SUMS),
)
_ADD_UP = "(agent_instance_id, day) DO UPDATE SET " + ", ".join(
    f"{name} = {_USAGE}.{name} + excluded.{name}" for name in _SUMS
)
_PLACE_COLUMNS = (Column("id", "uuid"), *(Column(name, "bigint") for name in _SPENT))


def note_spending(
    ended: Sequence[Ended], held: Mapping[UUID, AgentReservation], now: datetime
) -> None:
    """Write what attempts have spent; ``held``: what they hold.

    Call it before their places are given back, and after their agents are marked: a row of usage
    stays locked until the transaction ends, so whoever has one must not wait for marks any more.
    """
    over = [
        (held[each.step_execution_id], each) for each in ended if each.step_execution_id in held
    ]
    _note_losses([place for place, each in over if each.outcome is None], now)
    over = [(place, each) for place, each in over if each.outcome is not None]
    if not over:
        return
    lock_for_assigning()
    spent = []
    usage: dict[tuple[UUID, UUID], _Sums] = {}
    for place, each in over:
        work = _work(each)
        told, said = _bounded(work.input_tokens), _bounded(work.output_tokens)
        sums = usage.setdefault((place.agent_instance_id, place.workspace_id), _Sums())
        sums.steps += not isinstance(each.outcome, Asks)
        sums.failures += isinstance(each.outcome, Failed)
        sums.busy_ms += max(0, round((now - place.reserved_at).total_seconds() * 1_000))
        if told or said or work.cost_micros:
            cost = work.cost_micros or cost_of(_prices(place.agent_instance), told, said)
            sums.input_tokens += told
            sums.output_tokens += said
            sums.cost_micros += cost
            spent.append((place.id, told, said, cost))
    update_rows(AgentReservation._meta.db_table, _PLACE_COLUMNS, spent)
    _add_up(usage, now.astimezone(UTC).date())


def _add_up(usage: Mapping[tuple[UUID, UUID], _Sums], day: date) -> None:
    """Add to the day's rows of agents, in the order of their ids, so that two turns which add to
    the same ones do not wait for each other."""
    rows = [
        (workspace_id, agent_id, day, *(getattr(sums, name) for name in _SUMS))
        for (agent_id, workspace_id), sums in sorted(usage.items(), key=lambda item: item[0])
    ]
    insert_rows(_USAGE, _USAGE_COLUMNS, rows, on_conflict=_ADD_UP)


def _note_losses(places: Sequence[AgentReservation], now: datetime) -> None:
    AgentLoss.objects.bulk_create(
        AgentLoss(
            workspace_id=place.workspace_id,
            lost_at=now,
            tokens=place.tokens_reserved,
            cost_micros=place.cost_reserved_micros,
        )
        for place in places
        if place.tokens_reserved > 0 or place.cost_reserved_micros > 0
    )


def _prices(agent: AgentInstance) -> Prices | None:
    """Return what an agent's tokens cost, if it says so."""
    return spending_of({**agent.definition.config, **agent.config}).prices


def _work(ended: Ended) -> Work:
    return ended.notes if isinstance(ended.notes, Work) else Work()


def _bounded(tokens: int) -> int:
    """Return a count that an agent outside has told, as far as it can be true."""
    return min(max(tokens, 0), MOST_TOKENS)
