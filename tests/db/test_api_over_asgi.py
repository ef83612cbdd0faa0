"""Bodies as a server hands them in: in pieces, and without a length."""

import asyncio
import json
from threading import Barrier, get_ident

import httpx
import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.asgi import get_asgi_application
from django.db import connections

from mgx.middleware import BodyLimit, RequestThreads
from workflows.models import Membership, User
from workflows.services.access import create_workspace, issue_token

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = b"y" * 1_000_000


@pytest.fixture(autouse=True)
def _no_connection_is_kept(monkeypatch):
    """Each request has a thread of its own here, and leaves its connection behind."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


def _make_token():
    try:
        user = User.objects.create_user("chunky")
        workspace = create_workspace(name="Acme", slug="acme")
        Membership.objects.create(user=user, workspace=workspace, role="admin")
        return issue_token(user, name="test", scopes=["read", "write"])[1]
    finally:
        connections.close_all()


async def _send(application, content, path="executions/", **headers):
    secret = await sync_to_async(_make_token)()
    headers |= {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.post(f"/api/v1/{path}", content=content, headers=headers)


async def _pieces(*pieces):
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("wrap", [BodyLimit, lambda application: application])
class TestBodiesInPieces:
    async def test_one_that_does_not_tell_its_length_is_read(self, wrap):
        answer = await _send(wrap(get_asgi_application()), _pieces(b'{"unk', b'nown": 1}'))
        assert answer.status_code == 400
        assert "/unknown" in [error["pointer"] for error in answer.json()["errors"]]

    async def test_one_that_is_too_long_is_413(self, wrap):
        body = _pieces(b'{"x": "', MEGABYTE, MEGABYTE, b'"}')
        answer = await _send(wrap(get_asgi_application()), body, **{"X-Request-ID": "job-1"})
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "body_too_large"
        assert answer.headers["X-Request-ID"] == "job-1"

    async def test_what_is_imported_may_be_as_long_as_a_definition(self, wrap):
        application = wrap(get_asgi_application())
        body = _pieces(b'{"x": "', MEGABYTE, MEGABYTE, b'"}')
        answer = await _send(application, body, path="workflows/import/")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


async def test_a_body_that_tells_it_is_too_long_is_not_waited_for():
    async def application(scope, receive, send):
        raise AssertionError("the application was asked")

    answer = await _send(BodyLimit(application), json.dumps({"x": "y" * 2_000_000}).encode())
    assert answer.status_code == 413


async def test_nothing_is_read_beyond_the_limit():
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += len(MEGABYTE)
            yield MEGABYTE

    answer = await _send(BodyLimit(get_asgi_application()), endless())
    assert answer.status_code == 413
    assert read < 4 * len(MEGABYTE)


class TestThreads:
    async def _serve(self, count, at_once, **options):
        """Answer requests from a view's thread; return the threads that there were."""
        threads = []
        everybody = Barrier(at_once)

        def view():
            everybody.wait(10)
            threads.append(get_ident())

        async def application(scope, receive, send):
            async with ThreadSensitiveContext():  # as Django itself enters one
                await sync_to_async(view)()

        served = RequestThreads(application, **options)
        for _ in range(count // at_once):
            requests = [served({"type": "http"}, None, None) for _ in range(at_once)]
            await asyncio.gather(*requests)
        return threads

    async def test_one_after_the_other_they_share_a_thread(self):
        assert len(set(await self._serve(10, at_once=1))) == 1

    async def test_at_once_each_has_its_own(self):
        threads = await self._serve(12, at_once=4)
        assert len(set(threads)) == 4
        assert len(set(threads[:4])) == 4

    async def test_more_than_are_kept_run_all_the_same(self):
        threads = await self._serve(12, at_once=4, kept=1)
        assert len(set(threads[:4])) == 4

    async def test_an_error_gives_the_thread_back(self):
        async def application(scope, receive, send):
            raise LookupError("lost")

        served = RequestThreads(application)
        for _ in range(3):
            with pytest.raises(LookupError, match="lost"):
                await served({"type": "http"}, None, None)
        assert len(served._idle) == 1
