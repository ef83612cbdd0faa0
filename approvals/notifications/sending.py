"""Mail on its way: which is sent when, how often it is tried, and what is not needed any more."""

import logging
import smtplib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.db.models import Min

from approvals.models import ApprovalStatus, Notification, NotificationKind
from approvals.notifications.mail import compose
from approvals.notifications.recipients import FOR_DECIDERS
from approvals.rights import can_decide
from workflows.models import Event

logger = logging.getLogger("approvals.mail")

#: Seconds before each further attempt: some hours in all, then the mail has failed.
DELAYS: Final = (5, 60, 300, 1_800, 7_200, 21_600)
#: Nobody else sends a mail that was taken, until its process must have ended.
_CLAIM: Final = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that this process has claimed; without ``mail`` there is nothing to send: it is not
    needed any more, or ``error`` says why it cannot be."""

    notification_id: UUID
    attempt: int
    mail: EmailMultiAlternatives | None = field(repr=False)
    error: str = ""


class MailOutbox:
    """The notifications that are due by mail (``settings.OUTBOXES``)."""

    at_once = 4

    def next_due(self) -> datetime | None:
        found: datetime | None = Notification.objects.aggregate(at=Min("due_at"))["at"]
        return found

    def claim(self, now: datetime, at_most: int, sending: Sequence[Letter]) -> Sequence[Letter]:
        with transaction.atomic():
            due = Notification.objects.filter(due_at__lte=now).order_by("due_at")
            rows = list(due.select_for_update(skip_locked=True)[:at_most])
            for row in rows:
                row.attempts += 1
                row.due_at = now + _CLAIM
            Notification.objects.bulk_update(rows, ["attempts", "due_at"])
        return _written([row.pk for row in rows], now)

    def send(self, letter: Letter) -> str:
        """Send a letter; return what went wrong, "" if nothing did."""
        if letter.mail is None:
            return letter.error
        try:
            letter.mail.send()
        except smtplib.SMTPResponseException as error:
            return f"{type(error).__name__} {error.smtp_code}"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # Not its text: that may hold addresses, and what was sent.
            return type(error).__name__
        return ""

    def record(self, sent: Sequence[tuple[Letter, str]], now: datetime) -> None:
        for letter, error in sent:
            own = Notification.objects.filter(
                pk=letter.notification_id, attempts=letter.attempt, status="pending"
            )
            if error:
                is_over = letter.attempt > len(DELAYS)
                wait = timedelta(seconds=0 if is_over else DELAYS[letter.attempt - 1])
                own.update(
                    status="failed" if is_over else "pending",
                    due_at=None if is_over else now + wait,
                    error=error,
                )
                logger.warning("Mail %s was not sent: %s", letter.notification_id, error)
            elif letter.mail is None:
                own.update(status="skipped", due_at=None)
            else:
                own.update(status="sent", due_at=None, sent_at=now, error="")


def _written(ids: Iterable[UUID], now: datetime) -> list[Letter]:
    found = Notification.objects.filter(pk__in=list(ids)).select_related(
        "user",
        "approval__workspace",
        "approval__requested_by",
        "approval__approved_by",
        "approval__workflow_execution__workflow",
    )
    rows = list(found.defer("approval__approval_data", "approval__workspace__settings"))
    events = _events(rows)
    letters = []
    for row in rows:
        mail, error = None, ""
        if _is_needed(row):
            try:
                mail = compose(row, events.get((row.workspace_id, row.event_seq)), now)
            except Exception as failure:
                logger.exception("Mail %s cannot be written", row.pk)
                error = type(failure).__name__
        letters.append(Letter(row.pk, row.attempts, mail, error))
    return letters


def _is_needed(row: Notification) -> bool:
    """Tell whether somebody is still to be told: what they may do may have changed meanwhile."""
    if not row.user.is_active or not row.user.email:
        return False
    if NotificationKind(row.kind) not in FOR_DECIDERS:
        return row.user.memberships.filter(workspace_id=row.workspace_id).exists()
    is_pending = row.approval.status == ApprovalStatus.PENDING
    return is_pending and can_decide(row.user, row.approval).allowed


def _events(rows: Iterable[Notification]) -> dict[tuple[UUID, int], Event]:
    by_workspace: dict[UUID, list[int]] = defaultdict(list)
    for row in rows:
        by_workspace[row.workspace_id].append(row.event_seq)
    return {
        (workspace_id, event.seq): event
        for workspace_id, numbers in by_workspace.items()
        for event in Event.objects.filter(workspace_id=workspace_id, seq__in=numbers)
    }
