"""What agents remembered before: until when, what became of it, by whom, and for how long."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents.memory import (
    NewEntry,
    clear_memory,
    erase_memory,
    retrieve_memory,
    store_memories,
    store_memory,
    thread_context_between_steps,
)
from agents.memory.sweeping import sweep, sweep_past
from agents.models import (
    AgentHandoff,
    AgentInstance,
    AgentMemory,
    AgentMemoryEntry,
    AgentMemoryPast,
)
from mgx.verify import find_violations

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(agents):
    return agents["planner"].pk, agents["planner"].workspace_id


@pytest.fixture
def other(agents):
    return agents["executor"].pk, agents["executor"].workspace_id


@pytest.fixture(autouse=True)
def _figures_are_right(db):
    yield
    assert violations() == []


def violations():
    def ask(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return list(find_violations(ask))


def limit(place, **limits):
    AgentInstance.objects.filter(pk=place[0]).update(config={"memory": limits})


def expire(place, *keys):
    rows = AgentMemoryEntry.objects.filter(agent_instance_id=place[0], memory_key__in=keys)
    assert rows.update(expires_at=F("updated_at") + timedelta(microseconds=1)) == len(keys)


def age(place, days):
    AgentMemoryPast.objects.filter(agent_instance_id=place[0]).update(
        ended_at=F("ended_at") - timedelta(days=days)
    )


def past(place):
    """Key, value, change and actor of each, what was written first first."""
    rows = AgentMemoryPast.objects.filter(agent_instance_id=place[0]).order_by("written_at", "id")
    return [(row.memory_key, row.memory_data, row.change, row.actor) for row in rows]


class TestWhatIsDisplaced:
    def test_replaced(self, place):
        first = store_memory(*place, "k", {"a": 1}, {"by": "x"})
        second = store_memory(*place, "k", {"a": 2}, actor="user:ann")
        store_memory(*place, "other", 1)
        assert past(place) == [("k", {"a": 1}, "replaced", "user:ann")]
        row = AgentMemoryPast.objects.get()
        assert (row.written_at, row.size_bytes) == (first.updated_at, first.size_bytes)
        assert row.metadata == first.metadata
        assert first.updated_at < row.ended_at <= second.updated_at
        store_memory(*place, "k", 3)
        assert past(place)[1] == ("k", {"a": 2}, "replaced", "system")

    def test_several_at_once(self, place):
        store_memories(*place, [NewEntry(key, 1) for key in "abc"])
        store_memories(*place, [NewEntry(key, 2) for key in "bcd"], actor="agent:planner")
        assert past(place) == [
            ("b", 1, "replaced", "agent:planner"),
            ("c", 1, "replaced", "agent:planner"),
        ]

    def test_cleared(self, place):
        for key in "abc":
            store_memory(*place, key, key)
        clear_memory(*place, "b", actor="user:ann")
        clear_memory(*place, actor="user:bob")
        assert past(place) == [
            ("a", "a", "cleared", "user:bob"),
            ("b", "b", "cleared", "user:ann"),
            ("c", "c", "cleared", "user:bob"),
        ]

    def test_evicted(self, place):
        limit(place, max_entries=2)
        for key in "abc":
            store_memory(*place, key, key, actor="agent:planner")
        assert past(place) == [("a", "a", "evicted", "agent:planner")]

    def test_expired_until_then_and_by_nobody(self, place):
        for key in "abc":
            store_memory(*place, key, key)
        expire(place, "a", "b")
        ends = AgentMemoryEntry.objects.filter(memory_key__in="ab").values_list("expires_at")
        ends = set(ends)
        store_memory(*place, "a", "new", actor="user:ann")
        assert sweep() == 1
        assert past(place) == [(key, key, "expired", "system") for key in "ab"]
        assert set(AgentMemoryPast.objects.values_list("ended_at")) == ends

    def test_a_copy_that_replaces(self, place, other):
        store_memory(*place, "k", "new")
        store_memory(*other, "k", "old")
        thread_context_between_steps(place[0], other[0], place[1], None, ["k"], actor="user:ann")
        assert past(other) == [("k", "old", "replaced", "user:ann")]
        assert past(place) == []

    def test_a_new_key_costs_no_statement_more(self, place, settings):
        def count(key):
            with CaptureQueriesContext(connection) as queries:
                store_memory(*place, key, 1)
            return len(queries)

        store_memory(*place, "first", 1)
        with_past = count("a")
        settings.MGX_MEMORY_HISTORY_DAYS = 0
        assert count("b") == with_past

    def test_none_is_kept_for_no_day(self, place, settings):
        settings.MGX_MEMORY_HISTORY_DAYS = 0
        limit(place, max_entries=2)
        for key in "abca":
            store_memory(*place, key, key)
        clear_memory(*place)
        assert past(place) == []
        assert AgentMemory.objects.get(pk=place[0]).past_size_bytes == 0


class TestForHowLong:
    def test_days(self, place, other, settings, capsys):
        settings.MGX_MEMORY_HISTORY_DAYS = 3
        for here in (place, other):
            store_memory(*here, "k", 1)
            store_memory(*here, "k", 2)
        age(place, 4)
        store_memory(*place, "k", 3)
        assert sweep_past() == 1
        assert [value for _, value, *_ in past(place)] == [2]
        assert len(past(other)) == 1
        age(other, 2)
        call_command("prune")
        assert "0 past values of agents' memory." in capsys.readouterr().out
        assert len(past(other)) == 1
        settings.MGX_MEMORY_HISTORY_DAYS = 0
        assert sweep_past() == 2
        assert AgentMemory.objects.get(pk=other[0]).past_size_bytes == 0

    def test_the_newest_stay_within_the_agents_limit(self, place):
        limit(place, max_bytes=5_000)
        for number in range(100):
            store_memory(*place, "k", f"{number:0100}")
            assert AgentMemory.objects.get(pk=place[0]).past_size_bytes <= 5_000
        kept = [int(value) for _, value, *_ in past(place)]
        assert kept == list(range(99 - len(kept), 99))
        assert 5 < len(kept) < 5_000 / 300

    def test_a_limit_made_lower_holds_from_the_next_night(self, place):
        for number in range(30):
            store_memory(*place, "k", number)
        limit(place, max_bytes=2_000)
        assert any("takes" in said for said in violations())
        sweep()
        assert 0 < len(past(place)) < 10

    def test_it_goes_with_the_agent(self, agents, place):
        store_memory(*place, "k", 1)
        store_memory(*place, "k", 2)
        agents["planner"].delete()
        assert not AgentMemoryPast.objects.exists()

    def test_counters_made_anew_count_it(self, place):
        store_memory(*place, "k", 1)
        store_memory(*place, "k", 2)
        AgentMemory.objects.all().delete()
        store_memory(*place, "k", 3)
        assert len(past(place)) == 2


class TestErasing:
    def test_it_finds_the_past_here_and_of_copies(self, place, other):
        secret = ["first", "second", "third"]
        store_memory(*place, "a", secret[0])
        thread_context_between_steps(place[0], other[0], place[1], None, ["a"])
        store_memory(*place, "a", secret[1])
        thread_context_between_steps(place[0], other[0], place[1], None, ["a"])
        store_memory(*other, "a", "of my own")
        store_memory(*other, "a", "of my own, later")
        store_memory(*place, "a", secret[2])
        store_memory(*place, "b", "stays")
        store_memory(*place, "b", "stays, too")
        erased = erase_memory(*place, "a")
        assert [tuple(each) for each in erased.places] == [
            ("memory", 1, 1),
            ("past values", 2, 2),
            ("search words", 1, 1),
            ("threaded copies", 0, 0),
            ("past values of threaded copies", 2, 2),
            ("handoffs", 0, 0),
        ]
        assert [entry.memory_data for entry in retrieve_memory(*other)] == ["of my own, later"]
        assert [value for _, value, *_ in past(other)] == ["of my own"]
        assert [value for _, value, *_ in past(place)] == ["stays"]
        assert erased.agents == [place[0]]

    def test_what_is_only_past_is_found(self, place):
        store_memory(*place, "a", "secret")
        clear_memory(*place, "a")
        erased = erase_memory(*place, "a")
        assert (erased.entries, erased.removed("past values")) == (0, 1)
        assert past(place) == []

    def test_copies_stay_where_that_is_not_asked(self, place, other, agents):
        store_memory(*place, "a", "secret")
        thread_context_between_steps(place[0], other[0], place[1], None, ["a"])
        handoff = AgentHandoff.objects.create(
            workspace_id=place[1],
            from_agent_id=place[0],
            to_agent_id=other[0],
            context={"a": 1, "b": 2},
            created_at=agents["planner"].created_at,
        )
        erased = erase_memory(*place, "a", threaded=False)
        assert erased.looked_in == ["memory", "past values", "search words", "handoffs"]
        assert (erased.entries, erased.handoffs) == (1, 1)
        handoff.refresh_from_db()
        assert handoff.context == {"b": 2}
        assert retrieve_memory(*other, "a")
