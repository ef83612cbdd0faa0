"""Who is told what by mail, when, and what the mail says."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from approvals.models import (
    ApprovalApprover,
    ApprovalLink,
    Channel,
    Door,
    Notification,
    NotificationKind,
    WorkflowStepApproval,
)
from approvals.notifications import recipients, sending
from approvals.notifications.preferences import choices_of, choose
from approvals.notifications.recipients import NotificationReader
from approvals.notifications.sending import DELAYS, MailOutbox
from approvals.services.decisions import Decision, decide
from approvals.services.questions import answer, ask
from approvals.services.records import approval_event
from approvals.services.requests import create_approval_request
from workflows.clock import database_now
from workflows.events import SYSTEM, EventType, append_events
from workflows.models import Membership, User
from workflows.streams import Reading

pytestmark = pytest.mark.django_db

REQUEST, REMINDER, ESCALATION, QUESTION, OUTCOME = NotificationKind
HOSTILE = "Deploy\r\nBcc: everybody@example.org\n\x1b[31m<b>now</b>"


@pytest.fixture
def request_of(workspace: Any, users: dict[str, Any]) -> Callable[..., WorkflowStepApproval]:
    """Return a function by which the operator asks for a decision."""

    def make(title: str = "Deploy 2026.47", **terms: Any) -> WorkflowStepApproval:
        return create_approval_request(
            workspace=workspace, title=title, user=users["operator"], **terms
        )

    return make


def tell() -> list[tuple[str, str]]:
    """Read what is new; return who is told of what, newly."""
    before = set(Notification.objects.values_list("pk", flat=True))
    Reading({"notifications": NotificationReader()}).read_news()
    rows = Notification.objects.exclude(pk__in=before).values_list("user__username", "kind")
    return sorted(rows)


def send(after: timedelta = timedelta()) -> int:
    """Send what is due so long after now; return how much was."""
    outbox = MailOutbox()
    now = database_now() + after
    claimed = outbox.claim(now, 100, [])
    outbox.record([(letter, outbox.send(letter)) for letter in claimed], now)
    return len(claimed)


def happen(approval: WorkflowStepApproval, event_type: EventType) -> None:
    with transaction.atomic():
        append_events([approval_event(approval, event_type, "x", actor=SYSTEM)], database_now())


def say(approval: WorkflowStepApproval, user: Any, outcome: str, feedback: str = "") -> None:
    decide(Decision(approval.pk, outcome, feedback), user=user, door=Door.API)


# --- who --------------------------------------------------------------------------------------


def test_tells_all_who_may_decide(
    request_of: Callable[..., Any], make_member: Any, other_workspace: Any, users: dict[str, Any]
) -> None:
    make_member("stranger", other_workspace, "approver")
    User.objects.filter(username="editor").update(email="")
    request_of()
    assert tell() == [("admin", "request"), ("user123", "request")]
    assert tell() == []
    request_of(required_approvers=["user123"])
    assert tell() == [("user123", "request")]


def test_tells_nobody_of_their_own_request(workspace: Any, users: dict[str, Any]) -> None:
    create_approval_request(workspace=workspace, title="x", user=users["admin"])
    assert tell() == [("editor", "request"), ("user123", "request")]


def test_tells_fifty_at_most(
    request_of: Callable[..., Any], make_member: Any, workspace: Any
) -> None:
    for number in range(60):
        make_member(f"approver{number}", workspace, "approver")
    request_of()
    assert len(tell()) == recipients.TOLD_AT_MOST


def test_tells_the_requester_what_was_decided(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    approval = request_of()
    tell()
    say(approval, users["approver"], "rejected", "Not on a Friday")
    assert tell() == [("operator", "outcome")]
    send()
    [letter] = [letter for letter in mail.outbox if letter.to == ["operator@example.org"]]
    assert letter.subject == "Rejected: Deploy 2026.47"
    assert "user123 rejected your request." in letter.body
    assert "Not on a Friday" in letter.body
    assert "/link/" not in letter.body


def test_reminds_those_who_have_not_decided(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    approval = request_of(required_approvers=["user123", "editor"], min_approvals=2)
    assert len(tell()) == 2
    say(approval, users["editor"], "approved")
    tell()
    happen(approval, EventType.APPROVAL_REMINDED)
    assert tell() == [("user123", "reminder")]


def test_tells_those_whom_a_request_is_escalated_to(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    approval = request_of(required_approvers=["user123"])
    tell()
    ApprovalApprover.objects.create(approval=approval, user=users["admin"], is_escalation=True)
    happen(approval, EventType.APPROVAL_ESCALATED)
    assert tell() == [("admin", "escalation")]


def test_tells_of_questions_and_answers(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    approval = request_of()
    tell()
    question = ask(approval.pk, user=users["approver"], body="Why today?")
    assert tell() == [("operator", "question")]
    answer(question.pk, user=users["operator"], body="The fair opens.")
    assert tell() == [("user123", "question")]
    send()
    letters = {letter.subject: letter for letter in mail.outbox}
    asked = letters["A question: Deploy 2026.47"]
    answered = letters["Your question is answered: Deploy 2026.47"]
    assert "Why today?" in asked.body
    assert "The fair opens." in answered.body
    assert "The fair opens." in answered.alternatives[0][0]


def test_tells_nobody_what_they_do_not_want(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    choose(users["approver"], {REQUEST: {Channel.EMAIL: False}})
    choose(users["admin"], {REQUEST: {Channel.BROWSER: False}})
    request_of()
    assert tell() == [("admin", "request"), ("editor", "request")]
    assert not choices_of(users["approver"])[REQUEST][Channel.EMAIL]
    assert choices_of(users["approver"])[OUTCOME][Channel.EMAIL]


def test_says_nothing_of_a_request_that_is_decided_by_then(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    first, second = request_of(), request_of()
    say(first, users["approver"], "approved")
    assert [told for told in tell() if told[1] == "request"] == [
        ("admin", "request"),
        ("editor", "request"),
        ("user123", "request"),
    ]
    say(second, users["approver"], "approved")
    Membership.objects.filter(user=users["operator"]).delete()
    send()
    assert mail.outbox == []
    assert set(Notification.objects.values_list("status", flat=True)) == {"skipped"}


def test_the_right_is_asked_for_again_when_the_mail_goes(
    request_of: Callable[..., Any], users: dict[str, Any]
) -> None:
    request_of(required_approvers=["user123"])
    tell()
    Membership.objects.filter(user=users["approver"]).update(role="viewer")
    send()
    assert mail.outbox == []


# --- what -------------------------------------------------------------------------------------


def test_says_what_mgx_knows_and_how_to_decide(
    request_of: Callable[..., Any], settings: Any
) -> None:
    settings.MGX_URL = "https://mgx.example.org"
    approval = request_of(approval_data={"plan": "canary-payload"}, expires_after_seconds=3600)
    tell()
    send()
    letter = next(letter for letter in mail.outbox if letter.to == ["user123@example.org"])
    html, kind = letter.alternatives[0]
    assert kind == "text/html"
    assert letter.subject == "Your decision is needed: Deploy 2026.47"
    for text in (letter.body, html):
        assert "https://mgx.example.org/approvals/link/" in text
        assert "https://mgx.example.org/account/notifications/" in text
        assert "Asked by" in text
        assert "it expires" in text
        assert "canary-payload" not in text
    assert "src=" not in html
    assert "http://" not in html
    headers = letter.extra_headers
    assert headers["List-Unsubscribe"] == "<https://mgx.example.org/account/notifications/>"
    assert headers["Message-ID"].endswith("@mgx.example.org>")
    assert str(approval.pk) in headers["References"]


def test_each_person_gets_a_link_of_their_own_and_keeps_it(
    request_of: Callable[..., Any],
) -> None:
    approval = request_of()
    tell()
    send()
    happen(approval, EventType.APPROVAL_REMINDED)
    tell()
    send()
    assert len(mail.outbox) == 6
    assert ApprovalLink.objects.count() == 3
    links = {word for m in mail.outbox for word in m.body.split() if "/link/" in word}
    assert len(links) == 3


def test_no_header_and_no_markup_can_be_put_in(
    request_of: Callable[..., Any], users: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.filter(username="operator").update(first_name="A\r\nBcc: x@y.z", last_name="<i>")
    request_of(title=HOSTILE, required_approvers=["user123"])
    tell()
    send()
    [letter] = mail.outbox
    raw = letter.message().as_bytes()
    assert letter.recipients() == ["user123@example.org"]
    assert b"\nBcc:" not in raw
    assert "\x1b" not in letter.body
    assert "<b>" not in letter.alternatives[0][0]
    assert "<i>" not in letter.alternatives[0][0]
    assert "Bcc" not in caplog.text


# --- how --------------------------------------------------------------------------------------


def test_tries_again_and_gives_up_in_the_end(request_of: Callable[..., Any], settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    request_of(required_approvers=["user123"], expires_after_seconds=None)
    tell()
    send()
    row = Notification.objects.get()
    assert (row.status, row.error, row.attempts) == ("pending", "ConnectionRefusedError", 1)
    assert row.due_at > database_now()
    assert send() == 0
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    send(after=timedelta(seconds=DELAYS[0] + 1))
    row.refresh_from_db()
    assert (row.status, row.due_at, row.error) == ("sent", None, "")
    assert len(mail.outbox) == 1
    Notification.objects.update(status="pending", due_at=database_now(), attempts=len(DELAYS))
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    send()
    row.refresh_from_db()
    assert (row.status, row.due_at) == ("failed", None)


def test_whoever_dies_between_claim_and_record_leaves_it_due_again(
    request_of: Callable[..., Any],
) -> None:
    request_of(required_approvers=["user123"])
    tell()
    outbox = MailOutbox()
    [dead] = outbox.claim(database_now(), 100, [])
    outbox.send(dead)
    assert send() == 0
    assert send(after=sending._CLAIM + timedelta(seconds=1)) == 1
    first, second = mail.outbox
    assert first.extra_headers["Message-ID"] == second.extra_headers["Message-ID"]
    outbox.record([(dead, "late")], database_now())
    assert Notification.objects.get().status == "sent"


# --- the choice -------------------------------------------------------------------------------


def test_the_page_keeps_what_is_chosen(client_for: Any, users: dict[str, Any]) -> None:
    client = client_for("viewer")
    page = client.get("/account/notifications/").content.decode()
    assert page.count(" checked> ") == 10
    kept = client.post("/account/notifications/", {"request-email": "on", "outcome-browser": "on"})
    assert kept.status_code == 302
    choices = choices_of(users["viewer"])
    chosen = [(k, c) for k, channels in choices.items() for c, is_on in channels.items() if is_on]
    assert chosen == [(REQUEST, Channel.EMAIL), (OUTCOME, Channel.BROWSER)]
    assert client.get("/account/notifications/").content.decode().count(" checked> ") == 2


def test_the_api_keeps_what_is_chosen(api: Any) -> None:
    client = api("viewer")
    address = "/api/v1/me/notifications/"
    assert client.get(address).json()["question"] == {"email": True, "browser": True}
    changed = client.patch(address, {"question": {"email": False}}, format="json").json()
    assert changed["question"] == {"email": False, "browser": True}
    assert changed["request"] == {"email": True, "browser": True}
    for body in ({"nonsense": {}}, {"question": {"email": "no"}}, {"question": {"sms": True}}):
        assert client.patch(address, body, format="json").status_code == 400
