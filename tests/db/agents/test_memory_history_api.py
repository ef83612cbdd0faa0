"""The past of agents' memory over REST, and all of it as a file."""

import json
from datetime import timedelta

import pytest
from django.db.models import F

from agents.memory import clear_memory, store_memory
from agents.models import AgentMemoryEntry
from workflows.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(agents):
    return agents["planner"].pk, agents["planner"].workspace_id


@pytest.fixture
def url(place):
    return f"/api/v1/agents/{place[0]}/memory/"


@pytest.fixture
def remembered(api, place, url):
    for number in range(4):
        body = {"memory_key": "k", "memory_data": {"n": number}}
        assert api("editor").post(url, body, format="json").status_code == 201
    store_memory(*place, "%", "other")
    clear_memory(*place, "%")


def lines(answer):
    text = b"".join(answer.streaming_content).decode()
    return [json.loads(line) for line in text.splitlines()]


class TestHistory:
    def test_members_read_it_newest_first_page_by_page(self, api, url, remembered):
        client = api("viewer")
        page = client.get(f"{url}history/?key=k&limit=2").json()
        assert [row["memory_data"] for row in page["results"]] == [{"n": 2}, {"n": 1}]
        rest = client.get(page["next"]).json()
        assert [row["memory_data"] for row in rest["results"]] == [{"n": 0}]
        assert rest["next"] is None
        every = client.get(f"{url}history/").json()["results"]
        assert [row["change"] for row in every] == ["cleared", *["replaced"] * 3]
        newest = page["results"][0]
        assert (newest["actor"], newest["trust"]) == ("user:editor", "person")
        assert newest["written_at"] < newest["ended_at"]
        found = client.get(f"{url}history/?key=%25").json()["results"]
        assert [row["actor"] for row in found] == ["system"]
        assert client.get(f"{url}history/?key=none").json()["results"] == []

    @pytest.mark.parametrize("query", ["key=", "limit=0", "limit=x", "cursor=x", "ordering=id"])
    def test_what_is_not_valid_is_400(self, api, url, query):
        assert api("viewer").get(f"{url}history/?{query}").status_code == 400

    def test_it_is_no_other_workspaces(self, make_api, outsider, url, remembered):
        for path in ("history/", "export/"):
            assert make_api(outsider).get(url + path).status_code == 404

    def test_an_erased_key_has_none(self, api, url, remembered):
        answer = api("editor").delete(f"{url}?key=k&erase=true").json()
        removed = {place["place"]: place["removed"] for place in answer["places"]}
        assert removed == {"memory": 1, "past values": 3, "search words": 1, "handoffs": 0}
        assert answer["deleted"] == 1
        assert api("viewer").get(f"{url}history/?key=k").json()["results"] == []
        event = Event.objects.latest("seq")
        assert event.data["removed"] == removed

    @pytest.mark.parametrize("query", ["erase=true", "threaded=true"])
    def test_erasing_needs_a_key(self, api, url, remembered, query):
        answer = api("editor").delete(f"{url}?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/key")
        assert AgentMemoryEntry.objects.exists()


class TestExport:
    def test_it_holds_what_the_list_shows(self, api, url, place, remembered):
        store_memory(*place, "ü", ["ü\u2028\n"])
        store_memory(*place, "old", 1)
        gone = AgentMemoryEntry.objects.filter(memory_key="old")
        gone.update(expires_at=F("updated_at") - timedelta(seconds=1))
        client = api("viewer")
        answer = client.get(f"{url}export/")
        assert answer["Content-Type"] == "application/jsonl"
        assert answer["Content-Disposition"] == 'attachment; filename="memory-planner.jsonl"'
        assert answer["Cache-Control"] == "private, no-store"
        listed = client.get(url).json()["results"]
        assert lines(answer) == [{"kind": "entry", **entry} for entry in listed]

    def test_with_the_past_it_holds_what_the_history_shows(self, api, url, remembered):
        client = api("viewer")
        told = client.get(f"{url}history/").json()["results"]
        found = lines(client.get(f"{url}export/?past=true"))
        assert [line["kind"] for line in found] == ["entry", *["past"] * 4]
        past = sorted(found[1:], key=lambda line: line["ended_at"], reverse=True)
        assert past == [{"kind": "past", **row} for row in told]

    def test_large_ones_are_read_in_portions(self, api, url, place, monkeypatch):
        monkeypatch.setattr("agents.memory.exporting._AT_ONCE", 10)
        for number in range(8):
            store_memory(*place, f"k{number % 5}", "x" * 6)
        found = lines(api("viewer").get(f"{url}export/?past=true"))
        kinds = [(line["kind"], line["memory_key"]) for line in found]
        assert kinds == [
            *(("entry", f"k{n}") for n in (3, 4, 0, 1, 2)),
            *(("past", f"k{n}") for n in range(3)),
        ]

    def test_who_had_it_is_told(self, api, url, place, remembered):
        api("viewer").get(f"{url}export/?past=true")
        event = Event.objects.latest("seq")
        assert (event.event_type, event.actor, event.agent_id) == (
            "agent_activity",
            "user:viewer",
            place[0],
        )
        assert event.data == {
            "activity": "memory_exported",
            "agent": "planner",
            "with_past": True,
        }

    def test_nothing_is_an_empty_file(self, api, url):
        assert lines(api("viewer").get(f"{url}export/?past=true")) == []
