"""The WebSocket as its clients see it: real application, real rows, a socket without a network."""

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections, transaction
from django.db.utils import OperationalError
from django.test import Client
from django.utils import timezone

from mgx.asgi import application
from workflows.events import EventDraft, EventType, append_events, event_document
from workflows.live import consumer, reading, tailer, window
from workflows.live.tailer import tailer as current_tailer
from workflows.models import ApiToken, Event, EventStream, Membership
from workflows.services.access import issue_token, revoke_token

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 10.0


class Closed(Exception):
    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Socket:
    """A client."""

    def __init__(self, query: str, headers: dict[str, str], path: str = "/ws/events/") -> None:
        offered = headers.get("sec-websocket-protocol", "")
        self.scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "subprotocols": [name.strip() for name in offered.split(",") if name],
        }
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.subprotocol: str | None = None
        self.seqs: list[int] = []

    async def open(self, send: Any = None) -> None:
        self.task = asyncio.create_task(
            application(self.scope, self.sent.get, send or self.received.put)
        )
        await self.sent.put({"type": "websocket.connect"})
        answer = await self._receive()
        if answer["type"] == "websocket.close":
            raise Closed(None)
        assert answer["type"] == "websocket.accept"
        self.subprotocol = answer["subprotocol"]

    async def message(self) -> dict[str, Any]:
        """Return the next message; raises Closed with its code."""
        answer = await self._receive()
        if answer["type"] == "websocket.close":
            raise Closed(answer.get("code"))
        document: dict[str, Any] = json.loads(answer["text"])
        return document

    async def event(self) -> dict[str, Any]:
        """Return the next event, whatever else comes in between."""
        while True:
            message = await self.message()
            if message["type"] == "event":
                self.seqs.append(message["event"]["seq"])
                return message["event"]

    async def closing(self) -> int | None:
        """Return the code with which the server closes the socket."""
        try:
            while True:
                await self.message()
        except Closed as closed:
            return closed.code

    async def leave(self) -> None:
        await self.sent.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, PATIENCE)

    async def _receive(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.received.get(), PATIENCE)


@pytest.fixture(autouse=True)
async def quick_tailer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Look at rights often, and end the tailer with its connections after the test."""
    monkeypatch.setattr(tailer, "_RIGHTS_SECONDS", 0.2)
    yield
    await current_tailer().stop()
    await sync_to_async(connections.close_all)()


@asynccontextmanager
async def connected(query: str = "", headers: dict[str, str] | None = None) -> Any:
    socket = Socket(query, headers or {})
    await socket.open()
    try:
        yield socket
    finally:
        await socket.leave()


@pytest.fixture
def bearer(users: dict[str, Any]) -> dict[str, str]:
    """Headers of a viewer with a token."""
    _, secret = issue_token(users["viewer"], name="socket", scopes=["read"])
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def cookie(users: dict[str, Any]) -> dict[str, str]:
    """Headers of a viewer's browser."""
    return signed_in(users["viewer"])


def signed_in(user: Any) -> dict[str, str]:
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {
        "cookie": f"theme=dark; {settings.SESSION_COOKIE_NAME}={key}",
        "host": "localhost:8000",
        "origin": "http://localhost:8000",
    }


def write(workspace: Any, count: int = 1, message: str = "") -> None:
    """Commit ``count`` events in one transaction."""
    with transaction.atomic():
        drafts = [
            EventDraft(EventType.AGENT_ACTIVITY, workspace.pk, message=message)
            for _ in range(count)
        ]
        append_events(drafts, timezone.now())


awrite = sync_to_async(write)


async def test_a_committed_event_arrives_as_its_envelope(workspace, bearer) -> None:
    async with connected("workspace=acme", bearer) as socket:
        assert await socket.message() == {"type": "ready", "seq": 0}
        await awrite(workspace, message="Hello")
        event = await socket.event()
        row = await Event.objects.aget(workspace=workspace)
        assert event == json.loads(json.dumps(event_document(row)))
        assert event["message"] == "Hello"


async def test_an_event_arrives_within_a_tenth_of_a_second(workspace, bearer) -> None:
    async with connected("", bearer) as socket:
        await socket.message()
        delays = []
        for _ in range(10):
            await awrite(workspace)
            started = asyncio.get_running_loop().time()
            await socket.event()
            delays.append(asyncio.get_running_loop().time() - started)
        assert sorted(delays)[5] < 0.1


async def test_an_uncommitted_event_does_not_arrive(workspace, bearer) -> None:
    def write_and_fail() -> None:
        with transaction.atomic():
            write(workspace, message="never")
            transaction.set_rollback(True)

    async with connected("", bearer) as socket:
        await socket.message()
        await sync_to_async(write_and_fail)()
        await awrite(workspace, message="kept")
        assert (await socket.event())["message"] == "kept"


async def test_it_replays_what_follows_the_cursor_then_goes_on(workspace, bearer) -> None:
    await awrite(workspace, 700)
    async with connected("workspace=acme&after=20", bearer) as socket:
        for _ in range(680):
            await socket.event()
        assert await socket.message() == {"type": "ready", "seq": 700}
        await awrite(workspace)
        await socket.event()
        assert socket.seqs == list(range(21, 702))


async def test_without_a_cursor_it_begins_with_what_comes_next(workspace, bearer) -> None:
    await awrite(workspace, 3)
    async with connected("", bearer) as socket:
        assert await socket.message() == {"type": "ready", "seq": 3}
        await awrite(workspace)
        assert (await socket.event())["seq"] == 4


@pytest.mark.parametrize("after", [1, 99])
async def test_a_cursor_that_is_too_old_or_ahead_is_reset(workspace, bearer, after) -> None:
    await awrite(workspace, 5)
    await EventStream.objects.filter(workspace=workspace).aupdate(pruned_seq=2)
    await Event.objects.filter(workspace=workspace, seq__lte=2).adelete()
    async with connected(f"after={after}", bearer) as socket:
        assert await socket.message() == {"type": "reset", "seq": 5}
        assert await socket.message() == {"type": "ready", "seq": 5}
        await awrite(workspace)
        assert (await socket.event())["seq"] == 6


async def test_what_follows_a_cursor_is_gone_if_any_of_it_is(workspace) -> None:
    await awrite(workspace, 5)
    await Event.objects.filter(workspace=workspace, seq=3).adelete()
    for after, frames in ((0, 2), (1, 1)):
        assert await sync_to_async(reading.frames_after)(workspace.pk, after, 9) is None
        assert len(await sync_to_async(reading.frames_after)(workspace.pk, after, frames)) == frames


async def test_the_oldest_cursor_that_is_kept_is_served(workspace, bearer) -> None:
    await awrite(workspace, 5)
    await EventStream.objects.filter(workspace=workspace).aupdate(pruned_seq=2)
    async with connected("after=2", bearer) as socket:
        assert (await socket.event())["seq"] == 3


async def test_a_socket_behind_the_window_gets_every_event_from_the_table(
    workspace, bearer, monkeypatch
) -> None:
    monkeypatch.setattr(window, "_MOST_FRAMES", 3)
    async with connected("", bearer) as socket:
        await socket.message()
        await awrite(workspace, 400)
        for _ in range(400):
            await socket.event()
        assert socket.seqs == list(range(1, 401))


@pytest.mark.promise("P13 sockets dropped at random, events of overlapping transactions")
async def test_clients_that_reconnect_get_every_event_once_in_order(
    workspace, bearer, record_property
) -> None:
    total, writers = 2_000, 4

    def produce(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311
        left = total // writers
        while left:
            count = min(left, chance.randint(1, 12))
            write(workspace, count)
            left -= count
        connections.close_all()

    async def consume(seed: int) -> list[int]:
        chance = random.Random(seed)  # noqa: S311
        seqs: list[int] = []
        while len(seqs) < total:
            after = seqs[-1] if seqs else 0
            async with connected(f"after={after}", bearer) as socket:
                for _ in range(min(chance.randint(1, 400), total - len(seqs))):
                    await socket.event()
                seqs += socket.seqs
        return seqs

    threads = [threading.Thread(target=produce, args=(seed,)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    results = await asyncio.gather(*(consume(seed) for seed in range(10)))
    for thread in threads:
        thread.join()
    assert all(seqs == list(range(1, total + 1)) for seqs in results)
    record_property("figures", f"{len(results)} sockets, {total} events once and in order")


async def test_many_sockets_cost_one_reading(workspace, bearer, monkeypatch) -> None:
    readings = []
    read = reading.news
    monkeypatch.setattr(reading, "news", lambda *a: readings.append(1) or read(*a))
    sockets = [Socket("", bearer) for _ in range(40)]
    for socket in sockets:
        await socket.open()
    readings.clear()
    await awrite(workspace)
    assert {(await socket.event())["seq"] for socket in sockets} == {1}
    assert len(readings) <= 3
    for socket in sockets:
        await socket.leave()


async def test_events_of_another_workspace_stay_there(workspace, other_workspace, bearer) -> None:
    async with connected("", bearer) as socket:
        await socket.message()
        await awrite(other_workspace, message="theirs")
        await awrite(workspace, message="ours")
        assert (await socket.event())["message"] == "ours"


async def test_sockets_outlive_an_outage_of_the_database(workspace, bearer, monkeypatch) -> None:
    read = reading.news
    failures = iter([True] * 3)

    def fail_at_first(*args: Any) -> Any:
        if next(failures, False):
            raise OperationalError("gone")
        return read(*args)

    async with connected("", bearer) as socket:
        await socket.message()
        monkeypatch.setattr(reading, "news", fail_at_first)
        await awrite(workspace)
        assert (await socket.event())["seq"] == 1


# --- who may listen ------------------------------------------------------------------------


async def refusal(query: str = "", headers: dict[str, str] | None = None, **kw: Any) -> Any:
    """Return the code with which a socket is closed before it says a word, or what it says."""
    socket = Socket(query, headers or {}, **kw)
    try:
        await socket.open()
        try:
            return await socket.message()
        except Closed as closed:
            return closed.code
    finally:
        await socket.leave()


async def test_a_session_with_our_origin_may_listen(workspace, cookie) -> None:
    async with connected("workspace=acme", cookie) as socket:
        assert (await socket.message())["type"] == "ready"


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:9000"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://evil.example", "host": "evil.example"},
    ],
)
async def test_a_session_with_a_foreign_origin_is_refused_by_http(cookie, change) -> None:
    with pytest.raises(Closed) as refused:
        await refusal("", {**cookie, **change})
    assert refused.value.code is None


async def test_a_trusted_origin_may_listen(workspace, cookie, settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.org"]
    async with connected("", {**cookie, "origin": "https://app.example.org"}) as socket:
        assert (await socket.message())["type"] == "ready"


async def test_a_token_needs_no_origin_and_ignores_cookies(workspace, bearer, cookie) -> None:
    async with connected("", {**bearer, "origin": "https://evil.example"}) as socket:
        assert (await socket.message())["type"] == "ready"
    wrong = {**cookie, "authorization": "Bearer mgx_wrong"}
    assert await refusal("", wrong) == 4401


async def test_a_browser_may_offer_its_token_as_a_subprotocol(workspace, bearer) -> None:
    secret = bearer["authorization"].removeprefix("Bearer ")
    offer = {"sec-websocket-protocol": f"mgx.events, bearer.{secret}"}
    async with connected("", offer) as socket:
        assert socket.subprotocol == "mgx.events"
        assert (await socket.message())["type"] == "ready"


async def test_who_is_nobody_is_refused(workspace, cookie) -> None:
    nobody = {key: value for key, value in cookie.items() if key != "cookie"}
    assert await refusal("", nobody) == 4401
    assert await refusal("", {**nobody, "cookie": "sessionid=made-up"}) == 4401
    assert await refusal("", {**nobody, "cookie": '";; =,\x01'}) == 4401
    assert await refusal("", {**nobody, "cookie": "sessionid=a\x00b"}) == 4401
    assert await refusal("", {"authorization": "Bearer"}) == 4401


async def test_a_token_that_may_not_read_is_refused(users) -> None:
    _, secret = await sync_to_async(issue_token)(users["viewer"], name="x", scopes=["decide"])
    assert await refusal("", {"authorization": f"Bearer {secret}"}) == 4403


@pytest.mark.parametrize("slug", ["globex", "nowhere", "%00", "long" * 50])
async def test_a_foreign_workspace_is_refused_like_an_unknown_one(
    other_workspace, bearer, slug
) -> None:
    assert await refusal(f"workspace={slug}", bearer) == 4403


async def test_a_user_without_a_workspace_is_refused(make_member) -> None:
    lonely = await sync_to_async(make_member)("lonely")
    headers = await sync_to_async(signed_in)(lonely)
    assert await refusal("", headers) == 4403


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 19, "9" * 50, "%00", "²"])
async def test_a_cursor_that_is_no_sequence_number_is_refused(bearer, after) -> None:
    assert await refusal(f"after={after}", bearer) == 4400


async def test_an_unknown_path_is_closed_cleanly() -> None:
    assert await refusal(path="/ws/elsewhere/") == 4404


async def test_a_large_frame_closes_the_socket(bearer) -> None:
    async with connected("", bearer) as socket:
        await socket.sent.put({"type": "websocket.receive", "text": "x" * 65_537})
        assert await socket.closing() == 1009


@pytest.mark.parametrize(
    "frame",
    ['{"type": "pong"}', "no json", "x" * 65_536, "\x00"],
    ids=["pong", "text", "long", "nul"],
)
async def test_what_the_client_says_is_ignored(workspace, bearer, frame) -> None:
    async with connected("", bearer) as socket:
        await socket.sent.put({"type": "websocket.receive", "text": frame})
        await socket.sent.put({"type": "websocket.receive", "bytes": frame.encode()})
        await awrite(workspace)
        assert (await socket.event())["seq"] == 1


# --- and for how long ------------------------------------------------------------------------


def remove(user: Any) -> None:
    Membership.objects.filter(user=user).delete()


def deactivate(user: Any) -> None:
    user.is_active = False
    user.save()


def change_password(user: Any) -> None:
    user.set_password("another one")
    user.save()


def end_tokens(user: Any) -> None:
    for token in ApiToken.objects.filter(user=user):
        revoke_token(token)


def expire_tokens(user: Any) -> None:
    ApiToken.objects.filter(user=user).update(expires_at=timezone.now() - timedelta(seconds=1))


def sign_out(user: Any) -> None:
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()


@pytest.mark.parametrize(
    ("means", "change", "code"),
    [
        ("bearer", remove, 4403),
        ("bearer", deactivate, 4403),
        ("bearer", end_tokens, 4401),
        ("bearer", expire_tokens, 4401),
        ("cookie", remove, 4403),
        ("cookie", deactivate, 4403),
        ("cookie", sign_out, 4401),
        ("cookie", change_password, 4401),
    ],
)
async def test_a_socket_is_closed_when_its_right_has_gone(
    request, users, bearer, cookie, means: str, change: Callable[[Any], None], code: int
) -> None:
    async with connected("", {"bearer": bearer, "cookie": cookie}[means]) as socket:
        await socket.message()
        await sync_to_async(change)(users["viewer"])
        assert await socket.closing() == code


async def test_a_change_of_role_keeps_the_socket(workspace, users, bearer) -> None:
    async with connected("", bearer) as socket:
        await socket.message()
        await Membership.objects.filter(user=users["viewer"]).aupdate(role="admin")
        await asyncio.sleep(0.5)
        await awrite(workspace)
        assert (await socket.event())["seq"] == 1


async def test_a_socket_that_takes_nothing_is_closed(workspace, bearer, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "_STALLED_SECONDS", 0.2)
    socket = Socket("", bearer)
    closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def stall(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            closed.set_result(message["code"])
        elif "event" in message.get("text", ""):
            await asyncio.sleep(PATIENCE)
        else:
            socket.received.put_nowait(message)

    await socket.open(stall)
    await socket.message()
    await awrite(workspace)
    assert await asyncio.wait_for(closed, PATIENCE) == 1013
    await socket.leave()


async def test_it_pings_when_there_is_nothing_to_say(bearer, monkeypatch) -> None:
    monkeypatch.setattr(consumer, "_PING_SECONDS", 0.1)
    async with connected("", bearer) as socket:
        assert (await socket.message())["type"] == "ready"
        assert await socket.message() == {"type": "ping"}
        assert await socket.message() == {"type": "ping"}
