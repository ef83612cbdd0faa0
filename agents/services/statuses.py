"""The statuses of an agent and its legal moves: whoever sets a status asks here.

What stands on the row is what somebody has to know: ``idle``, ``error``, ``offline``,
``initializing``. That an agent is ``active`` or ``busy`` follows from the places that are taken
(``agents/standing.py``), and is written nowhere: it would be a write for each step.
"""

from collections.abc import Mapping
from types import MappingProxyType

from agents.models import AgentInstance, AgentStatus

_A = AgentStatus

STATUS_MOVES: Mapping[AgentStatus, frozenset[AgentStatus]] = MappingProxyType(
    {
        _A.INITIALIZING: frozenset({_A.IDLE, _A.ERROR, _A.OFFLINE}),
        _A.IDLE: frozenset({_A.ACTIVE, _A.BUSY, _A.ERROR, _A.OFFLINE}),
        _A.ACTIVE: frozenset({_A.IDLE, _A.BUSY, _A.ERROR, _A.OFFLINE}),
        _A.BUSY: frozenset({_A.IDLE, _A.ACTIVE, _A.ERROR, _A.OFFLINE}),
        _A.ERROR: frozenset({_A.IDLE, _A.INITIALIZING, _A.OFFLINE}),
        _A.OFFLINE: frozenset({_A.IDLE, _A.INITIALIZING}),
    }
)


def may_become(agent: AgentInstance, status: AgentStatus) -> bool:
    """Tell whether an agent may go over to another status."""
    return status in STATUS_MOVES[AgentStatus(agent.status)]


def become(agent: AgentInstance, status: AgentStatus) -> bool:
    """Set an agent's status, without saving it, if that is a legal move; return whether it was."""
    if not may_become(agent, status):
        return False
    agent.status = status
    return True
