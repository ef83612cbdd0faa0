"""Many at once: no update is lost, no limit passed, and a write is seen by the next read."""

import random
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F

from agents.memory import (
    NewEntry,
    cache,
    clear_memory,
    get_memory_stats,
    retrieve_memory,
    store_memories,
    store_memory,
    thread_context_between_steps,
    uses,
)
from agents.memory.entries import Entry
from agents.models import AgentInstance, AgentMemory, AgentMemoryEntry
from tests.db.engine.threads import at_once
from workflows.errors import NotVisible

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(agents):
    return agents["planner"].pk, agents["planner"].workspace_id


@pytest.fixture(autouse=True)
def _nothing_is_left_to_be_written(place):
    yield
    uses._pending.finish()


def held(place):
    rows = AgentMemoryEntry.objects.filter(agent_instance_id=place[0])
    sizes = list(rows.values_list("size_bytes", flat=True))
    counters = AgentMemory.objects.get(pk=place[0])
    assert (counters.total_entries, counters.total_size_bytes) == (len(sizes), sum(sizes))
    return len(sizes), sum(sizes)


def values(place, *asked, **options):
    return [entry.memory_data for entry in retrieve_memory(*place, *asked, **options)]


def cached(place, key):
    """What this process answers without asking for rows."""
    known = cache.find((place[1], place[0], key, 100))
    return known and [Entry.from_row(row).memory_data for row in known[0].rows]


class TestWriters:
    def test_no_write_of_many_is_lost(self, place):
        def write(number):
            for key in range(20):
                store_memory(*place, f"{number}-{key}", "x" * key)
                store_memory(*place, f"shared-{key}", number)

        at_once(4, write)
        assert held(place)[0] == 4 * 20 + 20

    def test_no_limit_is_passed_after_any_commit(self, place):
        AgentInstance.objects.filter(pk=place[0]).update(
            config={"memory": {"max_entries": 10, "max_bytes": 100}}
        )

        def act(number):
            chance = random.Random(number)  # noqa: S311
            for turn in range(40):
                key = f"k{chance.randrange(20)}"
                match chance.randrange(5):
                    case 0:
                        clear_memory(*place, key)
                    case 1:
                        retrieve_memory(*place)
                    case 2:
                        entries = [NewEntry(f"{key}{each}", "x" * each) for each in range(8)]
                        store_memories(*place, entries)
                    case _:
                        store_memory(*place, key, "x" * chance.randrange(50))
                rows = AgentMemoryEntry.objects.filter(agent_instance_id=place[0])
                sizes = list(rows.values_list("size_bytes", flat=True))
                assert len(sizes) <= 10, turn
                assert sum(sizes) <= 100, turn

        at_once(4, act)
        held(place)

    def test_copies_in_both_directions_wait_for_nobody(self, agents, place):
        other = agents["executor"].pk, place[1]
        for here in (place, other):
            store_memory(*here, "k", str(here[0]))

        def copy(number):
            ids = (place[0], other[0]) if number % 2 else (other[0], place[0])
            for _ in range(15):
                thread_context_between_steps(*ids, place[1], None, ["k"])

        at_once(4, copy)
        assert held(place)[0] == held(other)[0] == 1


class TestCache:
    def test_a_hot_read_asks_for_no_rows(self, place, monkeypatch):
        store_memory(*place, "k", 1)
        assert values(place, "k") == [1]
        monkeypatch.setattr("agents.memory.reading.select_each", None)
        assert values(place, "k") == [1]

    def test_what_it_gives_is_the_callers_own(self, place):
        store_memory(*place, "k", {"a": []})
        for _ in range(3):
            [entry] = retrieve_memory(*place, "k")
            assert entry.memory_data == {"a": []}
            entry.memory_data["a"].append(1)
            entry.metadata["x"] = 1

    @pytest.mark.parametrize("key", ["k", None])
    def test_a_write_elsewhere_is_seen_by_the_next_read(self, place, key):
        """Other threads write through connections of their own, as other processes do."""
        store_memory(*place, "k", 0)
        for number in range(1, 6):
            assert values(place, key) == [number - 1]
            at_once(1, lambda _, number=number: store_memory(*place, "k", number))
            assert values(place, key) == [number]
        at_once(1, lambda _: clear_memory(*place))
        assert values(place, key) == []

    def test_every_reader_sees_what_was_written_before_it_read(self, place):
        store_memory(*place, "k", 0)

        def act(number):
            seen = 0
            for turn in range(60):
                if number == 0:
                    store_memory(*place, "k", turn)
                [value] = values(place, "k")
                assert value >= seen
                seen = value
            return seen

        assert at_once(3, act)[0] == 59
        assert values(place, "k") == [59]

    def test_what_is_not_committed_is_not_kept(self, place):
        store_memory(*place, "k", "old")
        assert values(place, "k") == ["old"]
        with transaction.atomic():
            store_memory(*place, "k", "new")
            assert values(place, "k") == ["new"]
            assert at_once(1, lambda _: cached(place, "k")) == [["old"]]
            transaction.set_rollback(True)
        assert values(place, "k") == ["old"]

    def test_it_ends_with_what_expires(self, place):
        store_memory(*place, "k", 1)
        assert values(place, "k") == [1]
        answer, now = cache.find((place[1], place[0], "k", 100))
        answer.expires_at = now - timedelta(seconds=1)
        AgentMemoryEntry.objects.update(expires_at=F("updated_at") - timedelta(seconds=1))
        assert values(place, "k") == []

    def test_it_knows_agents_keys_and_limits_apart(self, agents, place):
        other = agents["executor"].pk, place[1]
        for number in range(3):
            store_memory(*place, f"k{number}", number)
        store_memory(*other, "k1", "other")
        for _ in range(2):
            assert values(place, "k1") == [1]
            assert values(other, "k1") == ["other"]
            assert values(place, limit=2) == [1, 2]
            assert values(place, limit=1) == [2]

    def test_it_is_bounded_in_bytes(self, place, settings):
        settings.MGX_MEMORY_CACHE_BYTES = 20_000
        for number in range(10):
            store_memory(*place, f"k{number}", "x" * 3_000)
            values(place, f"k{number}")
        store_memory(*place, "large", "x" * 30_000)
        assert values(place, "large") == ["x" * 30_000]
        assert 0 < cache._answers.size <= 20_000
        assert cache.find((place[1], place[0], "large", 100)) is None

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite prepares for itself")
    def test_it_goes_on_where_the_statement_is_forgotten(self, place):
        store_memory(*place, "k", 1)
        values(place, "k")
        for _ in range(2):
            with connection.cursor() as cursor:
                cursor.execute("DEALLOCATE ALL")
            connection.connection._prepared.clear()
            assert cached(place, "k") == [1]
            assert values(place, "k") == [1]

    def test_an_agent_that_is_gone_is_gone(self, agents, place):
        store_memory(*place, "k", 1)
        assert values(place, "k") == [1]
        at_once(1, lambda _: AgentInstance.objects.filter(pk=place[0]).delete())
        with pytest.raises(NotVisible):
            values(place, "k")


class TestUses:
    def test_reads_of_the_cache_count_for_who_is_evicted(self, place):
        AgentInstance.objects.filter(pk=place[0]).update(config={"memory": {"max_entries": 3}})
        for key in "abc":
            store_memory(*place, key, key)
        for key in "abcba":
            values(place, key)
        store_memory(*place, "d", "d")
        assert sorted(values(place)) == ["a", "b", "d"]

    def test_they_are_written_down_soon(self, place):
        store_memory(*place, "k", 1)
        for _ in range(5):
            values(place, "k")
        uses._pending.finish()
        counters = AgentMemory.objects.get(pk=place[0])
        assert (counters.hits, counters.misses) == (5, 0)
        entry = AgentMemoryEntry.objects.get()
        assert entry.used_at > entry.updated_at
        assert get_memory_stats(*place)["hits"] == 5

    def test_one_in_a_transaction_waits_for_its_commit(self, place):
        store_memory(*place, "k", 1)
        with transaction.atomic():
            values(place, "k")
            assert AgentMemory.objects.get(pk=place[0]).hits == 0
            if connection.vendor == "postgresql":  # SQLite has one writer
                at_once(1, lambda _: store_memory(*place, "other", 1))
        uses._pending.finish()
        assert AgentMemory.objects.get(pk=place[0]).hits == 1
