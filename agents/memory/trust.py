"""How far what an agent remembers can be trusted: by whom it was written.

Whoever writes an entry says so (``trust=``), and it stands in the entry's metadata under ``KEY``.
A caller's own metadata never says it: over REST that is refused, elsewhere it is overwritten. A
copy has the label of what was copied; what an agent hands on besides is at most ``AGENT``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from agents.models import AgentType

KEY: Final = "trust"


class Trust(StrEnum):
    """The labels, the best one first."""

    #: Written by people: over REST, on the pages, in the admin.
    PERSON = "person"
    #: Made by an agent's step, with code of this installation.
    AGENT = "agent"
    #: Came from beyond this installation: a service, a language model, its tools.
    OUTSIDE = "outside"


_ORDER: Final = tuple(Trust)
#: Agents that are code of this installation; whatever else there is calls somebody outside.
_OWN_CODE: Final = frozenset({AgentType.PYTHON, AgentType.DEMO})


def least(first: Trust, *others: Trust) -> Trust:
    """Return the label that promises the least."""
    return max(first, *others, key=_ORDER.index) if others else first


def trust_of(metadata: Mapping[str, Any]) -> Trust:
    """Return the label of an entry; one that has none, or none that is known, has the worst."""
    label = metadata.get(KEY)
    return next((each for each in Trust if each == label), Trust.OUTSIDE)


def trust_of_agent(agent_type: str) -> Trust:
    """Return the label of what an agent of this type makes."""
    return Trust.AGENT if agent_type in _OWN_CODE else Trust.OUTSIDE


def labelled(metadata: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
    """Return metadata with a label, whatever label it had."""
    return {**metadata, KEY: trust.value}
