"""Calls to the ``callback_url`` of requests: what each came to, for the system that asked."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from approvals.models import WorkflowStepApproval
from workflows.events import EventType
from workflows.models import Event, WebhookDelivery

_OUTCOMES: Final = frozenset(
    {
        EventType.APPROVAL_GRANTED,
        EventType.APPROVAL_REJECTED,
        EventType.CHANGES_REQUESTED,
        EventType.APPROVAL_TIMEOUT,
        EventType.APPROVAL_CANCELLED,
    }
)


class CallbackReader:
    """A reader of the event stream (``settings.STREAM_READERS``)."""

    def wanted(self, workspace_id: UUID) -> Collection[str]:
        return _OUTCOMES

    def rows(
        self, workspace_id: UUID, events: Sequence[Event], now: datetime
    ) -> Sequence[WebhookDelivery]:
        asked = WorkflowStepApproval.objects.exclude(callback_url="").select_related("approved_by")
        approvals = asked.defer("approval_data", "description").in_bulk(
            {event.approval_id for event in events if event.approval_id}
        )
        return [
            WebhookDelivery(
                workspace_id=workspace_id,
                url=approvals[event.approval_id].callback_url,
                event_seq=event.seq,
                event_type=event.event_type,
                details={"approval": _describe(approvals[event.approval_id])},
                created_at=now,
                due_at=now,
            )
            for event in events
            if event.approval_id in approvals
        ]


def _describe(approval: WorkflowStepApproval) -> dict[str, Any]:
    """Return a decided request as its caller needs it, under the names of the API."""
    by, at = approval.approved_by, approval.responded_at
    return {
        "id": str(approval.pk),
        "title": approval.title,
        "status": approval.status,
        "revision": approval.revision,
        "digest": approval.digest,
        "approved_by": by.username if by else None,
        "feedback": approval.feedback,
        "response_data": approval.response_data,
        "responded_at": at.isoformat().replace("+00:00", "Z") if at else None,
    }
