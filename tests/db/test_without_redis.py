"""Without Redis, or with one that says nothing, decisions are taken and nothing is lost."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail

from approvals.models import Notification, NotificationKind
from approvals.notifications.recipients import NotificationReader
from approvals.notifications.sending import MailOutbox
from approvals.services.requests import create_approval_request
from workflows.clock import database_now
from workflows.streams import Reading

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise(
        "P12 decisions and their mail without Redis, and with one that says nothing"
    ),
]

OPTIONS = {"socket_connect_timeout": 0.02, "socket_timeout": 0.02}


@pytest.fixture(params=["gone", "silent"])
def redis(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    """A Redis that refuses to be called, or takes the call and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(100)
        location = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        backend = "django.core.cache.backends.redis.RedisCache"
        settings.CACHES = {
            "default": {"BACKEND": backend, "LOCATION": location, "OPTIONS": OPTIONS}
        }
        yield location


def test_decisions_are_taken_and_told(
    redis: str, api: Callable[[str], Any], workspace: Any, users: dict[str, Any]
) -> None:
    asked = create_approval_request(workspace=workspace, title="Deploy", user=users["operator"])
    answer = api("approver").post(
        f"/api/v1/approvals/{asked.pk}/approve/", {"digest": asked.digest}, format="json"
    )
    assert answer.status_code == 200, answer.content
    events = api("viewer").get("/api/v1/events/?after=0").json()["results"]
    assert [event["event_type"] for event in events] == ["approval_required", "approval_granted"]
    Reading({"notifications": NotificationReader()}).read_news()
    outbox, now = MailOutbox(), database_now()
    outbox.record([(letter, outbox.send(letter)) for letter in outbox.claim(now, 9, [])], now)
    told = Notification.objects.get(kind=NotificationKind.OUTCOME)
    assert told.status == "sent"
    assert [letter.to for letter in mail.outbox] == [["operator@example.org"]]
