"""Sockets: how soon hundreds of them get an event, and what thousands of idle ones cost."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.db import transaction
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage

from mgx.bench.scene import Figures, Scene, spread
from mgx.bench.scratch import allow_many_sockets, proportional_mb, web
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Workspace
from workflows.services.access import issue_token

_LISTENERS = 500
_IDLE = 2_000
_EVENTS = 40
_PAUSE_SECONDS = 0.25
_OPENED_AT_ONCE = 20
_GIVE_UP_SECONDS = 60.0
_TRIES = 5


def sockets(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """500 sockets that hear of each event, then 2,000 that hear nothing, at one web process."""
    listeners = size or _LISTENERS
    idle = listeners * _IDLE // _LISTENERS
    _, secret = issue_token(scene.user, name="bench", scopes=["read"])
    allow_many_sockets()
    with web() as (port, pid):
        address = f"ws://127.0.0.1:{port}/ws/events/?workspace={scene.workspace.slug}"
        late = asyncio.run(_listen(address, secret, scene.workspace, listeners))
        before = proportional_mb(pid)
        after = asyncio.run(_idle(address, secret, idle, pid))
    return {
        **spread(late),
        "max_ms": round(max(late), 2),
        "heard": len(late),
        "idle_mb": round(after - before, 1),
        "how": (
            f"ms: from before the commit of an event to its arrival at each of {listeners}"
            f" sockets, {_EVENTS} events; idle_mb: what {idle} sockets that hear nothing add to"
            " the memory of the web process (PSS)"
        ),
    }


async def _listen(address: str, secret: str, workspace: Workspace, count: int) -> list[float]:
    """Return how many milliseconds late each event was at each socket."""
    async with AsyncExitStack() as stack:
        opened = await _open(stack, address, secret, count)
        sent: dict[int, float] = {}
        heard: list[tuple[int, float]] = []
        tasks = [asyncio.create_task(_hear(each, heard)) for each in opened]
        for number in range(_EVENTS):
            sent[number] = await sync_to_async(_commit)(workspace, number)
            await asyncio.sleep(_PAUSE_SECONDS)
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            await asyncio.gather(*tasks)
    return [(at - sent[number]) * 1_000 for number, at in heard]


async def _idle(address: str, secret: str, count: int, pid: int) -> float:
    """Return the memory of the web process in MiB while so many sockets are open."""
    async with AsyncExitStack() as stack:
        await _open(stack, address, secret, count)
        return proportional_mb(pid)


async def _open(
    stack: AsyncExitStack, address: str, secret: str, count: int
) -> list[ClientConnection]:
    """Open sockets, some at a time, and return them once each has said that it is ready."""
    gate = asyncio.Semaphore(_OPENED_AT_ONCE)
    headers = {"Authorization": f"Bearer {secret}"}

    async def open_one() -> ClientConnection:
        async with gate:
            socket = await _connect(address, headers)
            stack.push_async_callback(socket.close)
            await asyncio.wait_for(socket.recv(), _GIVE_UP_SECONDS)
            return socket

    return await asyncio.gather(*(open_one() for _ in range(count)))


async def _connect(address: str, headers: dict[str, str]) -> ClientConnection:
    """Open a socket, again if the server was too busy to answer."""
    for _ in range(_TRIES - 1):
        with suppress(InvalidHandshake, InvalidMessage, TimeoutError):
            return await _connection(address, headers)
    return await _connection(address, headers)


def _connection(address: str, headers: dict[str, str]) -> connect:
    return connect(
        address,
        additional_headers=headers,
        compression=None,
        ping_interval=None,
        open_timeout=_GIVE_UP_SECONDS,
    )


async def _hear(socket: ClientConnection, heard: list[tuple[int, float]]) -> None:
    """Note when each event arrives."""
    number = 0
    while number < _EVENTS:
        frame: Any = await socket.recv()
        if '"type":"event"' in frame:
            heard.append((number, time.perf_counter()))
            number += 1


def _commit(workspace: Workspace, number: int) -> float:
    """Commit an event; return the moment before."""
    with transaction.atomic():
        draft = EventDraft(EventType.AGENT_ACTIVITY, workspace.pk, message=f"Event {number}")
        append_events([draft], database_now())
        return time.perf_counter()
