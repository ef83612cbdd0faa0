"""The memory of agents over REST."""

import pytest

from agents.models import AgentMemoryEntry
from workflows.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(agents):
    return f"/api/v1/agents/{agents['planner'].pk}/memory/"


def post(client, url, **body):
    return client.post(url, body, format="json")


@pytest.fixture
def stored(api, url):
    for number, key in enumerate(["a.b", "%", "c"]):
        made = post(api("editor"), url, memory_key=key, memory_data={"words": f"alpha{number}"})
        assert made.status_code == 201, made.content
    return made.json()


def test_members_read_what_editors_store(api, url, stored):
    assert stored["memory_data"] == {"words": "alpha2"}
    assert stored["size_bytes"] == len('{"words":"alpha2"}')
    assert stored["expires_at"] > stored["created_at"]
    client = api("viewer")
    found = client.get(url).json()["results"]
    assert [entry["memory_key"] for entry in found] == ["a.b", "%", "c"]
    assert found[-1] == stored
    assert [e["memory_key"] for e in client.get(f"{url}?limit=1").json()["results"]] == ["c"]
    assert [e["memory_key"] for e in client.get(f"{url}?key=%25").json()["results"]] == ["%"]
    assert client.get(f"{url}?key=none").json()["results"] == []
    assert client.get(f"{url}stats/").json()["memory_keys"] == ["%", "a.b", "c"]
    found = client.get(f"{url}search/?q=ALPHA1").json()["results"]
    assert [entry["memory_key"] for entry in found] == ["%"]
    assert client.get(f"{url}search/?q='%26*(").json()["results"] == []


@pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
def test_others_may_not_write(api, agents, url, role):
    client = api(role)
    body = {"to_agent_id": str(agents["executor"].pk), "context_keys": ["a"]}
    for answer in (
        post(client, url, memory_key="k", memory_data=1),
        client.delete(url),
        client.post(f"{url}thread/", body, format="json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert not AgentMemoryEntry.objects.exists()


def test_a_token_that_only_reads_may_not_write(make_api, users, url):
    client = make_api(users["editor"], ["read"])
    assert post(client, url, memory_key="k", memory_data=1).status_code == 403
    assert client.get(url).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"memory_data": 1},
        {"memory_key": "k"},
        {"memory_key": "", "memory_data": 1},
        {"memory_key": "x" * 10_000, "memory_data": 1},
        {"memory_key": 5, "memory_data": 1},
        {"memory_key": "k", "memory_data": 1, "ttl_seconds": -1},
        {"memory_key": "k", "memory_data": 1, "ttl_seconds": 0},
        {"memory_key": "k", "memory_data": 1, "ttl_seconds": 10**18},
        {"memory_key": "k", "memory_data": 1, "ttl_seconds": True},
        {"memory_key": "k", "memory_data": 1, "metadata": []},
        {"memory_key": "k", "memory_data": 1, "workspace_id": "x"},
    ],
)
def test_what_is_not_valid_is_400(api, url, body):
    answer = post(api("editor"), url, **body)
    assert answer.status_code == 400, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"]
    assert not AgentMemoryEntry.objects.exists()


@pytest.mark.parametrize("query", ["?limit=0", "?limit=-1", "?limit=1000000000", "?limit=x"])
def test_a_limit_that_is_none_is_400(api, url, query):
    assert api("viewer").get(url + query).status_code == 400
    assert api("viewer").get(f"{url}search/{query}").status_code == 400


def test_a_key_or_all_can_be_cleared(api, url, stored):
    client = api("editor")
    first = client.delete(f"{url}?key=a.b").json()
    assert (first["deleted"], first["looked_in"]) == (1, ["memory"])
    assert client.delete(f"{url}?key=a.b").json()["deleted"] == 0
    assert client.delete(url).json()["deleted"] == 2
    assert client.get(url).json()["results"] == []


def test_entries_are_copied_to_another_agent(
    api, agents, url, stored, other_workspace, make_agents
):
    client, to = api("editor"), agents["executor"].pk
    answer = post(client, f"{url}thread/", to_agent_id=str(to), context_keys=["c", "missing"])
    assert answer.status_code == 201
    [copy] = answer.json()["results"]
    assert copy["threaded_from"] == str(agents["planner"].pk)
    assert client.get(f"/api/v1/agents/{to}/memory/").json()["results"] == [copy]
    itself = str(agents["planner"].pk)
    refused = post(client, f"{url}thread/", to_agent_id=itself, context_keys=["c"])
    assert (refused.status_code, refused.json()["code"]) == (400, "same_agent")
    foreign = str(make_agents(other_workspace)["executor"].pk)
    refused = post(client, f"{url}thread/", to_agent_id=foreign, context_keys=["c"])
    assert refused.status_code == 404
    assert AgentMemoryEntry.objects.count() == 4


def test_a_key_can_be_erased_with_its_copies(api, agents, url, stored):
    client, ids = api("editor"), {str(agent.pk) for agent in agents.values()}
    post(client, f"{url}thread/", to_agent_id=str(agents["executor"].pk), context_keys=["c"])
    answer = client.delete(f"{url}?key=c&threaded=true").json()
    assert (answer["deleted"], set(answer["agents"])) == (2, ids)
    assert [tuple(place.values()) for place in answer["places"]] == [
        ("memory", 1, 1),
        ("past values", 0, 0),
        ("search words", 2, 2),
        ("threaded copies", 1, 1),
        ("past values of threaded copies", 0, 0),
        ("handoffs", 0, 0),
    ]
    assert answer["looked_in"] == [place["place"] for place in answer["places"]]
    assert "messages of agents and their models" in answer["not_looked_in"]
    assert not AgentMemoryEntry.objects.filter(memory_key="c").exists()
    assert api("viewer").delete(f"{url}?key=c&threaded=true").status_code == 403


def test_what_is_told_names_keys_and_no_values(api, agents, url, stored):
    client = api("editor")
    to = str(agents["executor"].pk)
    post(client, f"{url}thread/", to_agent_id=to, context_keys=["c"])
    client.delete(url)
    told = list(Event.objects.filter(event_type="agent_context_updated").order_by("seq"))
    assert [event.actor for event in told] == ["user:editor"] * 5
    assert told[2].data == {"stored": ["c"]}
    assert "alpha" not in str([(event.data, event.message) for event in told])
