"""What an attempt of an agent does besides its output, and what is written of it when it ends.

Backends fill in the ``Work`` that stands in their context's ``notes``. The engine hands it to the
transaction of the attempt's result, so an attempt whose result is refused writes none of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.models import MessageRole
from agents.services.assignment import Assigned
from workflows.handlers import StepContext


@dataclass(frozen=True, slots=True)
class Said:
    """One message of what an agent was told and said; ``data``: what there is to it besides."""

    role: MessageRole
    content: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Work:
    """What one attempt has done so far.

    ``cost_micros`` counts millionths of the unit of the agents' prices. ``remembered`` is what the
    agent wants to keep, by key. ``memo``: where it goes on once people have answered what it asks.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    remembered: dict[str, Any] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    memo: dict[str, Any] | None = None


def memory_of(context: StepContext) -> Sequence[Mapping[str, Any]]:
    """Return what the agent of a step remembered as the attempt began, the oldest first.

    Each entry has its ``key``, ``value``, ``trust`` and ``written_at`` (ISO 8601).
    """
    agent = context.prepared
    return agent.memory if isinstance(agent, Assigned) else ()


def as_told(memory: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what an agent remembers as it is told: by key, the oldest first."""
    return {
        entry["key"]: {name: part for name, part in entry.items() if name != "key"}
        for entry in memory
    }


def keys_of(memory: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what there is to a message besides that tells an agent what it remembers."""
    return {"memory_keys": [entry["key"] for entry in memory]}


def remember(context: StepContext, key: str, value: Any) -> None:
    """Have the agent of a step keep a value under a key, once the step has completed."""
    work_of(context).remembered[key] = value


def work_of(context: StepContext) -> Work:
    """Return what the attempt of a context has done so far, to be added to."""
    if context.notes is None:
        context.notes = Work()
    assert isinstance(context.notes, Work)
    return context.notes
