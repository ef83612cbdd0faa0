"""What is deleted of agents' memory at night, what verify says of it, and what erasing finds."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F

from agents.memory import (
    erase_memory,
    retrieve_memory,
    store_memory,
    thread_context_between_steps,
)
from agents.memory.sweeping import sweep
from agents.models import (
    AgentHandoff,
    AgentInstance,
    AgentMemory,
    AgentMemoryEntry,
    AgentMemoryText,
)
from mgx.verify import find_violations

pytestmark = pytest.mark.django_db


@pytest.fixture
def places(agents):
    places = [(agent.pk, agent.workspace_id) for agent in agents.values()]
    for place in places:
        for key in "abc":
            store_memory(*place, key, key)
    return places


def violations():
    def ask(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return list(find_violations(ask))


def expire(place, *keys):
    rows = AgentMemoryEntry.objects.filter(agent_instance_id=place[0], memory_key__in=keys)
    assert rows.update(expires_at=F("updated_at") - timedelta(seconds=1)) == len(keys)


def test_what_has_expired_is_swept_and_nothing_else(places):
    expire(places[0], "a", "b")
    expire(places[1], "c")
    assert sweep() == 3
    assert sweep() == 0
    assert AgentMemoryEntry.objects.count() == AgentMemoryText.objects.count() == 3
    assert violations() == []


def test_limits_made_lower_hold_from_then_on(places):
    AgentInstance.objects.filter(pk=places[0][0]).update(config={"memory": {"max_entries": 1}})
    [said] = violations()
    assert "has 3 entries of 9 bytes, above its limits of 1" in said
    assert sweep() == 2
    assert [entry.memory_key for entry in retrieve_memory(*places[0])] == ["c"]
    assert violations() == []


def test_it_is_part_of_pruning(places, capsys):
    expire(places[0], "a")
    call_command("prune")
    assert "1 entries of agents' memory." in capsys.readouterr().out


def test_counters_that_are_wrong_are_told(places):
    assert violations() == []
    AgentMemory.objects.filter(pk=places[0][0]).update(total_size_bytes=F("total_size_bytes") + 1)
    [said] = violations()
    assert "has 3 entries of 9 bytes, not 3 of 10" in said


def test_erasing_follows_copies_of_copies_and_handoffs(places):
    first, second = places
    original = AgentInstance.objects.get(pk=first[0])
    third = AgentInstance.objects.create(
        workspace=original.workspace, definition=original.definition, name="T", slug="third"
    )
    ids = first[0], second[0], third.pk
    for one, other in pairwise(ids):
        thread_context_between_steps(one, other, first[1], None, ["a"])
    handoff = AgentHandoff.objects.create(
        workspace_id=first[1],
        from_agent_id=first[0],
        to_agent_id=second[0],
        context={"a": 1, "b": 2},
        created_at=third.created_at,
    )
    erased = erase_memory(*first, "a")
    assert (erased.entries, sorted(erased.agents), erased.handoffs) == (3, sorted(ids), 1)
    assert not AgentMemoryEntry.objects.filter(memory_key="a").exists()
    assert not AgentMemoryText.objects.filter(words__regex=r"\ba\b").exists()
    handoff.refresh_from_db()
    assert handoff.context == {"b": 2}
    assert violations() == []


def test_erasing_leaves_what_others_stored_themselves(places):
    first, second = places
    erased = erase_memory(*first, "a")
    assert (erased.entries, erased.agents) == (1, [first[0]])
    assert retrieve_memory(*second, "a")


def test_erasing_finds_what_was_handed_on_beside_the_memory(places):
    first, second = places
    store_memory(*second, "a", "handed", metadata={"threaded_from": str(first[0])})
    assert erase_memory(*first, "a").entries == 2
