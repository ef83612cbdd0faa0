"""How far what an agent remembers can be trusted: as far as who wrote it, and no further than what
it was made of."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from agents.models import AgentType

#: Where an entry's metadata says it.
TRUST: Final = "trust"


class Trust(StrEnum):
    """Who wrote an entry, the most trusted first: people, an agent that runs here, or somebody
    beyond this installation."""

    PERSON = "person"
    AGENT = "agent"
    OUTSIDE = "outside"


def least(*labels: Trust) -> Trust:
    """Return the label of what was made of parts with these labels."""
    order = list(Trust)
    return max(labels, key=order.index)


def trust_of(metadata: Mapping[str, Any]) -> Trust:
    """Return the label of an entry; what has none, or an unknown one, is from outside."""
    given = metadata.get(TRUST)
    return Trust(given) if given in set(Trust) else Trust.OUTSIDE


def trust_of_agent(agent_type: str) -> Trust:
    """Return the label of what an agent says: models and services stand outside."""
    is_here = agent_type in (AgentType.PYTHON, AgentType.DEMO)
    return Trust.AGENT if is_here else Trust.OUTSIDE
