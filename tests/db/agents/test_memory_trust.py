"""Who wrote what agents remember, and that no copy says better of itself than its source."""

from itertools import product

import pytest

from agents.memory import (
    NewEntry,
    Trust,
    retrieve_memory,
    store_memories,
    store_memory,
    thread_context_between_steps,
)
from agents.memory.trust import least, trust_of, trust_of_agent
from agents.models import AgentDefinition, AgentMemoryEntry, AgentType
from agents.services.handoff import handoff_context

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(agents):
    return agents["planner"].pk, agents["planner"].workspace_id


def label(agent, key):
    [entry] = retrieve_memory(agent.pk, agent.workspace_id, key)
    assert entry.metadata["trust"] == entry.trust
    return entry.trust


def test_the_least_is_the_one_from_furthest_away():
    for labels in product(Trust, repeat=3):
        assert least(*labels) == max(labels, key=list(Trust).index)
    assert list(Trust) == ["person", "agent", "outside"]


@pytest.mark.parametrize("metadata", [{}, {"trust": "PERSON"}, {"trust": None}, {"trust": ["x"]}])
def test_what_has_no_label_is_trusted_least(metadata):
    assert trust_of(metadata) == Trust.OUTSIDE


def test_only_code_of_this_installation_is_inside():
    inside = {kind for kind in AgentType if trust_of_agent(kind) == Trust.AGENT}
    assert inside == {AgentType.PYTHON, AgentType.DEMO}
    assert trust_of_agent("whatever comes") == Trust.OUTSIDE


@pytest.mark.parametrize("trust", Trust)
def test_who_writes_says_it_and_the_metadata_does_not(agents, place, trust):
    store_memory(*place, "k", 1, {"trust": "person", "by": "x"}, trust=trust)
    assert label(agents["planner"], "k") == trust
    store_memories(*place, [NewEntry("k", 2, {"trust": "person"}, trust=trust)])
    assert label(agents["planner"], "k") == trust
    store_memory(*place, "other", 1, {"trust": "person"})
    assert label(agents["planner"], "other") == Trust.AGENT


@pytest.mark.parametrize("trust", Trust)
def test_a_copy_has_the_label_of_its_source(agents, place, trust):
    store_memory(*place, "k", 1, trust=trust)
    planner, executor = agents["planner"], agents["executor"]
    thread_context_between_steps(planner.pk, executor.pk, place[1], None, ["k"])
    assert label(executor, "k") == trust
    handoff_context(planner.pk, executor.pk, {}, ["k"])
    assert label(executor, "k") == trust


def test_a_copy_of_what_has_no_label_is_trusted_least(agents, place):
    store_memory(*place, "k", 1, trust=Trust.PERSON)
    AgentMemoryEntry.objects.update(metadata={"by": "an older release"})
    [copy] = thread_context_between_steps(
        agents["planner"].pk, agents["executor"].pk, place[1], None, ["k"]
    )
    assert copy.trust == Trust.OUTSIDE


@pytest.mark.parametrize("user", [None, "editor"])
@pytest.mark.parametrize("kind", AgentType)
def test_what_is_handed_on_besides_is_at_most_an_agents(agents, users, kind, user):
    planner, executor = agents["planner"], agents["executor"]
    AgentDefinition.objects.filter(pk=planner.definition_id).update(agent_type=kind)
    handoff_context(planner.pk, executor.pk, {"k": 1}, user=user and users[user])
    assert label(executor, "k") == (Trust.AGENT if user else trust_of_agent(kind))


class TestOverRest:
    @pytest.fixture
    def url(self, place):
        return f"/api/v1/agents/{place[0]}/memory/"

    def test_people_write_as_people(self, api, url):
        body = {"memory_key": "k", "memory_data": 1, "metadata": {"by": "x"}}
        made = api("editor").post(url, body, format="json").json()
        assert (made["trust"], made["metadata"]) == ("person", {"by": "x", "trust": "person"})
        assert api("viewer").get(url).json()["results"] == [made]

    @pytest.mark.parametrize("label", ["person", "outside", None])
    def test_a_caller_that_says_it_itself_is_refused(self, api, url, label):
        body = {"memory_key": "k", "memory_data": 1, "metadata": {"trust": label}}
        answer = api("editor").post(url, body, format="json")
        assert answer.status_code == 400
        [problem] = answer.json()["errors"]
        assert (problem["pointer"], problem["code"]) == ("/metadata/trust", "reserved")
        assert not AgentMemoryEntry.objects.exists()
