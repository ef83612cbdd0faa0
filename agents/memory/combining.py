"""The async twins of what is asked most: what is asked at the same time is done together.

While the database answers some calls of an event loop, others gather, and are its next question.
So many reads share one look at the version of a memory, which begins after each of them was
asked, and many stores share one transaction, in which each has its own refusal. A call belongs to
the thread in which ``sync_to_async`` would have done it, with its connection and the transaction
that may be open there; only calls of the same thread go together.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async

from agents.memory.entries import Entry, NewEntry
from agents.memory.reading import LIMIT, place_of, retrieve_each
from agents.memory.trust import Trust
from agents.memory.writing import Store, store_each
from workflows.events import SYSTEM

#: Calls that are done together at most.
_TOGETHER: Final = 64

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class _Gathering(Generic[Ask, Answer]):
    """The calls of one thread that wait, and the task that has them done.

    Args:
        act: does several at once and returns an answer to each, or what is raised to who asked.
    """

    def __init__(self, act: Callable[[list[Ask]], Sequence[Answer | Exception]]) -> None:
        self._act = sync_to_async(act)
        self._waiting: list[tuple[Ask, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, what: Ask, done: Callable[[], object]) -> Answer:
        """Wait for the answer; ``done`` is called when nobody waits any more."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((what, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work(done))
        return await future

    async def _work(self, done: Callable[[], object]) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
                await self._answer([each for each in taken if not each[1].done()])
        finally:
            self._task = None
            done()
            for _, future in self._waiting:
                future.cancel()

    async def _answer(self, asked: list[tuple[Ask, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._act([what for what, _ in asked])
        except Exception as error:
            answers = [error] * len(asked)
        except asyncio.CancelledError:
            for _, future in asked:
                future.cancel()
            raise
        for (_, future), answer in zip(asked, answers, strict=True):
            if future.done():
                continue  # who asked waits no longer
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


_gatherings: dict[Any, _Gathering[Any, Any]] = {}


async def _together(act: Callable[[list[Ask]], Sequence[Answer | Exception]], what: Ask) -> Answer:
    """Have ``act`` do this together with what else is asked of it at this time."""
    key = (
        act,
        asyncio.get_running_loop(),
        SyncToAsync.thread_sensitive_context.get(None),
        getattr(AsyncToSync.executors, "current", None),
    )
    gathering: _Gathering[Ask, Answer] | None = _gatherings.get(key)
    if gathering is None:
        gathering = _gatherings[key] = _Gathering(act)
    return await gathering.ask(what, lambda: _gatherings.pop(key, None))


async def aretrieve_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str | None = None,
    limit: int = LIMIT,
) -> list[Entry]:
    """As ``retrieve_memory``."""
    place = place_of(agent_instance_id, workspace_id, memory_key, limit)
    return await _together(retrieve_each, place)


async def astore_memory(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    memory_key: str,
    memory_data: Any,
    metadata: dict[str, Any] | None = None,
    *,
    ttl_seconds: int | None = None,
    trust: Trust = Trust.AGENT,
    actor: str = SYSTEM,
) -> Entry:
    """As ``store_memory``."""
    new = NewEntry(memory_key, memory_data, metadata or {}, ttl_seconds, trust)
    [entry] = await astore_memories(agent_instance_id, workspace_id, [new], actor=actor)
    return entry


async def astore_memories(
    agent_instance_id: UUID | str,
    workspace_id: UUID | str,
    entries: Iterable[NewEntry],
    *,
    actor: str = SYSTEM,
) -> list[Entry]:
    """As ``store_memories``."""
    store = Store.read(agent_instance_id, workspace_id, entries, actor)
    return await _together(store_each, store)
