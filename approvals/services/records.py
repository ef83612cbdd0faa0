"""What every way of ending a request writes: its row, its events, the end of its timers."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.models import ApprovalStatus, WorkflowStepApproval
from workflows.bulk import Column, update_rows, wake_engine, write
from workflows.core.canonical import digest, dumps_canonical
from workflows.dialects import RawJson
from workflows.events import EventDraft, EventType

_TABLE = WorkflowStepApproval._meta.db_table
_OUTCOME = (
    Column("id", "uuid"),
    Column("status", "text"),
    Column("approved_by_id", "bigint"),
    Column("feedback", "text"),
    Column("response_data", "jsonb"),
    Column("responded_at", "timestamptz"),
    Column("updated_at", "timestamptz"),
    Column("approval_data", "jsonb", keeps=True),
    Column("digest", "text", keeps=True),
)
_EDIT = (
    Column("id", "uuid"),
    Column("approval_data", "jsonb"),
    Column("digest", "text"),
    Column("updated_at", "timestamptz"),
)

_EVENTS = {
    ApprovalStatus.APPROVED: (EventType.APPROVAL_GRANTED, "approved"),
    ApprovalStatus.REJECTED: (EventType.APPROVAL_REJECTED, "rejected"),
    ApprovalStatus.REQUEST_CHANGES: (EventType.CHANGES_REQUESTED, "sent back for changes"),
    ApprovalStatus.TIMEOUT: (EventType.APPROVAL_TIMEOUT, "not decided in time"),
    ApprovalStatus.CANCELLED: (EventType.APPROVAL_CANCELLED, "cancelled"),
}


def write_outcomes(
    approvals: Sequence[WorkflowStepApproval], edited: Collection[UUID] = ()
) -> None:
    """Move pending requests, which the caller has locked, to the outcome that they carry.

    ``edited``: the ids of those whose payload is written as well.
    """
    rows = [
        (
            approval.id,
            str(approval.status),
            approval.approved_by_id,
            approval.feedback,
            _json(approval.response_data),
            approval.responded_at,
            approval.responded_at,
            _json(approval.approval_data) if approval.id in edited else None,
            approval.digest if approval.id in edited else None,
        )
        for approval in approvals
    ]
    update_rows(_TABLE, _OUTCOME, rows, guard=f"{_TABLE}.status = 'pending'")


def write_edits(approvals: Iterable[WorkflowStepApproval], now: datetime) -> None:
    """Write the payload of pending requests, which the caller has locked, and their digest."""
    rows = [
        (approval.id, _json(approval.approval_data), approval.digest, now) for approval in approvals
    ]
    update_rows(_TABLE, _EDIT, rows)


def digest_of(approval: WorkflowStepApproval) -> str:
    """Return the digest of what a person sees of a request, and decides on."""
    return digest(shown_content(approval))


def shown_content(approval: WorkflowStepApproval) -> dict[str, Any]:
    """Return what the digest of a request covers."""
    return {
        "title": approval.title,
        "description": approval.description,
        "approval_data": approval.approval_data,
        "revision": approval.revision,
    }


def forget_timers(approval_ids: Iterable[UUID]) -> None:
    """Delete what would have happened to the requests by itself."""
    write("DELETE FROM workflows_timer WHERE subject_id = ANY(%s)", list(approval_ids))


def wake_executions(execution_ids: Sequence[UUID], now: datetime) -> None:
    """Have the engine look at executions, which the caller has locked, once this has committed."""
    if execution_ids:
        write(
            "UPDATE workflows_workflowexecution SET wake_at = %s"
            " WHERE id = ANY(%s) AND completed_at IS NULL",
            now, list(execution_ids),
        )  # fmt: skip
        wake_engine()


def _json(value: object) -> RawJson | None:
    return None if value is None else RawJson(dumps_canonical(value))


def decision_events(approvals: Iterable[WorkflowStepApproval], *, actor: str) -> list[EventDraft]:
    """Return the event of each request that has ended."""
    return [
        approval_event(approval, *_EVENTS[ApprovalStatus(approval.status)], actor=actor)
        for approval in approvals
    ]


def approval_event(
    approval: WorkflowStepApproval, event_type: EventType, words: str, *, actor: str
) -> EventDraft:
    """Return an event about a request."""
    data: dict[str, object] = {
        "title": approval.title,
        "status": approval.status,
        "revision": approval.revision,
    }
    if approval.feedback:
        data["feedback"] = approval.feedback
    return EventDraft(
        event_type=event_type,
        workspace_id=approval.workspace_id,
        workflow_execution_id=approval.workflow_execution_id,
        workflow_step_id=approval.step_execution_id,
        approval_id=approval.id,
        actor=actor,
        data=data,
        message=f"“{approval.title}” was {words}",
    )
