"""What agents remember: keys, limits, expiry, copies, figures and words."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models import F

from agents import memory
from agents.memory import (
    NewEntry,
    clear_memory,
    get_memory_stats,
    retrieve_memory,
    search_memory,
    store_memories,
    store_memory,
    thread_context_between_steps,
)
from agents.models import AgentInstance, AgentMemory, AgentMemoryEntry, AgentMemoryText
from workflows.core.canonical import dumps_canonical
from workflows.errors import InvalidInput, NotVisible
from workflows.models import Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def planner(agents):
    return agents["planner"]


@pytest.fixture
def executor(agents):
    return agents["executor"]


def limit(agent, **limits):
    AgentInstance.objects.filter(pk=agent.pk).update(config={"memory": limits})


def store(agent, key, data, **options):
    return store_memory(agent.pk, agent.workspace_id, key, data, **options)


def data_of(agent, key=None, **options):
    return [e.memory_data for e in retrieve_memory(agent.pk, agent.workspace_id, key, **options)]


def keys_of(agent, **options):
    return [e.memory_key for e in retrieve_memory(agent.pk, agent.workspace_id, **options)]


def expire(agent, *keys):
    rows = AgentMemoryEntry.objects.filter(agent_instance=agent, memory_key__in=keys)
    assert rows.update(expires_at=F("updated_at") - timedelta(seconds=1)) == len(keys)


def recount(agent):
    """What is held, counted anew; it is to equal the counters."""
    rows = AgentMemoryEntry.objects.filter(agent_instance=agent)
    sizes = [row.size_bytes for row in rows]
    for row in rows:
        assert row.size_bytes == len(dumps_canonical(row.memory_data).encode())
    counters = AgentMemory.objects.get(pk=agent.pk)
    assert (counters.total_entries, counters.total_size_bytes) == (len(sizes), sum(sizes))
    assert AgentMemoryText.objects.filter(entry__agent_instance=agent).count() == len(sizes)
    return len(sizes), sum(sizes)


class TestStoring:
    @pytest.mark.parametrize(
        "data",
        [
            *(None, True, 0, 2**70, 1.5, "", "ü\u2028\\", [], {}),
            {"a": {"b": [1, {"c": "$&"}]}},
        ],
    )
    def test_what_is_stored_comes_back(self, planner, data):
        stored = store(planner, "k", data, metadata={"by": "x"})
        [found] = retrieve_memory(planner.pk, planner.workspace_id, "k")
        assert found == stored
        assert found.memory_data == data
        assert found.metadata == {"by": "x", "trust": "agent"}
        assert found.size_bytes == len(dumps_canonical(data).encode())
        assert found.expires_at - found.updated_at == timedelta(days=1)

    def test_the_last_of_a_key_counts_and_keeps_its_beginning(self, planner):
        first = store(planner, "k", "long" * 100)
        store(planner, "other", 1)
        last = store(planner, "k", "s")
        assert (last.id, last.created_at) == (first.id, first.created_at)
        assert keys_of(planner) == ["other", "k"]
        assert recount(planner) == (2, 4)

    @pytest.mark.parametrize("key", ["%", "a.b", "_", "'", '"', "\\", "key", "KEY", "ü", "x" * 255])
    def test_every_character_of_a_key_stands_for_itself(self, planner, key):
        others = ["a", "axb", "kEy", "x" * 254]
        for other in others:
            store(planner, other, other)
        store(planner, key, "mine")
        assert data_of(planner, key) == ["mine"]
        assert clear_memory(planner.pk, planner.workspace_id, key) == 1
        assert keys_of(planner) == others

    @pytest.mark.parametrize("key", ["", "x" * 256, "x" * 10_000, "a\0b", "\ud800", 5, None])
    def test_a_key_that_cannot_be_kept_is_refused(self, planner, key):
        with pytest.raises(InvalidInput):
            store(planner, key, 1)
        assert not AgentMemoryEntry.objects.exists()

    @pytest.mark.parametrize("data", [float("nan"), {1: 2}, "\0", "\ud800", {1, 2}, b"x"])
    def test_data_that_is_no_json_is_refused(self, planner, data):
        with pytest.raises(InvalidInput):
            store(planner, "k", data)

    @pytest.mark.parametrize("seconds", [-1, 0, 10**18, 86_401, True, 1.5, "5"])
    def test_a_time_that_is_none_is_refused(self, planner, seconds):
        with pytest.raises(InvalidInput) as refused:
            store(planner, "k", 1, ttl_seconds=seconds)
        assert refused.value.code == "invalid_ttl"

    def test_several_are_stored_together_or_none_is(self, planner):
        entries = [NewEntry("a", 1), NewEntry("b", 2), NewEntry("a", 3)]
        stored = store_memories(planner.pk, planner.workspace_id, entries)
        assert {each.memory_key: each.memory_data for each in stored} == {"a": 3, "b": 2}
        with pytest.raises(InvalidInput):
            store_memories(planner.pk, planner.workspace_id, [NewEntry("c", 1), NewEntry("", 2)])
        assert recount(planner)[0] == 2

    def test_each_agent_and_workspace_has_its_own(self, planner, executor, outsider):
        store(planner, "k", "mine")
        store(executor, "k", "theirs")
        assert data_of(planner) == ["mine"]
        foreign = outsider.memberships.get().workspace_id
        for wrong in ((planner.pk, foreign), (uuid4(), planner.workspace_id), ("x", foreign)):
            for call in (retrieve_memory, get_memory_stats, clear_memory):
                with pytest.raises(NotVisible):
                    call(*wrong)
            with pytest.raises(NotVisible):
                store_memory(*wrong, "k", 1)
            with pytest.raises(NotVisible):
                search_memory(*wrong, "mine")


class TestReading:
    def test_the_newest_come_oldest_first(self, planner):
        for number in range(5):
            store(planner, f"k{number}", number)
        assert data_of(planner, limit=3) == [2, 3, 4]
        assert data_of(planner) == [0, 1, 2, 3, 4]
        assert data_of(planner, "k1") == [1]
        assert data_of(planner, "none") == []

    @pytest.mark.parametrize("wrong", [0, -1, 10**9, True, "5", None])
    def test_a_limit_that_is_none_is_refused(self, planner, wrong):
        with pytest.raises(InvalidInput):
            data_of(planner, limit=wrong)

    def test_what_has_expired_is_never_returned(self, planner, executor):
        store(planner, "old", "words")
        store(planner, "new", "words")
        expire(planner, "old")
        place = planner.pk, planner.workspace_id
        assert keys_of(planner) == ["new"]
        assert data_of(planner, "old") == []
        assert [found.memory_key for found in search_memory(*place, "words")] == ["new"]
        assert get_memory_stats(*place)["memory_keys"] == ["new"]
        copied = thread_context_between_steps(
            planner.pk, executor.pk, planner.workspace_id, None, ["old", "new"]
        )
        assert [entry.memory_key for entry in copied] == ["new"]

    def test_each_can_be_awaited(self):
        plain = {name for name in memory.__all__ if hasattr(memory, f"a{name}")}
        assert plain >= {
            *("store_memory", "store_memories", "retrieve_memory", "search_memory"),
            *("clear_memory", "erase_memory", "get_memory_stats", "thread_context_between_steps"),
        }
        assert all(asyncio.iscoroutinefunction(getattr(memory, f"a{name}")) for name in plain)


class TestLimits:
    def test_what_was_used_longest_ago_makes_room(self, planner):
        limit(planner, max_entries=3)
        for key in "abc":
            store(planner, key, 1)
        data_of(planner, "a")
        store(planner, "d", 1)
        assert keys_of(planner) == ["a", "c", "d"]
        store(planner, "c", 2)
        store(planner, "e", 1)
        store(planner, "f", 1)
        assert keys_of(planner) == ["c", "e", "f"]
        assert recount(planner)[0] == 3
        assert get_memory_stats(planner.pk, planner.workspace_id)["evictions"] == 3

    def test_bytes_are_counted_in_utf8(self, planner):
        limit(planner, max_bytes=100)
        store(planner, "a", "x" * 48)
        store(planner, "b", "x" * 48)
        assert recount(planner) == (2, 100)
        store(planner, "c", "ü" * 24)
        assert keys_of(planner) == ["b", "c"]
        assert recount(planner) == (2, 100)
        store(planner, "d", "x" * 98)
        assert keys_of(planner) == ["d"]

    def test_what_alone_is_too_large_is_refused_and_nothing_is_lost(self, planner):
        limit(planner, max_bytes=100)
        store(planner, "a", "x" * 98)
        with pytest.raises(InvalidInput) as refused:
            store(planner, "b", "x" * 99)
        assert refused.value.code == "too_large"
        assert data_of(planner) == ["x" * 98]

    def test_what_has_expired_makes_room_first(self, planner):
        limit(planner, max_entries=2)
        store(planner, "a", 1)
        store(planner, "b", 1)
        data_of(planner, "b")
        expire(planner, "b")
        store(planner, "c", 1)
        assert keys_of(planner) == ["a", "c"]
        assert get_memory_stats(planner.pk, planner.workspace_id)["evictions"] == 0
        assert recount(planner)[0] == 2

    def test_more_at_once_than_there_is_room_for_keeps_the_last(self, planner):
        limit(planner, max_entries=40)
        entries = [NewEntry(str(number), number) for number in range(100)]
        store_memories(planner.pk, planner.workspace_id, entries)
        assert data_of(planner) == list(range(60, 100))
        assert recount(planner)[0] == 40

    def test_the_agents_own_limits_go_before_its_definitions_and_the_settings(
        self, planner, settings
    ):
        settings.MGX_MEMORY_MAX_ENTRIES = 3
        definition = planner.definition

        def held():
            for number in range(5):
                store(planner, str(number), 1)
            return recount(planner)[0]

        assert held() == 3
        definition.config = {**definition.config, "memory": {"max_entries": 2, "ttl_seconds": 60}}
        definition.save()
        assert held() == 2
        limit(planner, max_entries=1)
        assert held() == 1
        limit(planner, max_entries=-5, max_bytes="many")
        entry = store(planner, "last", 1)
        assert recount(planner)[0] == 2
        assert entry.expires_at - entry.updated_at == timedelta(seconds=60)

    def test_entries_from_before_the_counters_are_counted(self, planner):
        store(planner, "a", "xx")
        AgentMemory.objects.all().delete()
        store(planner, "b", 1)
        assert recount(planner) == (2, 5)


class TestThreading:
    def test_copies_tell_where_they_are_from(self, planner, executor):
        store(planner, "plan", {"a": 1}, metadata={"kept": True})
        store(planner, "not asked for", 1)
        before = AgentMemoryEntry.objects.filter(agent_instance=planner).values()
        before = sorted(before, key=lambda row: row["memory_key"])
        copied = thread_context_between_steps(
            planner.pk, executor.pk, planner.workspace_id, None, ["plan", "missing"]
        )
        after = AgentMemoryEntry.objects.filter(agent_instance=planner).values()
        assert sorted(after, key=lambda row: row["memory_key"]) == before
        [found] = retrieve_memory(executor.pk, executor.workspace_id)
        assert [found] == copied
        assert found.memory_data == {"a": 1}
        assert found.threaded_from == planner.pk
        assert found.metadata["threaded_from"] == str(planner.pk)
        assert found.metadata["threaded_at"]
        assert found.metadata["kept"] is True
        assert recount(executor) == (1, 7)

    def test_a_copy_lasts_no_longer_than_what_was_copied(self, planner, executor):
        original = store(planner, "k", 1, ttl_seconds=50)
        [copy] = thread_context_between_steps(
            planner.pk, executor.pk, planner.workspace_id, None, ["k"]
        )
        assert copy.expires_at == original.expires_at

    def test_it_goes_to_no_other_workspace_or_project_and_not_to_itself(
        self, planner, executor, other_workspace, make_agents
    ):
        store(planner, "k", 1)
        foreign = make_agents(other_workspace)["executor"]
        project = Project.objects.create(workspace=planner.workspace, name="P", slug="p")
        other = Project.objects.create(workspace=planner.workspace, name="Q", slug="q")
        AgentInstance.objects.filter(pk=executor.pk).update(project=project)
        mine = planner.workspace_id
        for to, where, within in (
            (foreign.pk, mine, None),
            (executor.pk, other_workspace.pk, None),
            (executor.pk, mine, other.pk),
            (uuid4(), mine, None),
        ):
            with pytest.raises(NotVisible):
                thread_context_between_steps(planner.pk, to, where, within, ["k"])
        with pytest.raises(InvalidInput):
            thread_context_between_steps(planner.pk, planner.pk, mine, None, ["k"])
        assert AgentMemoryEntry.objects.count() == 1
        assert thread_context_between_steps(planner.pk, executor.pk, mine, project.pk, ["k"])


class TestClearing:
    def test_a_key_or_all(self, planner, executor):
        for key in "abc":
            store(planner, key, 1)
        store(executor, "a", 1)
        place = planner.pk, planner.workspace_id
        assert clear_memory(*place, "a") == 1
        assert clear_memory(*place, "a") == 0
        assert recount(planner) == (2, 2)
        assert clear_memory(*place) == 2
        assert recount(planner) == (0, 0)
        assert keys_of(executor) == ["a"]

    def test_an_agent_that_is_deleted_leaves_nothing(self, planner):
        store(planner, "k", "secret")
        planner.delete()
        assert not AgentMemory.objects.exists()
        assert not AgentMemoryEntry.objects.exists()
        assert not AgentMemoryText.objects.exists()


class TestFigures:
    def test_they_say_what_there_is_and_how_it_was_used(self, planner):
        place = planner.pk, planner.workspace_id
        empty = get_memory_stats(*place)
        assert (empty["total_entries"], empty["hit_rate"]) == (0, None)
        store(planner, "b", "x" * 1_048_574)
        store(planner, "a", 1)
        data_of(planner, "a")
        data_of(planner)
        data_of(planner, "a")
        data_of(planner, "none")
        assert get_memory_stats(*place) == {
            "total_entries": 2,
            "total_size_bytes": 1_048_577,
            "total_size_mb": 1.0,
            "memory_keys": ["a", "b"],
            "memory_key_count": 2,
            "hits": 3,
            "misses": 1,
            "hit_rate": 0.75,
            "evictions": 0,
        }


class TestSearch:
    @pytest.fixture(autouse=True)
    def _entries(self, planner):
        store(planner, "rollout", {"strategy": "Canary first", "percent": [5, 25]})
        store(planner, "notes", "The größte Straße; deploy_later to eu-west-1")

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("canary", ["rollout"]),
            ("CANARY first", ["rollout"]),
            ("can", ["rollout"]),
            ("ary", []),
            ("25", ["rollout"]),
            ("strategy", ["rollout"]),
            ("rollout", ["rollout"]),
            ("Größte", ["notes"]),
            ("grosste", []),
            ("strasse", ["notes"]),
            ("later", ["notes"]),
            ("eu-west-1", ["notes"]),
            ("canary deploy", []),
            ("t", ["notes"]),
        ],
    )
    def test_every_word_has_to_begin_one(self, planner, query, found):
        entries = search_memory(planner.pk, planner.workspace_id, query)
        assert [entry.memory_key for entry in entries] == found

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "'",
            '"',
            "a' & !b",
            '"a',
            "AND",
            "OR NOT",
            "a*",
            "NEAR(",
            ":*",
            "\\",
            "words:x",
            "(",
            "-",
        ],
    )
    def test_no_query_is_wrong(self, planner, query):
        assert search_memory(planner.pk, planner.workspace_id, query) == []

    def test_it_follows_what_is_stored_and_cleared(self, planner, executor):
        place = planner.pk, planner.workspace_id
        store(planner, "rollout", "blue green")
        assert not search_memory(*place, "canary")
        assert search_memory(*place, "green")
        assert not search_memory(executor.pk, executor.workspace_id, "green")
        clear_memory(*place)
        assert not search_memory(*place, "green")

    def test_a_text_of_very_many_words_can_be_stored(self, planner):
        store(planner, "large", " ".join(str(number) for number in range(200_000)) + "x" * 5_000)
        assert search_memory(planner.pk, planner.workspace_id, "large 1234")
