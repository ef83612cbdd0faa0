"""What an agent remembers, on its page: read, searched, cleared."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from agents.memory import Trust, clear_memory, store_memory, thread_context_between_steps
from agents.models import AgentMemory, AgentMemoryEntry, AgentMemoryPast
from tests.pages import html, text
from workflows.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture
def remember(agents):
    """Return a function by which the planner remembers something."""

    def make(key, data="something", *, used=60, lasts=None, agent="planner", **columns):
        agent = agents[agent] if isinstance(agent, str) else agent
        entry = store_memory(agent.pk, agent.workspace_id, key, data)
        now = timezone.now()
        found = AgentMemoryEntry.objects.filter(pk=entry.id)
        expires_at = None if lasts is None else now + timedelta(seconds=lasts)
        found.update(used_at=now - timedelta(seconds=used), expires_at=expires_at, **columns)
        return found.get()

    return make


@pytest.fixture
def page(agents):
    return f"/agents/{agents['planner'].pk}/"


@pytest.fixture
def clearing(page):
    return f"{page}memory/clear/"


def keys(agent):
    return set(AgentMemoryEntry.objects.filter(agent_instance=agent).values_list("memory_key"))


class TestReading:
    def test_what_was_used_last_stands_first(self, client_for, agents, remember, page):
        remember("old", used=7_200)
        remember("new", used=600, lasts=3_600, threaded_from=agents["executor"].pk)
        remember("gone", lasts=-1)
        words = text(client_for("viewer").get(page))
        assert words.index("new 11 bytes") < words.index("old 11 bytes")
        assert "used 10 min ago · expires in 1 h · from Executor" in words
        assert "gone" not in words
        assert "Entries 2 of 1000 Size 22 bytes of 100.0 MB" in words.replace("\xa0", " ")
        assert "Hit rate — Evicted 0" in words

    @pytest.mark.parametrize(
        ("words", "found"),
        [("PLAN", {"plan"}), ("größe", {"notes"}), ('"quoted"', {"notes"}), ("zebra", set())],
    )
    def test_keys_and_texts_are_searched(self, client_for, remember, page, words, found):
        remember("plan")
        remember("notes", {"said": 'the größe, "quoted"'})
        answer = client_for("viewer").get(page, {"q": words})
        shown = text(answer)
        assert {key for key in ("plan", "notes") if f"{key} " in _entries(shown)} == found

    def test_an_entry_is_opened_in_the_frame_of_what_agents_write(self, client_for, remember, page):
        entry = remember("plan", {"html": "<script>alert(1)</script>"})
        answer = html(client_for("viewer").get(f"{page}?entry={entry.pk}"))
        assert "<script>alert" not in answer
        assert "&lt;script&gt;alert" in answer
        assert "Written by Planner." in answer

    def test_the_text_of_another_workspace_is_not_opened(
        self, client_for, remember, page, make_agents, other_workspace
    ):
        foreign = remember("foreign-key", "hidden", agent=make_agents(other_workspace)["planner"])
        answer = html(client_for("viewer").get(f"{page}?entry={foreign.pk}&q=hidden"))
        assert "foreign-key" not in answer
        assert client_for("viewer").get(f"{page}?entry=x&page=x").status_code == 200

    def test_nothing_yet_says_what_comes(self, client_for, page):
        assert "remembers nothing yet" in html(client_for("viewer").get(page))


class TestClearing:
    def test_one_key_goes_after_a_question(self, client_for, agents, remember, page, clearing):
        entry = remember("plan")
        remember("notes")
        remember("plan", agent="executor")
        editor = client_for("editor")
        assert "Delete…" in html(editor.get(f"{page}?entry={entry.pk}"))
        asked = html(editor.get(f"{clearing}?entry={entry.pk}"))
        assert "Delete plan from the memory of Planner?" in asked
        assert 'name="key" value="plan"' in asked
        assert keys(agents["planner"]) == {("plan",), ("notes",)}
        answer = editor.post(clearing, {"key": "plan"}, follow=True)
        assert "Planner no longer remembers plan." in html(answer)
        assert keys(agents["planner"]) == {("notes",)}
        assert keys(agents["executor"]) == {("plan",)}

    def test_all_of_it_goes(self, client_for, agents, remember, clearing):
        remember("plan")
        remember("notes")
        before = AgentMemory.objects.get(pk=agents["planner"].pk).version
        editor = client_for("editor")
        assert "Planner will forget 2 entries" in html(editor.get(clearing))
        assert "2 entries deleted" in html(editor.post(clearing, follow=True))
        assert keys(agents["planner"]) == set()
        assert AgentMemory.objects.get(pk=agents["planner"].pk).version > before
        event = Event.objects.get(event_type="agent_context_updated")
        assert (event.actor, event.agent_id) == ("user:editor", agents["planner"].pk)

    def test_what_is_gone_is_said(self, client_for, clearing, remember):
        editor = client_for("editor")
        assert "Nothing is left to delete" in html(editor.get(clearing))
        assert "Nothing was left to delete" in html(editor.post(clearing, follow=True))
        assert "Nothing was deleted" in html(editor.post(clearing, {"key": ""}, follow=True))
        assert not Event.objects.filter(event_type="agent_context_updated").exists()

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_it_needs_an_editor(self, client_for, agents, remember, page, clearing, role):
        entry = remember("plan")
        client = client_for(role)
        assert "Delete…" not in html(client.get(f"{page}?entry={entry.pk}"))
        assert "Clear…" not in html(client.get(page))
        assert "needs the role editor" in html(client.get(clearing))
        assert client.post(clearing).status_code == 403
        assert keys(agents["planner"]) == {("plan",)}

    def test_another_workspaces_memory_is_not_cleared(
        self, client, outsider, agents, remember, page, clearing
    ):
        remember("plan")
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert client.get(page).status_code == 404
        assert client.post(clearing).status_code == 404
        assert keys(agents["planner"]) == {("plan",)}


def _entries(shown):
    """What the page says between the search box and the configuration."""
    return shown.partition("Size")[2].partition("Configuration")[0]


class TestPast:
    def test_an_opened_entry_says_what_it_was_before(self, client_for, agents, page):
        place = agents["planner"].pk, agents["planner"].workspace_id
        store_memory(*place, "plan", "<i>first</i>", trust=Trust.OUTSIDE)
        entry = store_memory(*place, "plan", "second", actor="user:ann", trust=Trust.PERSON)
        answer = client_for("viewer").get(f"{page}?entry={entry.id}")
        words = text(answer)
        assert "Trust Written by a person" in words
        assert "Written by a person. MGX has not checked any of it." in words
        assert "Replaced by ann 14 bytes" in words.replace("\xa0", " ")
        assert "· from outside" in words
        assert "&lt;i&gt;first&lt;/i&gt;" in html(answer)
        assert f"{page}memory/past/?key=plan" in html(answer)

    def test_all_of_it_stands_on_a_page_of_its_own(self, client_for, agents, page):
        place = agents["planner"].pk, agents["planner"].workspace_id
        for key in ("plan", "plan", "a&b"):
            store_memory(*place, key, "value")
        clear_memory(*place, "a&b", actor="agent:planner")
        client = client_for("viewer")
        every = text(client.get(f"{page}memory/past/"))
        assert "a&amp;b Cleared by the agent planner" in every
        assert "plan Replaced by MGX" in every
        one = text(client.get(f"{page}memory/past/", {"key": "a&b"}))
        assert "Cleared by" in one
        assert "Replaced by" not in one
        nothing = text(client.get(f"{page}memory/past/", {"key": "none"}))
        assert "are told here for 7 days" in nothing

    def test_it_is_no_other_workspaces(self, client, outsider, page):
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        for path in ("past/", "export/"):
            assert client.get(f"{page}memory/{path}").status_code == 404

    def test_all_can_be_downloaded(self, client_for, remember, page):
        remember("plan")
        client = client_for("viewer")
        assert f"{page}memory/export/?past=true" in html(client.get(page))
        answer = client.get(f"{page}memory/export/")
        [line] = b"".join(answer.streaming_content).decode().splitlines()
        assert json.loads(line)["memory_key"] == "plan"


class TestErasing:
    def test_a_key_is_erased_with_its_copies(self, client_for, agents, remember, page, clearing):
        remember("plan")
        entry = remember("plan")
        planner, executor = agents["planner"], agents["executor"]
        thread_context_between_steps(planner.pk, executor.pk, planner.workspace_id, None, ["plan"])
        editor = client_for("editor")
        assert 'name="erase"' in html(editor.get(f"{clearing}?entry={entry.pk}"))
        answer = editor.post(clearing, {"key": "plan", "erase": "true"}, follow=True)
        assert "plan is erased. Deleted: memory 1 of 1, past values 1 of 1" in html(answer)
        assert not AgentMemoryEntry.objects.exists()
        assert not AgentMemoryPast.objects.exists()
