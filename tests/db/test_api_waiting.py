"""Waiting for a decision over REST: many callers, no thread for any of them."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from approvals import waiting
from approvals.models import Door
from approvals.services.decisions import Decision, decide
from approvals.services.requests import create_approval_request
from mgx.asgi import application
from mgx.middleware import LongPoll, RequestThreads
from workflows.live.tailer import tailer
from workflows.services.access import issue_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(waiting, "_LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def asked(workspace, users):
    return create_approval_request(workspace=workspace, title="May it?", user=users["operator"])


@pytest.fixture
def secret(users):
    return issue_token(users["operator"], name="test", scopes=["read"])[1]


@asynccontextmanager
async def client_of(app, secret):
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        try:
            yield client
        finally:
            await tailer().stop()


def approve(approval, user):
    try:
        decide(Decision(approval.pk, "approved"), user=user, door=Door.API)
    finally:
        connections.close_all()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_who_waits_is_answered_when_it_is_decided(asked, secret, users):
    async with client_of(application, secret) as client:
        url = f"/api/v1/approvals/{asked.pk}/wait/?timeout=60"
        answers = [asyncio.create_task(client.get(url)) for _ in range(3)]
        await until(lambda: len(waiting.waiters()._waiting.get(asked.pk, ())) == 3)
        assert not any(answer.done() for answer in answers)
        await sync_to_async(approve)(asked, users["approver"])
        for answer in await asyncio.gather(*answers):
            assert answer.json()["status"] == "approved"
            assert waiting.HEADER not in answer.headers


async def test_the_time_is_over_at_its_end(asked, secret):
    async with client_of(application, secret) as client:
        answer = await client.get(f"/api/v1/approvals/{asked.pk}/wait/?timeout=0.05")
        assert (answer.status_code, answer.json()["status"]) == (200, "pending")


async def test_who_waits_holds_no_thread(asked, secret, users):
    in_threads = 0

    async def counted(scope, receive, send):
        nonlocal in_threads
        in_threads += 1
        try:
            await inner(scope, receive, send)
        finally:
            in_threads -= 1

    inner = RequestThreads(application.application_mapping["http"].application.application)
    async with client_of(LongPoll(counted), secret) as client:
        url = f"/api/v1/approvals/{asked.pk}/wait/?timeout=60"
        answers = [asyncio.create_task(client.get(url)) for _ in range(20)]
        await until(lambda: len(waiting.waiters()._waiting.get(asked.pk, ())) == 20)
        assert in_threads == 0
        await sync_to_async(approve)(asked, users["approver"])
        assert {answer.status_code for answer in await asyncio.gather(*answers)} == {200}


async def test_who_goes_away_is_forgotten(asked, secret):
    calls, gone = [], asyncio.Event()

    async def inner(scope, receive, send):
        calls.append(scope)
        header = (waiting.HEADER.lower().encode(), f"{asked.pk} 60.0".encode())
        await send({"type": "http.response.start", "status": 200, "headers": [header]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("there is nobody to answer")

    call = asyncio.create_task(LongPoll(inner)({"type": "http"}, receive, send))
    await until(lambda: asked.pk in waiting.waiters()._waiting)
    gone.set()
    await call
    assert asked.pk not in waiting.waiters()._waiting
    assert len(calls) == 1
    await tailer().stop()
