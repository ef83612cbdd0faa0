"""The address that a request names is called with the outcome, signed by the workspace."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from approvals.models import Door
from approvals.notifications.callbacks import CallbackReader
from approvals.services.decisions import Decision, decide
from approvals.services.requests import create_approval_request
from tests.db.receiver import Receiver, receiving
from workflows.clock import database_now
from workflows.errors import InvalidInput
from workflows.models import Event, SigningSecret, WebhookDelivery
from workflows.services.webhooks import rotate_signing_secret
from workflows.streams import Reading
from workflows.webhooks.sending import WebhookOutbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with receiving() as made:
        settings.MGX_ALLOWED_INTERNAL_HOSTS = [made.host]
        yield made


def work(after: timedelta = timedelta()) -> None:
    """Read what is new, and make the calls that are due so long after now."""
    Reading({"callbacks": CallbackReader()}).read_news()
    outbox, now = WebhookOutbox(), database_now() + after
    outbox.record([(call, outbox.send(call)) for call in outbox.claim(now, 8, [])], now)


def test_tells_the_outcome_once(receiver: Receiver, workspace: Any, users: dict[str, Any]) -> None:
    asked = {"workspace": workspace, "user": users["operator"]}
    approval = create_approval_request(title="Pay", callback_url=receiver.url, **asked)
    other = create_approval_request(title="Silent", **asked)
    work()
    assert receiver.received == [], "nothing is decided yet"
    for each in (approval, other):
        decide(Decision(each.pk, "rejected", "Too much"), user=users["approver"], door=Door.API)
    receiver.answer = (500, {}, b"")
    work()
    receiver.answer = (200, {}, b"")
    work(after=timedelta(minutes=1))
    work(after=timedelta(minutes=2))
    first, second = receiver.documents(SigningSecret.objects.get().secret)
    assert first == second
    event = Event.objects.get(event_type="approval_rejected", approval_id=approval.pk)
    assert set(receiver.ids) == {str(event.uuid)}
    told = first["data"]["approval"]
    assert first["type"] == "approval_rejected"
    assert (told["id"], told["status"], told["approved_by"], told["feedback"]) == (
        str(approval.pk),
        "rejected",
        "user123",
        "Too much",
    )
    assert WebhookDelivery.objects.get().status == "delivered"


def test_an_admin_gives_the_receiver_a_secret(
    receiver: Receiver, workspace: Any, users: dict[str, Any]
) -> None:
    secret = rotate_signing_secret(workspace, user=users["admin"]).secret
    approval = create_approval_request(
        workspace=workspace, user=users["operator"], title="Pay", callback_url=receiver.url
    )
    decide(Decision(approval.pk, "approved"), user=users["approver"], door=Door.API)
    work()
    assert [document["type"] for document in receiver.documents(secret)] == ["approval_granted"]


def test_no_internal_address_is_taken(workspace: Any, users: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_approval_request(
            workspace=workspace,
            user=users["operator"],
            title="Pay",
            callback_url="http://[::ffff:169.254.169.254]/",
        )
    assert [problem.path for problem in refusal.value.problems] == ["/callback_url"]
