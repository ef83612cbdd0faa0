"""What attempts have spent when they end, written in the transaction of their results.

Each place that is given back says what its attempt spent, and each agent has a row a day of what
all of them came to. Of one that was cut off nobody knows: what was reserved for it counts as lost.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from agents.models import AgentInstance, AgentLoss, AgentReservation, AgentUsage
from agents.prices import MOST_TOKENS, Prices, cost_of, spending_of
from agents.services.circuit import lock_for_assigning
from agents.work import Work
from workflows.bulk import Column, insert_rows, update_rows
from workflows.core.outcomes import Asks, Failed
from workflows.handlers import Ended


class _Place(NamedTuple):
    """What an attempt held."""

    id: UUID
    step_execution_id: UUID
    workspace_id: UUID
    agent_id: UUID
    reserved_at: datetime


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


def note_spending(ended: Sequence[Ended], now: datetime) -> None:
    """Write what attempts have spent.

    Call it before their places are given back, and after their agents are marked: a row of usage
    stays locked until the transaction ends, so whoever has one must not wait for marks any more.
    """
    over = {each.step_execution_id: each for each in ended if each.outcome is not None}
    held = AgentReservation.objects.filter(released_at__isnull=True)
    if cut_off := [each.step_execution_id for each in ended if each.outcome is None]:
        _note_losses(held.filter(step_execution_id__in=cut_off), now)
    if not over:
        return
    rows = held.filter(step_execution_id__in=over).values_list(
        "id", "step_execution_id", "workspace_id", "agent_instance_id", "reserved_at"
    )
    places = [_Place(*row) for row in rows]
    if not places:
        return
    lock_for_assigning()
    works = {place.id: _work(over[place.step_execution_id]) for place in places}
    prices = _prices({place.agent_id for place in places if _has_spent(works[place.id])})
    spent = []
    usage: dict[tuple[UUID, UUID], _Sums] = {}
    for place in places:
        outcome, work = over[place.step_execution_id].outcome, works[place.id]
        told, said = _bounded(work.input_tokens), _bounded(work.output_tokens)
        cost = work.cost_micros or cost_of(prices.get(place.agent_id), told, said)
        sums = usage.setdefault((place.agent_id, place.workspace_id), _Sums())
        sums.steps += not isinstance(outcome, Asks)
        sums.failures += isinstance(outcome, Failed)
        sums.input_tokens += told
        sums.output_tokens += said
        sums.cost_micros += cost
        sums.busy_ms += max(0, round((now - place.reserved_at).total_seconds() * 1_000))
        if _has_spent(work):
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


def _note_losses(places: QuerySet[AgentReservation], now: datetime) -> None:
    reserved = places.filter(Q(tokens_reserved__gt=0) | Q(cost_reserved_micros__gt=0))
    AgentLoss.objects.bulk_create(
        AgentLoss(workspace_id=workspace_id, lost_at=now, tokens=tokens, cost_micros=cost)
        for workspace_id, tokens, cost in reserved.values_list(
            "workspace_id", "tokens_reserved", "cost_reserved_micros"
        )
    )


def _prices(agent_ids: Collection[UUID]) -> dict[UUID, Prices]:
    """Return what the tokens of agents cost, of those that say so."""
    if not agent_ids:
        return {}
    found: Iterable[tuple[UUID, Any, Any]] = AgentInstance.objects.filter(
        id__in=agent_ids
    ).values_list("id", "definition__config", "config")
    configs = {agent_id: spending_of({**config, **own}) for agent_id, config, own in found}
    return {agent_id: says.prices for agent_id, says in configs.items() if says.prices}


def _work(ended: Ended) -> Work:
    return ended.notes if isinstance(ended.notes, Work) else Work()


def _has_spent(work: Work) -> bool:
    return bool(work.input_tokens or work.output_tokens or work.cost_micros)


def _bounded(tokens: int) -> int:
    """Return a count that an agent outside has told, as far as it can be true."""
    return min(max(tokens, 0), MOST_TOKENS)
