"""The memory of agents: how fast it is, and that it costs the same however much there is."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from asgiref.sync import async_to_sync

from agents.memory import (
    NewEntry,
    aretrieve_memory,
    astore_memory,
    retrieve_memory,
    store_memories,
    store_memory,
)
from agents.models import AgentDefinition, AgentInstance, AgentType
from mgx.bench.scene import Figures, Scene
from mgx.bench.scratch import tidy

_KIB = {"text": "a note of what was done " * 42 + "and why"}
_LARGE = {"text": "a note of what was done " * 4_265}
_BATCH = 100
_AT_ONCE = 32
_SMALL, _FULL = 10, 1_000

#: An agent and its workspace.
Place = tuple[UUID, UUID]


def memory(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Agents' memory: stores, hot and cold reads, and what they cost in large memories."""
    count = size or 2_000
    [one] = _agents(scene, "one", 1)
    many = _agents(scene, "many", 5 * count)
    rates = {"store_batched_per_second": _BATCH * _rate(count // _BATCH, _batch(one))}
    for place in many:
        store_memory(*place, "k0", _KIB)
    tidy()
    rates |= _one_by_one(count, one, many)
    rates |= _at_once(count, one, many)
    return {
        **{name: round(rate, 1) for name, rate in rates.items()},
        **_ratios(scene, count, many),
        "how": (
            f"{count} calls, one after the other, in one process, or {_AT_ONCE} at a time on one"
            " event loop of it, which share looks at the database and commits; entries of 1 KiB and"
            " 100 KiB;"
            f" store: a commit each, batched: {_BATCH} a commit; hot: from the cache, which asks"
            " the database each time whether that is still true; cold: from the database, with"
            " a commit that notes the use; ratios: the medians of a store, one that evicts in a"
            f" memory of {_FULL} entries to one of {_SMALL}, and to one of many agents to one"
        ),
    }


def _one_by_one(count: int, one: Place, many: Sequence[Place]) -> Figures:
    """Return how much a second is done one call after the other."""
    return {
        "store_per_second": _rate(count, lambda n: store_memory(*one, f"k{n % _FULL}", _KIB)),
        "hot_per_second": _rate(10 * count, lambda _: retrieve_memory(*one, "k0")),
        "cold_per_second": _rate(count, lambda n: retrieve_memory(*many[n], "k0")),
        "store_100kib_per_second": _rate(
            count // 20, lambda n: store_memory(*one, f"large{n}", _LARGE)
        ),
        "cold_100kib_per_second": _rate(count // 20, lambda n: retrieve_memory(*one, f"large{n}")),
    }


def _at_once(count: int, one: Place, many: Sequence[Place]) -> Figures:
    """Return how much a second is done where many ask at the same time."""
    return {
        f"store_{_AT_ONCE}_at_once_per_second": _rate_at_once(
            2 * count, lambda n: astore_memory(*one, f"k{n % _FULL}", _KIB)
        ),
        f"hot_{_AT_ONCE}_at_once_per_second": _rate_at_once(
            10 * count, lambda _: aretrieve_memory(*one, "k0")
        ),
        f"cold_{_AT_ONCE}_at_once_per_second": _rate_at_once(
            count, lambda n: aretrieve_memory(*many[count + n], "k0")
        ),
        f"store_100kib_{_AT_ONCE}_at_once_per_second": _rate_at_once(
            count // 10, lambda n: astore_memory(*one, f"large{n}", _LARGE)
        ),
    }


def _ratios(scene: Scene, count: int, many: Sequence[Place]) -> Figures:
    """Return what a store costs in a large memory and among many, beside a small one and one."""
    [small] = _agents(scene, "small", 1, max_entries=_SMALL)
    [full] = _agents(scene, "full", 1, max_entries=_FULL)
    for place, entries in ((small, _SMALL), (full, _FULL)):
        store_memories(*place, [NewEntry(f"old{n}", _KIB) for n in range(entries)])
    return {
        f"ratio_{_FULL}_to_{_SMALL}_entries": _ratio(
            count // 4,
            lambda n: store_memory(*full, f"new{n}", _KIB),
            lambda n: store_memory(*small, f"new{n}", _KIB),
        ),
        f"ratio_{len(many)}_to_1_agents": _ratio(
            count // 4,
            lambda n: store_memory(*many[-n], "k0", _KIB),
            lambda n: store_memory(*many[0], "k0", _KIB),
        ),
    }


def _agents(scene: Scene, name: str, count: int, **limits: int) -> list[Place]:
    definition, _ = AgentDefinition.objects.get_or_create(
        slug="bench", defaults={"name": "Bench", "agent_type": AgentType.DEMO}
    )
    made = AgentInstance.objects.bulk_create(
        [
            AgentInstance(
                workspace=scene.workspace,
                definition=definition,
                name=f"{name} {number}",
                slug=f"{name}-{number}",
                config={"memory": limits},
            )
            for number in range(count)
        ],
        batch_size=1_000,
    )
    return [(agent.pk, scene.workspace.pk) for agent in made]


def _batch(place: Place) -> Callable[[int], object]:
    def store(number: int) -> None:
        first = number * _BATCH % _FULL
        keys = range(first, first + _BATCH)
        store_memories(*place, [NewEntry(f"k{key}", _KIB) for key in keys])

    return store


def _rate(count: int, act: Callable[[int], object]) -> float:
    """Return how often a second ``act`` is done, called with 0, 1, …."""
    begun = time.perf_counter()
    for number in range(max(count, 1)):
        act(number)
    return max(count, 1) / (time.perf_counter() - begun)


def _rate_at_once(count: int, act: Callable[[int], Awaitable[object]]) -> float:
    """Return how often a second ``act`` is done by callers who each await it again and again."""

    async def call(first: int) -> None:
        for number in range(first, count, _AT_ONCE):
            await act(number)

    async def call_all() -> None:
        await asyncio.gather(*(call(number) for number in range(_AT_ONCE)))

    begun = time.perf_counter()
    async_to_sync(call_all)()
    return count / (time.perf_counter() - begun)


def _ratio(count: int, one: Callable[[int], object], other: Callable[[int], object]) -> float:
    """Return how many times longer ``one`` takes than ``other``, both in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(max(count, 20)):
        for act, taken in zip((one, other), times, strict=True):
            begun = time.perf_counter()
            act(number)
            taken.append(time.perf_counter() - begun)
    return round(statistics.median(times[0]) / statistics.median(times[1]), 2)
