"""What stands before Django: a limit for bodies, waiting, and threads that are used again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from asgiref.sync import ThreadSensitiveContext
from django.db import connections
from django.http import HttpRequest, HttpResponse

from approvals import waiting
from mgx.errors import problem_of
from workflows.api.parsers import most_bytes, too_large

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyLimit:
    """An ASGI application that answers 413 as soon as a body is too long.

    Django spools a body to the disk before it looks at it, however long, and one sent in chunks
    does not tell its length.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        limit = most_bytes(scope["path"])
        received = _told_length(scope)

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Django closes what it has taken in, and answers nothing, when a client goes away.
            return {"type": "http.disconnect"} if received > limit else message

        if received <= limit:
            received = 0
            await self.application(scope, receive_within_limit, send)
        if received > limit:
            await _answer(problem_of(too_large(scope["path"]), _request(scope)), send)


class LongPoll:
    """An ASGI application that holds an answer with ``X-MGX-Wait`` back until a request is decided.

    Then, or when the time is over, it asks anew. It stands around what gives a request its thread,
    so that none is held meanwhile.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        awaited: tuple[UUID, float] | None = None

        async def send_unless_awaited(message: Message) -> None:
            nonlocal awaited
            if message["type"] == "http.response.start":
                awaited = _awaited(message["headers"])
            if awaited is None:
                await send(message)

        await self.application(scope, receive, send_unless_awaited)
        if awaited is not None and await _is_worth_an_answer(*awaited, receive):
            again = {**scope, "query_string": b"timeout=0"}
            await self.application(again, _empty_body(receive), send)


class RequestThreads:
    """An ASGI application whose requests run in threads that are kept, with their connections.

    Django gives each request a new thread under ASGI, and so a new connection to the database,
    whatever ``CONN_MAX_AGE`` says; the old one lives until it is collected as garbage.
    """

    def __init__(self, application: Application, *, kept: int = 16) -> None:
        """``kept``: how many threads wait for the next request; more run when more are needed."""
        self.application = application
        self._kept = kept
        self._idle: list[ThreadPoolExecutor] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1)
        try:
            async with ThreadSensitiveContext(executor=thread):
                await self.application(scope, receive, send)
        finally:
            if len(self._idle) < self._kept:
                self._idle.append(thread)
            else:
                thread.submit(connections.close_all)
                thread.shutdown(wait=False)


def _told_length(scope: Scope) -> int:
    told = dict(scope["headers"]).get(b"content-length", b"")
    return int(told) if told.isdigit() else 0


def _request(scope: Scope) -> HttpRequest:
    request = HttpRequest()
    request.path = scope["path"]
    sent = dict(scope["headers"]).get(b"x-request-id", b"")
    request.META["HTTP_X_REQUEST_ID"] = sent.decode("latin-1")
    return request


async def _answer(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
    headers += [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})


def _awaited(headers: Iterable[tuple[bytes, bytes]]) -> tuple[UUID, float] | None:
    for name, value in headers:
        if name.lower() == waiting.HEADER.lower().encode():
            approval_id, seconds = value.decode("ascii").split()
            return UUID(approval_id), float(seconds)
    return None


async def _is_worth_an_answer(approval_id: UUID, seconds: float, receive: Receive) -> bool:
    """Wait for the decision; return False as soon as the client has gone."""
    decision = asyncio.create_task(waiting.waiters().until_decided(approval_id, seconds))
    gone = asyncio.create_task(_disconnection(receive))
    try:
        done, _ = await asyncio.wait({decision, gone}, return_when=asyncio.FIRST_COMPLETED)
        return gone not in done
    finally:
        for task in (decision, gone):
            task.cancel()
        await asyncio.gather(decision, gone, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _empty_body(receive: Receive) -> Receive:
    """Return what says that there is no body, and then what ``receive`` says."""
    is_said = False

    async def once_empty() -> Message:
        nonlocal is_said
        if is_said:
            return await receive()
        is_said = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return once_empty
