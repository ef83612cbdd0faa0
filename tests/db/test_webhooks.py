"""Webhooks: who is called, with what, how often; and who may set them up."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.db.engine.scenes import eventually
from tests.db.receiver import Receiver, receiving
from workflows import net
from workflows.clock import database_now
from workflows.errors import Conflict, InvalidInput
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Event, WebhookDelivery, WebhookEndpoint
from workflows.relay import Relay
from workflows.services import webhooks
from workflows.streams import Reading
from workflows.webhooks import calls, sending
from workflows.webhooks.reading import EndpointReader
from workflows.webhooks.sending import DELAYS, PATIENCE, WebhookOutbox

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with receiving() as made:
        settings.MGX_ALLOWED_INTERNAL_HOSTS = [made.host]
        yield made


@pytest.fixture
def make_endpoint(
    workspace: Any, users: dict[str, Any], receiver: Receiver
) -> Callable[..., WebhookEndpoint]:
    """Return a function that has the receiver called: ``make_endpoint(event_types=[…])``."""

    def make(**given: Any) -> WebhookEndpoint:
        given = {"url": receiver.url, **given}
        return webhooks.create_endpoint(workspace, user=users["admin"], **given)

    return make


@pytest.fixture
def endpoint(make_endpoint: Callable[..., WebhookEndpoint]) -> WebhookEndpoint:
    return make_endpoint()


def happen(workspace: Any, *types: EventType) -> None:
    drafts = [EventDraft(kind, workspace.pk, actor="user:anna", data={"a": 1}) for kind in types]
    with transaction.atomic():
        append_events(drafts, database_now())


def read() -> None:
    Reading({"webhooks": EndpointReader()}).read_news()


def send(after: timedelta = timedelta()) -> int:
    """Send what is due so long after now; return how much was."""
    outbox = WebhookOutbox()
    now = database_now() + after
    claimed = outbox.claim(now, 8, [])
    outbox.record([(message, outbox.send(message)) for message in claimed], now)
    return len(claimed)


def deliver(workspace: Any, *types: EventType) -> WebhookDelivery:
    """Let something happen and call about it; return the newest delivery."""
    happen(workspace, *(types or (EventType.WORKFLOW_STARTED,)))
    read()
    send()
    return WebhookDelivery.objects.order_by("-event_seq").first()


# --- what is sent -----------------------------------------------------------------------------


def test_calls_with_the_event_signed(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    delivery = deliver(workspace)
    [document] = receiver.documents(endpoint.secret)
    event = Event.objects.get()
    assert receiver.ids == [str(event.uuid)]
    assert document["type"] == "workflow_started"
    assert document["data"]["id"] == str(event.uuid)
    assert document["data"]["data"] == {"a": 1}
    assert (delivery.status, delivery.response_status, delivery.attempts) == ("delivered", 200, 1)
    assert delivery.due_at is None
    with pytest.raises(WebhookVerificationError):
        receiver.documents("whsec_" + "A" * 43)


def test_calls_about_what_is_wanted_and_only_once(
    make_endpoint: Callable[..., WebhookEndpoint], receiver: Receiver, workspace: Any
) -> None:
    happen(workspace, EventType.WORKFLOW_STARTED)  # before there was anybody to tell
    make_endpoint(event_types=["approval_required"])
    make_endpoint()
    happen(workspace, EventType.APPROVAL_REQUIRED, EventType.STEP_STARTED)
    read()
    read()
    while send():
        pass
    first, second = Event.objects.filter(seq__gt=1).order_by("seq")
    assert sorted(receiver.ids) == sorted([str(first.uuid)] * 2 + [str(second.uuid)])


def test_both_secrets_sign_until_the_old_one_has_run_out(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any, users: dict[str, Any]
) -> None:
    old = endpoint.secret
    new = webhooks.rotate_secret(endpoint.pk, user=users["admin"], overlap_seconds=60).secret
    deliver(workspace)
    assert receiver.documents(old) == receiver.documents(new)
    receiver.received.clear()
    WebhookEndpoint.objects.update(old_secret_until=database_now() - timedelta(seconds=1))
    deliver(workspace)
    receiver.documents(new)
    with pytest.raises(WebhookVerificationError):
        receiver.documents(old)


# --- what becomes of it -----------------------------------------------------------------------


def test_tries_again_with_the_same_id(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    receiver.answer = (503, {}, b"later \0 please" + b"x" * 10_000)
    before = database_now()
    delivery = deliver(workspace)
    assert (delivery.status, delivery.response_status) == ("pending", 503)
    assert delivery.response_excerpt.startswith("later � please")
    assert len(delivery.response_excerpt) == calls.EXCERPT
    assert delivery.due_at >= before + timedelta(seconds=DELAYS[0])
    assert send() == 0
    receiver.answer = (204, {}, b"")
    assert send(after=timedelta(seconds=DELAYS[0] * 2)) == 1
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.error) == ("delivered", 2, "")
    assert len(set(receiver.ids)) == 1
    assert WebhookEndpoint.objects.get().failing_since is None


def test_gives_up_after_about_a_day(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    assert timedelta(hours=20) < timedelta(seconds=sum(DELAYS)) < timedelta(hours=30)
    receiver.answer = (500, {}, b"")
    delivery = deliver(workspace)
    for attempt in range(2, len(DELAYS) + 2):
        assert delivery.status == "pending"
        assert send(after=delivery.due_at - database_now() + timedelta(seconds=1)) == 1
        delivery.refresh_from_db()
        assert delivery.attempts == attempt
    assert (delivery.status, delivery.due_at) == ("failed", None)
    assert send(after=timedelta(days=9)) == 0


def test_a_receiver_that_is_gone_is_called_no_more(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    receiver.answer = (410, {}, b"")
    happen(workspace, EventType.WORKFLOW_STARTED, EventType.STEP_STARTED)
    read()
    WebhookDelivery.objects.filter(event_seq=2).update(due_at=database_now() + timedelta(hours=1))
    send()
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    assert "410" in endpoint.disabled_reason
    assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {"failed"}
    told = Event.objects.get(event_type="webhook_disabled")
    assert told.data == {"webhook_id": str(endpoint.pk), "reason": endpoint.disabled_reason}
    assert "canary" not in told.message
    assert deliver(workspace).event_seq == 2


def test_a_receiver_that_fails_for_days_is_called_no_more(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any, users: dict[str, Any]
) -> None:
    receiver.answer = (500, {}, b"")
    deliver(workspace)
    endpoint.refresh_from_db()
    assert endpoint.failing_since
    assert endpoint.is_active
    send(after=PATIENCE + timedelta(minutes=1))
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    again = webhooks.change_endpoint(endpoint.pk, user=users["admin"], is_active=True)
    assert (again.failing_since, again.disabled_reason) == (None, "")


def test_follows_no_redirect(endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any) -> None:
    receiver.answer = (307, {"Location": "http://169.254.169.254/"}, b"")
    delivery = deliver(workspace)
    assert (delivery.status, delivery.response_status) == ("pending", 307)
    assert len(receiver.received) == 1


def test_waits_for_an_answer_only_so_long(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(calls, "TIMEOUT_SECONDS", 0.05)
    receiver.is_open.clear()
    delivery = deliver(workspace)
    assert delivery.status == "pending"
    assert "No answer within" in delivery.error


def test_whoever_dies_between_claim_and_record_leaves_it_due_again(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    happen(workspace, EventType.WORKFLOW_STARTED)
    read()
    [dead] = WebhookOutbox().claim(database_now(), 8, [])
    assert send() == 0, "it is claimed"
    assert send(after=sending._CLAIM + timedelta(seconds=1)) == 1
    delivery = WebhookDelivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("delivered", 2)
    # The dead one comes back to life: its record changes nothing any more.
    WebhookOutbox().record([(dead, calls.Answer(error="late"))], database_now())
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_a_slow_receiver_leaves_room_for_others(
    make_endpoint: Callable[..., WebhookEndpoint], workspace: Any
) -> None:
    make_endpoint()
    happen(workspace, *[EventType.STEP_STARTED] * 12)
    read()
    outbox = WebhookOutbox()
    slow = outbox.claim(database_now(), 8, [])
    assert len(slow) == sending._OF_ONE_ENDPOINT
    other = make_endpoint()
    happen(workspace, EventType.WORKFLOW_STARTED)
    read()
    [message] = outbox.claim(database_now(), 4, slow)
    assert message.endpoint_id == other.pk


def test_says_when_the_event_is_not_kept_any_more(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    happen(workspace, EventType.WORKFLOW_STARTED)
    read()
    Event.objects.all().delete()
    send()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.status, delivery.error) == ("failed", "The event is not kept any more")
    assert receiver.received == []
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None


# --- once more --------------------------------------------------------------------------------


def test_sends_again_what_failed_under_its_own_id(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any, users: dict[str, Any]
) -> None:
    deliver(workspace)
    WebhookDelivery.objects.update(status="failed")
    assert len(webhooks.replay(endpoint.pk, user=users["admin"])) == 1
    assert webhooks.replay(endpoint.pk, user=users["admin"]) == [], "it is on its way already"
    send()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    named = [WebhookDelivery.objects.get(replay_of=None).pk]
    assert len(webhooks.replay(endpoint.pk, user=users["admin"], delivery_ids=named)) == 1
    with pytest.raises(InvalidInput):
        webhooks.replay(endpoint.pk, user=users["admin"], delivery_ids=[endpoint.pk])
    webhooks.change_endpoint(endpoint.pk, user=users["admin"], is_active=False)
    with pytest.raises(Conflict):
        webhooks.replay(endpoint.pk, user=users["admin"])


def test_tests_an_endpoint(
    endpoint: WebhookEndpoint, receiver: Receiver, users: dict[str, Any]
) -> None:
    for _ in range(2):
        webhooks.send_test(endpoint.pk, user=users["admin"])
    send()
    documents = receiver.documents(endpoint.secret)
    assert [document["type"] for document in documents] == ["webhook_test"] * 2
    assert len(set(receiver.ids)) == 2


# --- the guard --------------------------------------------------------------------------------

INTERNAL = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://[::ffff:169.254.169.254]/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://10.0.0.8/",
    "https://user:pass@example.org/",
    "ftp://example.org/",
    "https://example.org:22/",
    "https://exa mple.org/",
]


@pytest.mark.parametrize("url", INTERNAL)
def test_refuses_internal_addresses_when_they_are_saved(
    workspace: Any, users: dict[str, Any], url: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        webhooks.create_endpoint(workspace, user=users["admin"], url=url)
    assert [problem.path for problem in refusal.value.problems] == ["/url"]


def test_refuses_internal_addresses_when_it_connects(
    make_endpoint: Callable[..., WebhookEndpoint],
    receiver: Receiver,
    workspace: Any,
    monkeypatch: Any,
) -> None:
    async def rebound(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", ("127.0.0.1", receiver.server_port))]

    make_endpoint(url="https://hooks.example.org/")
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", rebound)
    delivery = deliver(workspace)
    assert delivery.status == "failed"
    assert "internal address" in delivery.error
    assert receiver.received == []


def test_an_exempt_host_is_called_only_while_it_is_exempt(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any, settings: Any
) -> None:
    assert net.is_exempt("127.0.0.1", receiver.server_port)
    settings.MGX_ALLOWED_INTERNAL_HOSTS = []
    assert deliver(workspace).status == "failed"
    assert receiver.received == []


# --- the API ----------------------------------------------------------------------------------


def test_shows_a_secret_once(api: Callable[[str], Any], receiver: Receiver) -> None:
    client = api("admin")
    made = client.post("/api/v1/webhooks/", {"url": receiver.url}, format="json")
    assert made.status_code == 201, made.content
    secret = made.json()["secret"]
    Webhook(secret)
    address = f"/api/v1/webhooks/{made.json()['id']}/"
    assert made["Location"].endswith(address)
    rotated = client.post(f"{address}rotate/", {"overlap_seconds": 0}, format="json").json()
    assert rotated["secret"] != secret
    for path in (address, "/api/v1/webhooks/", f"{address}deliveries/"):
        text = client.get(path).content.decode()
        assert "whsec_" not in text
    patched = client.patch(address, {"event_types": ["approval_required"]}, format="json")
    assert patched.json()["event_types"] == ["approval_required"]
    assert "secret" not in patched.json()
    assert client.post(f"{address}test/").status_code == 202
    send()
    [delivery] = client.get(f"{address}deliveries/?status=delivered").json()["results"]
    again = {"deliveries": [delivery["id"]]}
    replayed = client.post(f"{address}deliveries/replay/", again, format="json")
    assert replayed.status_code == 202
    assert replayed.json()["results"][0]["replay_of"] == delivery["id"]
    assert client.delete(address).status_code == 204
    assert WebhookDelivery.objects.count() == 0


def test_refuses_what_is_wrong_where_it_is(api: Callable[[str], Any], receiver: Receiver) -> None:
    body = {"url": "http://10.1.2.3/", "event_types": ["approval_required", "nonsense"]}
    answer = api("admin").post("/api/v1/webhooks/", body, format="json")
    assert answer.status_code == 400
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/url", "/event_types/1"]


@pytest.mark.parametrize("role", ["viewer", "operator", "approver", "editor"])
def test_is_for_admins(api: Callable[[str], Any], endpoint: WebhookEndpoint, role: str) -> None:
    client = api(role)
    address = f"/api/v1/webhooks/{endpoint.pk}/"
    assert client.get("/api/v1/webhooks/").json()["results"] == []
    for method, path in (
        ("get", address),
        ("patch", address),
        ("delete", address),
        ("post", f"{address}rotate/"),
        ("post", f"{address}test/"),
        ("get", f"{address}deliveries/"),
        ("post", f"{address}deliveries/replay/"),
        ("get", "/api/v1/workspaces/acme/signing-secret/"),
        ("post", "/api/v1/workspaces/acme/signing-secret/"),
    ):
        answer = getattr(client, method)(path, {} if method != "get" else None, format="json")
        assert answer.status_code == 403, (method, path)
    made = client.post("/api/v1/webhooks/", {"url": "https://example.org/"}, format="json")
    assert made.status_code == 403


def test_makes_a_workspace_its_signing_secret(api: Callable[[str], Any], workspace: Any) -> None:
    client = api("admin")
    address = "/api/v1/workspaces/acme/signing-secret/"
    assert client.get(address).status_code == 404
    first = client.post(address).json()["secret"]
    second = client.post(address, {"overlap_seconds": 60}, format="json").json()["secret"]
    assert first != second
    assert "secret" not in client.get(address).json()


# --- all together -----------------------------------------------------------------------------


def test_no_secret_reaches_events_logs_or_errors(
    endpoint: WebhookEndpoint,
    receiver: Receiver,
    workspace: Any,
    users: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [endpoint.secret, webhooks.rotate_secret(endpoint.pk, user=users["admin"]).secret]
    receiver.answer = (500, {}, b"")
    deliver(workspace)
    for day, answer in ((1, 204), (2, 410)):
        receiver.answer = (answer, {}, b"")
        happen(workspace, EventType.WORKFLOW_STARTED)
        read()
        send(after=timedelta(days=day))
    happen(workspace, EventType.WORKFLOW_STARTED)
    claimed = WebhookOutbox().claim(database_now() + timedelta(days=9), 8, [])
    call_command("dumpdata", "workflows.event", "workflows.webhookdelivery")
    said = caplog.text + capsys.readouterr().out + repr(claimed)
    assert len(receiver.received) == 4
    assert [canary for canary in (*secrets, "canary-url") if canary in said] == []


@pytest.mark.django_db(transaction=True)
def test_a_relay_reads_and_sends_until_it_is_stopped(
    endpoint: WebhookEndpoint, receiver: Receiver, workspace: Any
) -> None:
    relay = Relay()
    relay.launch()
    try:
        happen(workspace, *[EventType.WORKFLOW_STARTED] * 3)
        relay.hint()
        arrived = WebhookDelivery.objects.filter(status="delivered")
        eventually(lambda: arrived.count() == 3, "all have arrived")
    finally:
        relay.stop()
        assert relay.join(10)
    assert len(set(receiver.ids)) == len(receiver.ids) == 3
