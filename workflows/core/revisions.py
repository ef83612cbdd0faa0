"""Work that people send back: what is done anew, and which rows are those of an earlier time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from workflows.core.graph import Graph
from workflows.core.states import StepStatus

#: The types of steps of which the nearest before a gate makes what the gate shows.
_MAKERS = ("task", "agent")


def makers_for(graph: Graph, gate: str, step_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the task and agent steps before a gate, the nearest first: the last in the order."""
    makers = (name for name in reversed(graph.order) if step_types[name] in _MAKERS)
    return tuple(name for name in makers if graph.is_ancestor(name, gate))


def maker_of(makers: Sequence[str], statuses: Mapping[str, StepStatus]) -> str:
    """Return the nearest of these steps that was not skipped; the nearest where all were, for
    another time may be different; "" where there is none."""
    ran = (name for name in makers if statuses.get(name) is not StepStatus.SKIPPED)
    return next(ran, makers[0] if makers else "")


def steps_done_anew(graph: Graph, first: str, gate: str) -> tuple[str, ...]:
    """Return `first`, everything between it and the gate, and the gate, in their order."""
    after = graph.descendants(first)
    return tuple(
        name
        for name in graph.order
        if name in (first, gate) or (name in after and graph.is_ancestor(name, gate))
    )


class Row(Protocol):
    """What is asked of a step's row: ``parent`` is the name of its block's."""

    parent: str
    revised_at: datetime | None


AnyRow = TypeVar("AnyRow", bound=Row)


def rows_of_today(latest: Mapping[str, AnyRow]) -> dict[str, AnyRow]:
    """Return the rows that still count, of the latest revision of each step.

    A block that was sent back is done anew with all that stands in it; what stood in it before
    is of an earlier time, until the block comes to it again.
    """
    counts = {"": True}

    def still_counts(name: str) -> bool:
        if name not in counts:
            row = latest[name]
            block = latest.get(row.parent)
            counts[name] = block is None or (
                still_counts(row.parent) and not _is_before(row.revised_at, block.revised_at)
            )
        return counts[name]

    return {name: row for name, row in latest.items() if still_counts(name)}


def _is_before(moment: datetime | None, other: datetime | None) -> bool:
    return other is not None and (moment is None or moment < other)
