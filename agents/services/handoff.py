"""Handing on: what one agent knows becomes another one's, at once or not at all.

The named entries of its memory are copied, as ``thread_context_between_steps`` does, and what is
said besides (``context``) is kept under its own keys. The first agent keeps what it has, but an
entry has one owner: it is handed on once, until the agent writes it anew.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction

from agents.memory import NewEntry, store_memories, thread_context_between_steps
from agents.memory.entries import as_identifier, as_json, check_key, no_agent
from agents.memory.space import Space
from agents.memory.trust import Trust, trust_of_agent
from agents.models import AgentHandoff, AgentInstance, AgentMemoryEntry, AgentStatus
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import Conflict, InvalidInput
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.models import Role
from workflows.services.access import require_role

_MAX_METADATA_BYTES = 65_536
#: A handoff continues one that brought the same keys so shortly before.
_CONTINUES_WITHIN = timedelta(days=1)


def handoff_context(
    from_agent_id: UUID | str,
    to_agent_id: UUID | str,
    context: Mapping[str, Any] | None = None,
    context_keys: Sequence[str] = (),
    handoff_metadata: Mapping[str, Any] | None = None,
    *,
    user: Any = None,
) -> AgentHandoff:
    """Hand context and the named entries of memory on to another agent, and return the record.

    Keys that the first agent has not are left out. ``user``: who asks for it, an editor; None:
    the system.

    Raises:
        NotVisible: one of them does not exist, or not in this workspace or project.
        NotPermitted: the user is no editor.
        InvalidInput: to itself, to one that is disabled, too many hops, or what cannot be kept.
        Conflict: one of the entries was handed on already.
    """
    source = AgentInstance.objects.filter(pk=as_identifier(from_agent_id)).first()
    if source is None:
        raise no_agent()
    if user is not None:
        require_role(user, source.workspace_id, Role.EDITOR)
    with transaction.atomic():
        now = database_now()
        actor = f"user:{user.get_username()}" if user else SYSTEM
        handoff, draft = hand_over(
            source, to_agent_id, context or {}, context_keys, handoff_metadata or {}, now,
            actor=actor, trust=Trust.AGENT if user else None,
        )  # fmt: skip
        draft.actor = actor
        append_events([draft], now)
    return handoff


ahandoff_context = sync_to_async(handoff_context)


def hand_over(
    source: AgentInstance,
    to_agent_id: UUID | str,
    context: Mapping[str, Any],
    context_keys: Sequence[str],
    metadata: Mapping[str, Any],
    now: datetime,
    step_execution_id: UUID | None = None,
    *,
    actor: str | None = None,
    trust: Trust | None = None,
) -> tuple[AgentHandoff, EventDraft]:
    """Do it inside the transaction that is open, and return the record and its event.

    ``actor``: who does it; None: the first agent itself. ``trust``: the label of the context; None:
    that of what the agent makes. Entries of its memory keep their own.
    """
    actor = actor or f"agent:{source.slug}"
    target = _find_target(source, to_agent_id)
    keys = list(dict.fromkeys(check_key(key) for key in context_keys))
    for key in context:
        check_key(key)
    as_json(dict(context), "/context", settings.MGX_MAX_OUTPUT_BYTES)
    as_json(dict(metadata), "/handoff_metadata", _MAX_METADATA_BYTES)
    lock_memories({(agent.id, source.workspace_id) for agent in (source, target)})
    _refuse_second_owner(source, keys)
    parent = _continued(source, {*keys, *context}, now)
    hops = parent.hops + 1 if parent else 1
    if hops > settings.MGX_MAX_HANDOFF_HOPS:
        raise _refusal("too_many_hops", f"It went through {parent and parent.hops} hands already")
    copies = thread_context_between_steps(
        source.id, target.id, source.workspace_id, None,
        [key for key in keys if key not in context], actor=actor,
    )  # fmt: skip
    origin = {"threaded_from": str(source.id), "threaded_at": now.isoformat()}
    label = trust or trust_of_agent(source.definition.agent_type)
    entries = [NewEntry(key, value, origin, trust=label) for key, value in context.items()]
    store_memories(target.id, source.workspace_id, entries, actor=actor)
    handoff = AgentHandoff.objects.create(
        workspace_id=source.workspace_id,
        from_agent=source,
        to_agent=target,
        step_execution_id=step_execution_id,
        context=dict(context),
        context_keys=[copy.memory_key for copy in copies],
        handoff_metadata=dict(metadata),
        parent=parent,
        hops=hops,
        created_at=now,
    )
    return handoff, _told(handoff)


def lock_memories(places: Collection[tuple[UUID, UUID]]) -> None:
    """Lock what agents remember, (agent, workspace) each, until the transaction ends, in the order
    of everybody who locks several."""
    Space.lock_each(dict.fromkeys(places, ()))


def _find_target(source: AgentInstance, to_agent_id: UUID | str) -> AgentInstance:
    target: AgentInstance | None = (
        AgentInstance.objects.filter(
            pk=as_identifier(to_agent_id), workspace_id=source.workspace_id
        )
        .select_related("definition")
        .first()
    )
    if target is None or target.project_id not in (None, source.project_id):
        raise no_agent()
    if target.pk == source.pk:
        raise _refusal("same_agent", "An agent hands nothing on to itself")
    is_enabled = target.is_enabled and target.definition.is_enabled
    if not is_enabled or target.status == AgentStatus.OFFLINE:
        raise _refusal("agent_disabled", f"{target.name} is disabled or offline")
    return target


def _refuse_second_owner(source: AgentInstance, keys: Sequence[str]) -> None:
    entries = AgentMemoryEntry.objects.filter(agent_instance=source, memory_key__in=keys)
    written = dict(entries.values_list("memory_key", "updated_at"))
    if not written:
        return
    given = AgentHandoff.objects.filter(
        from_agent=source, created_at__gte=min(written.values())
    ).select_related("to_agent")
    for handoff in given.order_by("created_at"):
        taken = [
            key
            for key in handoff.context_keys
            if handoff.created_at >= written.get(key, _later(handoff))
        ]
        if taken:
            raise Conflict(
                f"“{taken[0]}” was handed on to {handoff.to_agent.name} already.",
                code="already_handed_on",
                handoff=str(handoff.id),
                owner=str(handoff.to_agent_id),
            )


def _later(handoff: AgentHandoff) -> datetime:
    return handoff.created_at + timedelta.resolution


def _continued(source: AgentInstance, keys: Collection[str], now: datetime) -> AgentHandoff | None:
    """Return the handoff that brought the agent some of these keys last, if it was not long ago."""
    taken = AgentHandoff.objects.filter(to_agent=source, created_at__gt=now - _CONTINUES_WITHIN)
    latest = taken.order_by("-created_at", "-id")[: settings.MGX_MAX_HANDOFF_HOPS]
    return next((h for h in latest if not {*h.context_keys, *h.context}.isdisjoint(keys)), None)


def _told(handoff: AgentHandoff) -> EventDraft:
    source, target = handoff.from_agent, handoff.to_agent
    return EventDraft(
        EventType.AGENT_ACTIVITY,
        handoff.workspace_id,
        workflow_step_id=handoff.step_execution_id,
        agent_id=source.id,
        data={
            "activity": "handoff",
            "handoff": str(handoff.id),
            "agent": source.slug,
            "to_agent": target.slug,
            "to_agent_id": str(target.id),
            "context_keys": sorted({*handoff.context_keys, *handoff.context}),
            "hops": handoff.hops,
        },
        message=f"{source.name} handed on to {target.name}",
    )


def _refusal(code: str, message: str) -> InvalidInput:
    return InvalidInput(f"{message}.", [Problem("", code, message, "/to_agent_id")], code=code)
