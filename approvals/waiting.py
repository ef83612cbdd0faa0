"""Callers that wait for a decision over HTTP: one look for all of them, and a thread for none.

The view answers at once and says in ``HEADER`` what its caller waits for; ``LongPoll`` in
``mgx/middleware.py`` holds that answer back and asks the view again when there is more to say.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import Error as DatabaseError

from approvals.models import WorkflowStepApproval
from workflows.live.tailer import tailer

#: On its way out of Django: the id of a request, a space, and the seconds that are left.
HEADER = "X-MGX-Wait"
_LOOK_EVERY_SECONDS = 0.25


class Waiters:
    """Those of this process who wait for a decision, on its event loop."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def until_decided(self, approval_id: UUID, seconds: float) -> None:
        """Return once the request is not pending any more, or the time is over."""
        decided = asyncio.Event()
        self._waiting.setdefault(approval_id, set()).add(decided)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="mgx-waiters")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await decided.wait()
        finally:
            others = self._waiting.get(approval_id, set())
            others.discard(decided)
            if not others:
                self._waiting.pop(approval_id, None)

    async def _look(self) -> None:
        while self._waiting:
            # Without the database nobody has decided; who waits is told when the time is over.
            with suppress(DatabaseError):
                asked = set(self._waiting)
                for approval_id in asked - await tailer().run(_pending, asked):
                    for decided in self._waiting.get(approval_id, ()):
                        decided.set()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _pending(approval_ids: Iterable[UUID]) -> set[UUID]:
    pending = WorkflowStepApproval.objects.pending().filter(id__in=list(approval_ids))
    return set(pending.values_list("id", flat=True))


_waiters: WeakKeyDictionary[asyncio.AbstractEventLoop, Waiters] = WeakKeyDictionary()


def waiters() -> Waiters:
    """Return those who wait on the running event loop."""
    return _waiters.setdefault(asyncio.get_running_loop(), Waiters())
