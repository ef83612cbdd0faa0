"""Who is told of what: each event about a request becomes a notification for each of them, once.

For a decision all are told who may take it at that moment; of the outcome and of questions those
whom they concern. Nobody is told of what they did themselves.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from approvals.models import (
    ApprovalDecision,
    ApprovalQuestion,
    ApprovalStatus,
    Channel,
    Notification,
    NotificationKind,
    Outcome,
    WorkflowStepApproval,
)
from approvals.notifications.preferences import refused_by
from approvals.rights import deciders_of, entries_of
from workflows.events import EventType
from workflows.models import Event, User

#: How many people are told of one request at most.
TOLD_AT_MOST: Final = 50
_LOOKED_AT: Final = 500

_KINDS: Final = {
    EventType.APPROVAL_REQUIRED: NotificationKind.REQUEST,
    EventType.APPROVAL_DELEGATED: NotificationKind.REQUEST,
    EventType.APPROVAL_REMINDED: NotificationKind.REMINDER,
    EventType.APPROVAL_ESCALATED: NotificationKind.ESCALATION,
    EventType.QUESTION_ASKED: NotificationKind.QUESTION,
    EventType.QUESTION_ANSWERED: NotificationKind.QUESTION,
    EventType.APPROVAL_GRANTED: NotificationKind.OUTCOME,
    EventType.APPROVAL_REJECTED: NotificationKind.OUTCOME,
    EventType.CHANGES_REQUESTED: NotificationKind.OUTCOME,
    EventType.APPROVAL_TIMEOUT: NotificationKind.OUTCOME,
}
#: Of these nobody is told any more once the request is decided.
FOR_DECIDERS: Final = frozenset(
    {NotificationKind.REQUEST, NotificationKind.REMINDER, NotificationKind.ESCALATION}
)


class _Telling(NamedTuple):
    """That these people are to be told of an event."""

    event: Event
    approval_id: UUID
    kind: NotificationKind
    user_ids: list[int]


class NotificationReader:
    """A reader of the event stream (``settings.STREAM_READERS``)."""

    def wanted(self, workspace_id: UUID) -> Collection[str]:
        return _KINDS

    def rows(
        self, workspace_id: UUID, events: Sequence[Event], now: datetime
    ) -> Sequence[Notification]:
        if not _reachable().filter(memberships__workspace_id=workspace_id).exists():
            return []
        approvals = WorkflowStepApproval.objects.defer("approval_data", "description").in_bulk(
            {event.approval_id for event in events if event.approval_id}
        )
        tellings = []
        for event in events:
            approval = approvals.get(event.approval_id)
            kind = _KINDS[EventType(event.event_type)]
            is_over = approval is None or approval.status != ApprovalStatus.PENDING
            if approval is not None and not (kind in FOR_DECIDERS and is_over):
                tellings.append(_Telling(event, approval.pk, kind, _whom(event, kind, approval)))
        users = _with_address(tellings)
        refused = refused_by(users, Channel.EMAIL)
        return [
            Notification(
                workspace_id=workspace_id,
                event_seq=event.seq,
                user_id=user_id,
                approval_id=approval_id,
                kind=kind,
                channel=Channel.EMAIL,
                due_at=now,
                created_at=now,
            )
            for event, approval_id, kind, user_ids in tellings
            for user_id in [u for u in user_ids if _is_told(u, event, kind, users, refused)][
                :TOLD_AT_MOST
            ]
        ]


def _whom(event: Event, kind: NotificationKind, approval: WorkflowStepApproval) -> list[int]:
    """Return whom an event concerns, by their ids."""
    if kind is NotificationKind.OUTCOME:
        return [approval.requested_by_id] if approval.requested_by_id else []
    if kind is NotificationKind.QUESTION:
        return _asked_or_answered(event, approval)
    deciders = deciders_of(approval.pk, _LOOKED_AT)
    if event.event_type == EventType.APPROVAL_DELEGATED:
        told = Notification.objects.filter(approval=approval, kind=NotificationKind.REQUEST)
        known = set(told.values_list("user_id", flat=True))
        return [user_id for user_id in deciders if user_id not in known]
    if kind is NotificationKind.REMINDER:
        given = ApprovalDecision.objects.filter(
            approval=approval, outcome=Outcome.APPROVED, retraction__isnull=True
        )
        done = set(given.values_list("user_id", flat=True))
        return [user_id for user_id in deciders if user_id not in done]
    if kind is NotificationKind.ESCALATION:
        entries = entries_of(deciders, [approval.pk])
        added = {
            user_id
            for (_, user_id), found in entries.items()
            if all(entry.is_escalation for entry in found)
        }
        return [user_id for user_id in deciders if user_id in added]
    return deciders


def _asked_or_answered(event: Event, approval: WorkflowStepApproval) -> list[int]:
    if event.event_type == EventType.QUESTION_ASKED:
        return [approval.requested_by_id] if approval.requested_by_id else []
    question = ApprovalQuestion.objects.filter(pk=event.data.get("question_id")).first()
    return [question.asked_by_id] if question else []


def _reachable() -> QuerySet[User]:
    return User.objects.filter(is_active=True).exclude(email="")


def _with_address(tellings: Iterable[_Telling]) -> dict[int, str]:
    """Return those who can be written to, with their names."""
    ids = {user_id for telling in tellings for user_id in telling.user_ids}
    users = _reachable().filter(id__in=ids)
    return dict(users.values_list("id", "username"))


def _is_told(
    user_id: int,
    event: Event,
    kind: NotificationKind,
    users: dict[int, str],
    refused: set[tuple[int, str]],
) -> bool:
    is_own = event.actor == f"user:{users.get(user_id)}"
    return user_id in users and not is_own and (user_id, kind) not in refused
