"""What people do with agents: switch them on and off (``statuses.py``: which moves are legal).

``deactivate`` and ``shutdown`` end nothing that is under way: the agent only gets no further step.
A deactivated agent is switched off; one that was shut down is gone.
"""

from typing import Any
from uuid import UUID

from django.db import transaction

from agents.memory.entries import no_agent
from agents.models import AgentInstance, AgentStatus
from agents.services.circuit import lock_for_marking
from agents.services.statuses import become, may_become
from workflows.clock import database_now
from workflows.errors import Conflict
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.models import Role
from workflows.services.access import require_role

_A = AgentStatus
_CHANGED = ["status", "is_enabled", "is_silent", "faults", "probe_at", "last_error"]


def activate(agent_id: UUID, *, user: Any = None) -> AgentInstance:
    """Put an agent to work: enabled, idle, and with what it failed at forgotten.

    Raises:
        NotVisible, NotPermitted: the user is no editor of its workspace.
        Conflict: it is at work already.
    """
    with transaction.atomic():
        agent = _lock(agent_id, user)
        is_down = agent.status in (_A.ERROR, _A.OFFLINE, _A.INITIALIZING)
        if agent.is_enabled and not is_down:
            raise _unchanged(agent, "already_active")
        agent.faults, agent.probe_at, agent.last_error = 0, None, ""
        status = _A.IDLE if is_down else None
        return _change(agent, status, is_enabled=True, verb="activated", user=user)


def deactivate(agent_id: UUID, *, user: Any = None) -> AgentInstance:
    """Give an agent no further step until it is activated.

    Raises:
        NotVisible, NotPermitted: the user is no editor of its workspace.
        Conflict: it is deactivated already.
    """
    with transaction.atomic():
        agent = _lock(agent_id, user)
        if not agent.is_enabled:
            raise _unchanged(agent, "already_inactive")
        return _change(agent, None, is_enabled=False, verb="deactivated", user=user)


def shutdown(agent_id: UUID, *, user: Any = None) -> AgentInstance:
    """Take an agent offline.

    Raises:
        NotVisible, NotPermitted: the user is no editor of its workspace.
        Conflict: it is offline already.
    """
    with transaction.atomic():
        agent = _lock(agent_id, user)
        if not (may_become(agent, _A.OFFLINE) or agent.is_silent):
            raise _unchanged(agent, "already_offline")
        is_enabled = agent.is_enabled
        return _change(agent, _A.OFFLINE, is_enabled=is_enabled, verb="shut down", user=user)


def _lock(agent_id: UUID, user: Any) -> AgentInstance:
    lock_for_marking()
    rows = AgentInstance.objects.select_for_update(no_key=True)
    agent: AgentInstance | None = rows.filter(pk=agent_id).first()
    if agent is None:
        raise no_agent()
    if user is not None:
        require_role(user, agent.workspace_id, Role.EDITOR)
    return agent


def _change(
    agent: AgentInstance, status: AgentStatus | None, *, is_enabled: bool, verb: str, user: Any
) -> AgentInstance:
    """``status``: None where it stays."""
    before = agent.status
    if status:
        become(agent, status)
        agent.is_silent = False
    agent.is_enabled = is_enabled
    agent.save(update_fields=_CHANGED)
    name = user.get_username() if user else ""
    draft = EventDraft(
        EventType.AGENT_STATUS_CHANGED,
        agent.workspace_id,
        actor=f"user:{name}" if user else SYSTEM,
        agent_id=agent.id,
        data={
            "agent": agent.slug,
            "from": str(before),
            "status": str(agent.status),
            "is_enabled": is_enabled,
        },
        message=f"{agent.name} was {verb}",
    )
    append_events([draft], database_now())
    return agent


def _unchanged(agent: AgentInstance, code: str) -> Conflict:
    message = f"{agent.name} is {code.removeprefix('already_')} already."
    return Conflict(message, code=code, status=str(agent.status), is_enabled=agent.is_enabled)
