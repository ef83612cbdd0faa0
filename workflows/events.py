"""The event stream: how an event is written, and what it looks like outside.

Events are written in the transaction of the change that they tell of. ``append_events`` must be
the transaction's last statement: it takes the workspace's counter, and whoever holds that lock
keeps the other writers of the workspace waiting.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from workflows.bulk import Column, append_numbered

if TYPE_CHECKING:
    from workflows.models import Event


class EventType(StrEnum):
    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELLED = "workflow_cancelled"
    WORKFLOW_PAUSED = "workflow_paused"
    WORKFLOW_RESUMED = "workflow_resumed"
    WORKFLOW_RETRIED = "workflow_retried"
    SIGNAL_RECEIVED = "signal_received"
    STEP_STARTED = "step_started"
    STEP_PROGRESS = "step_progress"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    STEP_RETRYING = "step_retrying"
    STEP_RESULT_REFUSED = "step_result_refused"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_GRANTED = "approval_granted"
    APPROVAL_REJECTED = "approval_rejected"
    CHANGES_REQUESTED = "changes_requested"
    APPROVAL_TIMEOUT = "approval_timeout"
    APPROVAL_CANCELLED = "approval_cancelled"
    APPROVAL_COMMENTED = "approval_commented"
    APPROVAL_COUNTED = "approval_counted"
    DECISION_RETRACTED = "decision_retracted"
    APPROVAL_DELEGATED = "approval_delegated"
    DELEGATION_REVOKED = "delegation_revoked"
    GRANT_GIVEN = "grant_given"
    GRANT_REVOKED = "grant_revoked"
    GRANT_NOT_APPLIED = "grant_not_applied"
    APPROVAL_REMINDED = "approval_reminded"
    APPROVAL_ESCALATED = "approval_escalated"
    QUESTION_ASKED = "question_asked"
    QUESTION_ANSWERED = "question_answered"
    FILE_REVIEWED = "file_reviewed"
    WEBHOOK_DISABLED = "webhook_disabled"
    AGENT_STATUS_CHANGED = "agent_status_changed"
    AGENT_ACTIVITY = "agent_activity"
    AGENT_CONTEXT_UPDATED = "agent_context_updated"


#: The ``activity`` in the data of an event that says how far an attempt is: ``step_progress``, or
#: ``agent_activity`` where an agent carries it out.
PROGRESS = "progress"

#: The actor of what nobody but the engine did.
SYSTEM = "system"


@dataclass(slots=True)
class EventDraft:
    """An event before it has its number. ``actor``: ``user:NAME``, ``agent:SLUG`` or ``system``."""

    event_type: EventType
    workspace_id: UUID
    actor: str = SYSTEM
    workflow_id: UUID | None = None
    workflow_execution_id: UUID | None = None
    workflow_step_id: UUID | None = None
    approval_id: UUID | None = None
    agent_id: UUID | None = None
    data: dict[str, Any] = field(default_factory=dict)
    message: str = ""


_COLUMNS = (
    Column("workspace_id", "uuid"),
    Column("event_type", "text"),
    Column("timestamp", "timestamptz"),
    Column("workflow_id", "uuid"),
    Column("workflow_execution_id", "uuid"),
    Column("workflow_step_id", "uuid"),
    Column("approval_id", "uuid"),
    Column("agent_id", "uuid"),
    Column("actor", "text"),
    Column("data", "jsonb"),
    Column("message", "text"),
)
_by_workspace = attrgetter("workspace_id")


def append_events(drafts: Iterable[EventDraft], now: datetime) -> None:
    """Write ``drafts`` in their order, and wake those who listen once this is committed.

    Call it inside a transaction, as its last statement. Workspaces are taken in the order of
    their ids, so that two writers never wait for each other.
    """
    for workspace_id, group in groupby(sorted(drafts, key=_by_workspace), _by_workspace):
        rows = [_row(draft, now) for draft in group]
        append_numbered("workflows_event", _COLUMNS, rows, workspace_id)


def _row(draft: EventDraft, now: datetime) -> tuple[Any, ...]:
    return (
        draft.workspace_id,
        draft.event_type.value,
        now,
        draft.workflow_id,
        draft.workflow_execution_id,
        draft.workflow_step_id,
        draft.approval_id,
        draft.agent_id,
        draft.actor,
        draft.data,
        draft.message,
    )


def event_document(event: "Event") -> dict[str, Any]:
    """Return the envelope of ``event`` as REST and WebSocket show it."""
    return {
        "id": str(event.uuid),
        "seq": event.seq,
        "event_type": event.event_type,
        "timestamp": event.timestamp.isoformat().replace("+00:00", "Z"),
        "workspace_id": str(event.workspace_id),
        "workflow_id": _text(event.workflow_id),
        "workflow_execution_id": _text(event.workflow_execution_id),
        "workflow_step_id": _text(event.workflow_step_id),
        "approval_id": _text(event.approval_id),
        "agent_id": _text(event.agent_id),
        "actor": event.actor,
        "data": event.data,
        "message": event.message,
    }


def _text(identifier: UUID | None) -> str | None:
    return str(identifier) if identifier else None
