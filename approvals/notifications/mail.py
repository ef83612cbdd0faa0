"""The mail of a notification: what it says, to whom, with which links.

It says what MGX knows, and the title. The content of a request stays in MGX: mail is read by
others on its way, and what an agent wrote there would look like MGX's own words.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from approvals.models import (
    ApprovalStatus,
    Notification,
    NotificationKind,
    Risk,
    WorkflowStepApproval,
)
from approvals.notifications.links import link_for, token_of
from approvals.notifications.recipients import FOR_DECIDERS
from approvals.pages.following import silence_of
from workflows.models import Event, User

_LONGEST_SUBJECT: Final = 150
_LONGEST_TEXT: Final = 2_000

_SUBJECTS: Final = {
    NotificationKind.REQUEST: "Your decision is needed",
    NotificationKind.REMINDER: "Still waiting for your decision",
    NotificationKind.ESCALATION: "Escalated to you",
    NotificationKind.QUESTION: "A question",
}
_INTRODUCTIONS: Final = {
    NotificationKind.REQUEST: "A request waits for your decision.",
    NotificationKind.REMINDER: "Nobody has decided this request yet. It still waits for you.",
    NotificationKind.ESCALATION: "Nobody has decided this request, so it was escalated to you.",
}
_SILENCE: Final = {
    "approves": "MGX approves it by itself.",
    "continues": "the run goes on without an answer.",
    "escalates": "it is escalated.",
    "fails": "it expires, and can no longer be decided.",
}


def compose(
    notification: Notification, event: Event | None, now: datetime
) -> EmailMultiAlternatives:
    """Return the mail of a notification, whose approval and user are loaded."""
    approval, user = notification.approval, notification.user
    kind = NotificationKind(notification.kind)
    title = one_line(approval.title, _LONGEST_SUBJECT)
    said = (event.data if event else {}) or {}
    preferences = absolute(reverse("notification_preferences"))
    context = {
        "title": title,
        "introduction": _introduction(kind, approval, event),
        "facts": _facts(approval, kind),
        "question": _shorten(said.get("question")),
        "answer": _shorten(said.get("answer")),
        "feedback": _shorten(approval.feedback) if kind is NotificationKind.OUTCOME else "",
        "verb": "Review and decide" if kind in FOR_DECIDERS else "Open the request",
        "is_personal": kind in FOR_DECIDERS,
        "page": _page(approval, user, kind, now),
        "preferences": preferences,
    }
    mail = EmailMultiAlternatives(
        subject=one_line(f"{_subject(kind, approval, event)}: {title}", _LONGEST_SUBJECT),
        body=render_to_string("mail/notification.txt", context),
        to=[user.email],
        headers=_headers(notification, preferences),
    )
    mail.attach_alternative(render_to_string("mail/notification.html", context), "text/html")
    return mail


def absolute(path: str) -> str:
    """Return the address under which people reach a page from their mail."""
    return f"{settings.MGX_URL}{path}"


def one_line(text: str, longest: int) -> str:
    """Return a text as one line of printable characters, for a header or a heading."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _subject(kind: NotificationKind, approval: WorkflowStepApproval, event: Event | None) -> str:
    if kind is NotificationKind.OUTCOME:
        return ApprovalStatus(approval.status).label
    if kind is NotificationKind.QUESTION and event and event.data.get("answer"):
        return "Your question is answered"
    return _SUBJECTS[kind]


def _introduction(
    kind: NotificationKind, approval: WorkflowStepApproval, event: Event | None
) -> str:
    who = one_line(_name(_actor(event)), 100)
    if kind is NotificationKind.QUESTION:
        if event and event.data.get("answer"):
            return f"{who} answered your question about a request."
        return f"{who} asks about your request. Its deadline stands still until you answer."
    if kind is NotificationKind.OUTCOME:
        who = one_line(_name(approval.approved_by), 100)
        words = {
            ApprovalStatus.APPROVED: f"{who} approved your request.",
            ApprovalStatus.REJECTED: f"{who} rejected your request.",
            ApprovalStatus.REQUEST_CHANGES: f"{who} asked for changes to your request.",
            ApprovalStatus.TIMEOUT: "Nobody decided your request in time.",
        }
        return words.get(ApprovalStatus(approval.status), "Your request was decided.")
    return _INTRODUCTIONS[kind]


def _facts(approval: WorkflowStepApproval, kind: NotificationKind) -> list[tuple[str, str]]:
    """Return what MGX knows of a request, as pairs of a name and a text."""
    run = approval.workflow_execution
    found = [("Workspace", approval.workspace.name)]
    if run is not None:
        found.append(("Workflow", f"{run.workflow.name}, run {run.number}"))
    if approval.requested_by is not None:
        found.append(("Asked by", _name(approval.requested_by)))
    if approval.revision > 1:
        found.append(("Revision", str(approval.revision)))
    if kind in FOR_DECIDERS:
        found.append(("Risk", Risk(approval.risk).label))
        silence = silence_of(approval)
        if silence.at is not None and approval.clock_stopped_at is None:
            what = _SILENCE.get(silence.effect, _SILENCE["fails"])
            found.append(("If nobody decides", f"On {_moment(silence.at)}, {what}"))
    return [(name, one_line(text, 300)) for name, text in found]


def _page(approval: WorkflowStepApproval, user: User, kind: NotificationKind, now: datetime) -> str:
    """Return the address that the mail leads to: for who is to decide a link of their own."""
    if kind in FOR_DECIDERS:
        token = token_of(link_for(approval, user, now))
        return absolute(reverse("approval_link", args=[token]))
    return absolute(reverse("request", args=[approval.pk]))


def _headers(notification: Notification, preferences: str) -> dict[str, str]:
    """Return headers: the same message has the same id, and those of a request hang together."""
    host = urlsplit(settings.MGX_URL).hostname or "localhost"
    return {
        "Message-ID": _message_id(notification.pk, host),
        "References": _message_id(notification.approval_id, host),
        "List-Unsubscribe": f"<{preferences}>",
        "Auto-Submitted": "auto-generated",
    }


def _message_id(key: UUID, host: str) -> str:
    return f"<{key}@{host}>"


def _actor(event: Event | None) -> User | None:
    name = event.actor.removeprefix("user:") if event else ""
    found: User | None = User.objects.filter(username=name).first()
    return found


def _name(user: Any) -> str:
    return (user.get_full_name() or user.get_username()) if user else "MGX"


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%-d %B %Y at %H:%M UTC")


def _shorten(text: str | None) -> str:
    if not text or len(text) <= _LONGEST_TEXT:
        return text or ""
    return f"{text[:_LONGEST_TEXT]}…"
