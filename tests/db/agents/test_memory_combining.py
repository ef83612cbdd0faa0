"""What is asked at the same time on one event loop is done together, and as if it were alone."""

import asyncio
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import DatabaseError, connection, transaction

from agents.memory import (
    NewEntry,
    aretrieve_memory,
    astore_memories,
    astore_memory,
    cache,
    combining,
    get_memory_stats,
    reading,
    retrieve_memory,
    store_memory,
    uses,
    writing,
)
from agents.models import AgentMemory, AgentMemoryEntry, AgentMemoryPast
from mgx.verify import find_violations
from tests.db.engine.threads import at_once
from workflows.errors import InvalidInput, NotVisible

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(agents):
    return agents["planner"].pk, agents["planner"].workspace_id


@pytest.fixture
def other(agents):
    return agents["executor"].pk, agents["executor"].workspace_id


@pytest.fixture(autouse=True)
def _all_is_right(place):
    yield
    uses._pending.finish()
    assert combining._gatherings == {}

    def ask(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    assert list(find_violations(ask)) == []


def at_the_same_time(*asked):
    """Await calls at the same time on one loop; return what each answers or raises."""

    async def all_of_them():
        return await asyncio.gather(*(call() for call in asked), return_exceptions=True)

    return async_to_sync(all_of_them)()


def versions_made(place):
    return AgentMemory.objects.values_list("version", flat=True).get(pk=place[0])


def values(place, *asked):
    return [entry.memory_data for entry in retrieve_memory(*place, *asked)]


class TestStores:
    def test_they_share_transactions(self, place, monkeypatch):
        store_memory(*place, "first", 1)
        before, batches = versions_made(place), []

        def count(stores):
            batches.append(len(stores))
            return writing.store_each(stores)

        monkeypatch.setattr("agents.memory.combining.store_each", count)
        answers = at_the_same_time(
            *(lambda n=n: astore_memory(*place, f"k{n}", n) for n in range(100))
        )
        assert [entry.memory_data for entry in answers] == list(range(100))
        assert sum(batches) == 100
        assert max(batches) == 64
        assert versions_made(place) - before == len(batches)
        assert values(place) == list(range(100))

    def test_each_has_its_own_refusal(self, place, other):
        store_memory(*place, "kept", 1)
        wrong = at_the_same_time(
            lambda: astore_memory(*place, "a", 1),
            lambda: astore_memory(*place, "kept", float("nan")),
            lambda: astore_memory(*place, "", 1),
            lambda: astore_memories(*place, [NewEntry("b", 1), NewEntry("c", 1, ttl_seconds=-1)]),
            lambda: astore_memory(place[0], place[0], "a", 1),
            lambda: astore_memory(*other, "d", 2),
        )
        assert [type(each).__name__ for each in wrong] == [
            "Entry",
            *["InvalidInput"] * 3,
            "NotVisible",
            "Entry",
        ]
        assert values(place) == [1, 1]
        assert values(other) == [2]

    def test_the_last_of_a_key_counts_and_the_others_are_past(self, place, monkeypatch):
        monkeypatch.setattr(writing, "_store_alone", None)
        calls = [lambda n=n: astore_memory(*place, "k", n, actor=f"user:{n % 2}") for n in range(6)]
        at_the_same_time(*calls)
        assert values(place, "k") == [5]
        past = AgentMemoryPast.objects.order_by("id").values_list("memory_data", "actor")
        assert list(past) == [(n, f"user:{(n + 1) % 2}") for n in range(5)]

    def test_what_the_database_refuses_one_of_them_it_refuses_no_other(self, place, monkeypatch):
        put = writing.put

        def refuse(writes):
            if any(made.entry.memory_key == "bad" for _, each in writes for made in each):
                raise DatabaseError("no")
            put(writes)

        monkeypatch.setattr(writing, "put", refuse)
        answers = at_the_same_time(
            *(lambda key=key: astore_memory(*place, key, 1) for key in ("a", "bad", "b"))
        )
        assert isinstance(answers[1], DatabaseError)
        assert sorted(entry.memory_key for entry in retrieve_memory(*place)) == ["a", "b"]

    def test_they_belong_to_the_transaction_that_is_open(self, place):
        with transaction.atomic():
            at_the_same_time(lambda: astore_memory(*place, "k", 1))
            assert values(place) == [1]
            transaction.set_rollback(True)
        assert values(place) == []

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
    def test_those_of_other_transactions_do_not_go_together(self, place, other):
        barrier = threading.Barrier(2)

        def act(here, is_kept):
            with transaction.atomic():
                connection.ensure_connection()
                barrier.wait(10)
                async_to_sync(astore_memory)(*here, "k", 1)
                barrier.wait(10)
                transaction.set_rollback(not is_kept)
            connection.close()

        async def both():
            begin = sync_to_async(act, thread_sensitive=False)
            await asyncio.gather(begin(place, True), begin(other, False))

        for here in (place, other):
            store_memory(*here, "first", 0)
        asyncio.run(both())
        assert values(place) == [0, 1]
        assert values(other) == [0]

    def test_who_waits_no_longer_spoils_nothing(self, place):
        async def act():
            calls = [asyncio.create_task(astore_memory(*place, f"k{n}", n)) for n in range(5)]
            await asyncio.sleep(0)
            calls[2].cancel()
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = async_to_sync(act)()
        assert isinstance(answers[2], asyncio.CancelledError)
        assert [values(place, f"k{n}") for n in (0, 1, 3, 4)] == [[0], [1], [3], [4]]


class TestReads:
    def test_they_share_one_look(self, place, other, monkeypatch):
        for here in (place, other):
            store_memory(*here, "k", str(here[0]))
            retrieve_memory(*here, "k")
        looks = []
        monkeypatch.setattr(
            cache, "_now_each", lambda m, look=cache._now_each: looks.append(set(m)) or look(m)
        )
        monkeypatch.setattr(reading, "_read", None)
        monkeypatch.setattr(reading, "_read_and_use", None)
        answers = at_the_same_time(
            *(lambda h=h: aretrieve_memory(*h, "k") for h in (place, other) for _ in range(20))
        )
        assert [entry.memory_data for [entry] in answers] == [str(place[0])] * 20 + [
            str(other[0])
        ] * 20
        assert looks == [{(place[1], place[0]), (other[1], other[0])}]

    def test_each_gets_entries_of_its_own(self, place):
        store_memory(*place, "k", {"a": []})
        calls = [lambda: aretrieve_memory(*place, "k")] * 3
        for _ in range(2):
            for [entry] in at_the_same_time(*calls):
                assert entry.memory_data == {"a": []}
                entry.memory_data["a"].append(1)

    def test_each_counts(self, place):
        store_memory(*place, "k", 1)
        for _ in range(2):
            at_the_same_time(
                *[lambda: aretrieve_memory(*place, "k")] * 5,
                *[lambda: aretrieve_memory(*place, "none")] * 2,
            )
        uses._pending.finish()
        stats = get_memory_stats(*place)
        assert (stats["hits"], stats["misses"]) == (10, 4)
        entry = AgentMemoryEntry.objects.get()
        assert entry.used_at > entry.updated_at

    def test_each_has_its_own_refusal(self, place):
        store_memory(*place, "k", 1)
        answers = at_the_same_time(
            lambda: aretrieve_memory(*place, "k"),
            lambda: aretrieve_memory(place[0], place[0]),
            lambda: aretrieve_memory(*place, "k", 0),
            lambda: aretrieve_memory(*place),
        )
        assert [entry.memory_data for entry in answers[0] + answers[3]] == [1, 1]
        assert isinstance(answers[1], NotVisible)
        assert isinstance(answers[2], InvalidInput)

    def test_a_write_elsewhere_is_seen_by_whoever_asks_after_it(self, place):
        store_memory(*place, "k", 0)

        def write(number):
            at_once(1, lambda _: store_memory(*place, "k", number))

        async def act():
            seen = []
            for number in range(1, 20):
                early = [asyncio.create_task(aretrieve_memory(*place, "k")) for _ in range(3)]
                await asyncio.sleep(0)
                await asyncio.to_thread(write, number)
                [[late], *earlier] = await asyncio.gather(aretrieve_memory(*place, "k"), *early)
                seen.append(late.memory_data)
                assert {entry.memory_data for [entry] in earlier} <= {number - 1, number}
            return seen

        assert async_to_sync(act)() == list(range(1, 20))

    @pytest.mark.parametrize("key", ["k3", None])
    def test_threads_of_their_own_do_not_share(self, place, key):
        """As requests of a web server do: each has its thread, with what it may have begun."""
        for number in range(5):
            store_memory(*place, f"k{number}", number)

        async def request():
            async with ThreadSensitiveContext():
                found = await aretrieve_memory(*place, key)
                await sync_to_async(lambda: connection.close())()
                return [entry.memory_data for entry in found]

        async def act():
            return await asyncio.gather(*(request() for _ in range(3)))

        expected = [3] if key else [0, 1, 2, 3, 4]
        assert asyncio.run(act()) == [expected] * 3
