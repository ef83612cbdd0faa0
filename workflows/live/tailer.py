"""One tailer a web process: it reads what is new once, for every socket that follows it.

It wakes on a hint that something was committed, and once a second in any case; then it asks the
database for what its workspaces have beyond what it knows. Sequence numbers are contiguous and
in commit order, so nothing is missed and nothing comes twice. A socket takes frames from the
window at its own pace; one that falls behind the window is served from the table.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError
from django.db import connection

from workflows.bulk import EVENTS_CHANNEL
from workflows.engine.wakeups import watch
from workflows.live import admission, reading, rights
from workflows.live.rights import Refused, Visitor
from workflows.live.window import Window

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger("workflows.live")

#: Seconds until the tailer looks without having been woken.
_SCAN_SECONDS = 1.0
#: Seconds between two looks, however often it is woken: many commits, one query.
_PAUSE_SECONDS = 0.01
#: Seconds between two looks at the rights of those who listen.
_RIGHTS_SECONDS = 3.0
#: Seconds that the tailer stays after the last socket has left.
_LINGER_SECONDS = 5.0
_MOST_EVENTS_A_READ = 500
_MOST_EVENTS_A_SEND = 100


class Reset(Exception):
    """What follows the cursor has been deleted; the client starts anew from ``seq``."""

    def __init__(self, seq: int) -> None:
        super().__init__(seq)
        self.seq = seq


class Subscription:
    """A socket's place in the stream of a workspace."""

    __slots__ = ("_news", "_tailer", "_window", "cursor", "refused", "visitor")

    def __init__(self, tailer: "Tailer", visitor: Visitor, window: Window, cursor: int) -> None:
        self.visitor = visitor
        self.cursor = cursor
        #: Set when the visitor has lost the right to listen.
        self.refused: Refused | None = None
        self._tailer = tailer
        self._window = window
        self._news = asyncio.Event()

    @property
    def is_caught_up(self) -> bool:
        return self.cursor >= self._window.last

    def wake(self) -> None:
        """Look again: there are new frames, or the right to see them has gone."""
        self._news.set()

    async def frames(self) -> list[str]:
        """Return the next frames, and wait for them if there are none.

        Raises:
            Refused: the visitor may not listen any more.
            Reset: the events after the cursor are gone.
        """
        while True:
            if self.refused:
                raise self.refused
            if frames := await self._next():
                self.cursor += len(frames)
                return frames
            self._news.clear()
            if self.is_caught_up and not self.refused:
                await self._news.wait()

    async def _next(self) -> list[str]:
        frames = self._window.after(self.cursor, _MOST_EVENTS_A_SEND)
        if frames is None:
            frames = await self._tailer.run(
                reading.frames_after, self.visitor.workspace_id, self.cursor, _MOST_EVENTS_A_READ
            )
        if frames is None:
            self.cursor = self._window.last
            raise Reset(self.cursor)
        return frames


_tailers: WeakKeyDictionary[asyncio.AbstractEventLoop, "Tailer"] = WeakKeyDictionary()


def tailer() -> "Tailer":
    """Return the tailer of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _tailers:
        _tailers[loop] = Tailer()
    return _tailers[loop]


class Tailer:
    """Reads for all sockets of this process, on its event loop."""

    def __init__(self) -> None:
        self._windows: dict[UUID, Window] = {}
        self._subscriptions: set[Subscription] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mgx-live")

    async def run(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``read`` in the tailer's thread, on its connection: one a web process."""

        def call() -> T:
            try:
                return read(*args, **kwargs)
            except DatabaseError:
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def subscribe(self, request: admission.Request) -> tuple[Subscription, bool]:
        """Return a subscription, and whether its cursor had to be reset.

        Without a cursor it begins with what comes next; so does one whose cursor is older than
        what is kept, or ahead of the stream.
        """
        workspace_id = request.visitor.workspace_id
        found = await self.run(reading.positions, [workspace_id])
        position = found.get(workspace_id, reading.Position(0, 0))
        window = self._windows.setdefault(workspace_id, Window(position.last))
        cursor = position.last if request.after is None else request.after
        is_reset = not position.pruned <= cursor <= position.last
        if is_reset:
            cursor = position.last
        subscription = Subscription(self, request.visitor, window, cursor)
        self._subscriptions.add(subscription)
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow(), name="mgx-live")
        return subscription, is_reset

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a socket that has closed."""
        self._subscriptions.discard(subscription)
        followed = {s.visitor.workspace_id for s in self._subscriptions}
        if subscription.visitor.workspace_id not in followed:
            self._windows.pop(subscription.visitor.workspace_id, None)

    async def stop(self) -> None:
        """End the task, and the thread with its connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self.run(lambda: connection.close())
        self._thread.shutdown()

    async def _follow(self) -> None:
        watcher = asyncio.create_task(self._watch(), name="mgx-live-watch")
        loop = asyncio.get_running_loop()
        rights_due = loop.time() + _RIGHTS_SECONDS
        idle_since = loop.time()
        try:
            while self._subscriptions or loop.time() < idle_since + _LINGER_SECONDS:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_SCAN_SECONDS):
                        await self._woken.wait()
                self._woken.clear()
                if self._subscriptions:
                    idle_since = loop.time()
                    is_due = idle_since >= rights_due
                    await self._look(with_rights=is_due)
                    if is_due:
                        rights_due = idle_since + _RIGHTS_SECONDS
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            watcher.cancel()

    async def _watch(self) -> None:
        async for _ in watch(EVENTS_CHANNEL):
            self._woken.set()

    async def _look(self, *, with_rights: bool) -> None:
        try:
            if with_rights:
                await self._check_rights()
            await self._read_news()
        except DatabaseError as error:
            # Sockets stay open; once the database is back, they get what they missed.
            logger.warning("Live events wait for the database: %s", type(error).__name__)

    async def _read_news(self) -> None:
        known = {workspace_id: window.last for workspace_id, window in self._windows.items()}
        news = await self.run(reading.news, known, _MOST_EVENTS_A_READ)
        for workspace_id, (frames, last) in news.items():
            window = self._windows.get(workspace_id)
            if window is None or window.last != known[workspace_id]:
                continue  # The last socket left, or a new one came, while this was read.
            if frames is None:
                window.skip_to(last)
                continue
            for frame in frames:
                window.append(frame)
            if window.last < last:
                self._woken.set()
        for subscription in self._subscriptions:
            if subscription.visitor.workspace_id in news:
                subscription.wake()

    async def _check_rights(self) -> None:
        visitors = {subscription.visitor for subscription in self._subscriptions}
        refused = await self.run(rights.refusals, visitors)
        for subscription in self._subscriptions:
            if refusal := refused.get(subscription.visitor):
                subscription.refused = refusal
                subscription.wake()
