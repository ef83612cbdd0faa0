"""Tool servers of a workspace: who registers them, what is kept of what they offer, and when."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agents.models import ToolServer
from agents.services import tool_reading
from agents.services.tool_reading import FRESH, Found, Question, ToolReading, kept
from agents.services.tool_servers import MAX_SERVERS, create_tool_server
from tests.db.agents.fake_tool_server import ECHO, ToolHost, hosting
from tests.db.agents.official_server import official_server
from tests.db.engine.scenes import eventually
from workflows.clock import database_now
from workflows.models import Event
from workflows.relay import Relay

pytestmark = pytest.mark.django_db

URL = "https://tools.example.org/mcp"
SECRET = "canary-secret-of-the-tools"


@pytest.fixture
def host(settings: Any) -> Iterator[ToolHost]:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
    with hosting() as made:
        yield made


@pytest.fixture
def server(workspace: Any, users: Any, host: ToolHost) -> ToolServer:
    return create_tool_server(workspace, user=users["editor"], name="Weather", url=host.url)


def read() -> None:
    """Do what the relay does with what is due."""
    reading, now = ToolReading(), database_now()
    questions = reading.claim(now, 10, [])
    reading.record([(each, reading.send(each)) for each in questions], now)


def activities() -> list[str]:
    events = Event.objects.filter(event_type="agent_activity").order_by("seq")
    return [event.data["activity"] for event in events]


class TestOverRest:
    def test_an_editor_registers_changes_and_deletes_one(self, api: Any) -> None:
        client = api("editor")
        body = {"name": "Weather", "url": URL, "secret_env": "WEATHER_TOKEN"}
        made = client.post("/api/v1/tool-servers/", body, format="json")
        assert made.status_code == 201
        assert made["Location"].endswith(f"/api/v1/tool-servers/{made.json()['id']}/")
        assert made.json()["slug"] == "weather"
        assert (made.json()["tools"], made.json()["tools_read_at"]) == ([], None)
        address = f"/api/v1/tool-servers/{made.json()['id']}/"
        changed = client.patch(address, {"is_enabled": False}, format="json")
        assert changed.json()["is_enabled"] is False
        assert ToolServer.objects.get().due_at is None
        assert client.post(f"{address}read/").json()["code"] == "switched_off"
        listed = client.get("/api/v1/tool-servers/?workspace=acme&q=wea").json()["results"]
        assert [each["name"] for each in listed] == ["Weather"]
        assert client.delete(address).status_code == 204
        assert not ToolServer.objects.exists()
        verbs = [f"tool_server_{verb}" for verb in ("created", "changed", "deleted")]
        assert activities() == verbs
        assert {event.actor for event in Event.objects.all()} == {"user:editor"}

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_others_only_look(self, api: Any, server: ToolServer, role: str) -> None:
        client, address = api(role), f"/api/v1/tool-servers/{server.pk}/"
        assert client.get(address).status_code == 200
        body = {"name": "x", "url": URL}
        for answer in (
            client.post("/api/v1/tool-servers/", body, format="json"),
            client.patch(address, {"name": "y"}, format="json"),
            client.post(f"{address}read/"),
            client.delete(address),
        ):
            assert answer.status_code == 403

    def test_what_is_secret_in_an_address_is_not_shown(self, api: Any, server: ToolServer) -> None:
        for path in ("", f"{server.pk}/"):
            answer = api("admin").get(f"/api/v1/tool-servers/{path}")
            assert "canary" not in answer.content.decode()

    @pytest.mark.parametrize(
        ("wrong", "pointer"),
        [
            ({"url": "http://127.0.0.1/mcp"}, "/url"),
            ({"url": "http://[::ffff:169.254.169.254]/"}, "/url"),
            ({"url": "ftp://tools.example.org/"}, "/url"),
            ({"url": "https://user:secret@tools.example.org/"}, "/url"),
            ({"secret_env": "Bearer abc.def"}, "/secret_env"),
            ({"slug": "a/b"}, "/slug"),
            ({"name": "  "}, "/name"),
            ({"name": "\u2026"}, "/slug"),
            ({"tools": []}, "/tools"),
            ({"due_at": None}, "/due_at"),
            ({"is_enabled": "yes"}, "/is_enabled"),
        ],
    )
    def test_a_wrong_one_is_refused(self, api: Any, wrong: Any, pointer: str) -> None:
        body = {"name": "Weather", "url": URL} | wrong
        answer = api("editor").post("/api/v1/tool-servers/", body, format="json")
        assert answer.status_code == 400
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
        assert not ToolServer.objects.exists()

    def test_a_slug_is_taken_once(self, api: Any, server: ToolServer) -> None:
        body = {"name": "weather", "url": URL}
        answer = api("editor").post("/api/v1/tool-servers/", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (409, "slug_taken")

    def test_there_are_not_any_number_of_them(self, api: Any, workspace: Any) -> None:
        ToolServer.objects.bulk_create(
            ToolServer(workspace=workspace, name=f"{n}", slug=f"s{n}", url=URL)
            for n in range(MAX_SERVERS)
        )
        body = {"name": "one more", "url": URL}
        answer = api("editor").post("/api/v1/tool-servers/", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many")

    def test_a_foreign_one_is_not_there(
        self, server: ToolServer, make_api: Any, outsider: Any
    ) -> None:
        client, address = make_api(outsider), f"/api/v1/tool-servers/{server.pk}/"
        assert client.get("/api/v1/tool-servers/").json()["results"] == []
        for answer in (
            client.get(address),
            client.patch(address, {"name": "y"}, format="json"),
            client.post(f"{address}read/"),
            client.delete(address),
        ):
            assert answer.status_code == 404


class TestReading:
    def test_what_it_offers_is_kept(self, server: ToolServer, host: ToolHost, api: Any) -> None:
        assert ToolReading().next_due() is not None
        read()
        shown = api("viewer").get(f"/api/v1/tool-servers/{server.pk}/").json()
        assert shown["tool_names"] == ["weather/echo"]
        assert shown["tools"] == [
            {
                "name": "echo",
                "description": "Says it again.",
                "input_schema": ECHO["inputSchema"],
            }
        ]
        assert shown["tools_read_at"] is not None
        assert shown["last_error"] == ""
        assert Event.objects.order_by("seq").last().message.endswith("Weather offers 1 tool")

    def test_it_is_asked_again_later_and_when_somebody_wants_it(
        self, server: ToolServer, host: ToolHost, api: Any
    ) -> None:
        read()
        server.refresh_from_db()
        assert server.due_at == server.tools_read_at + FRESH
        assert ToolReading().claim(database_now(), 10, []) == []
        answer = api("editor").post(f"/api/v1/tool-servers/{server.pk}/read/")
        assert answer.status_code == 202
        host.tools = [ECHO | {"name": "other"}]
        read()
        server.refresh_from_db()
        assert [tool["name"] for tool in server.tools] == ["other"]
        assert activities()[-1] == "tools_changed"
        assert Event.objects.order_by("seq").last().data["tools"] == ["echo", "other"]

    def test_an_error_is_told_and_the_tools_stay(self, server: ToolServer, host: ToolHost) -> None:
        read()
        host.faults["tools/list"] = 503
        ToolServer.objects.update(due_at=database_now() - timedelta(seconds=1))
        read()
        server.refresh_from_db()
        assert [tool["name"] for tool in server.tools] == ["echo"]
        assert server.last_error == f"http://{host.host} answered 503"
        assert activities() == ["tool_server_created", "tools_read", "tools_missing"]

    def test_another_address_has_none_of_its_tools(
        self, server: ToolServer, host: ToolHost, api: Any
    ) -> None:
        read()
        address = f"/api/v1/tool-servers/{server.pk}/"
        changed = api("editor").patch(address, {"url": URL}, format="json")
        assert (changed.json()["tools"], changed.json()["tools_read_at"]) == ([], None)

    def test_one_is_asked_by_one_process_at_a_time(self, server: ToolServer) -> None:
        now = database_now()
        assert len(ToolReading().claim(now, 10, [])) == 1
        assert ToolReading().claim(now, 10, []) == []

    def test_what_was_changed_meanwhile_is_not_overwritten(
        self, server: ToolServer, users: Any
    ) -> None:
        (question,) = ToolReading().claim(database_now(), 10, [])
        ToolServer.objects.update(due_at=database_now())
        ToolReading().record([(question, Found([], "late"))], database_now())
        server.refresh_from_db()
        assert (server.tools_read_at, server.last_error) == (None, "")

    def test_its_secret_goes_only_where_it_may(
        self, server: ToolServer, host: ToolHost, settings: Any, monkeypatch: Any
    ) -> None:
        monkeypatch.setenv("WEATHER_TOKEN", SECRET)
        host.secret = SECRET
        ToolServer.objects.update(secret_env="WEATHER_TOKEN")
        read()
        server.refresh_from_db()
        assert "MGX_AGENT_SECRETS does not say" in server.last_error
        assert host.asked == []
        settings.MGX_AGENT_SECRETS = [f"WEATHER_TOKEN@{host.host}"]
        ToolServer.objects.update(due_at=database_now())
        read()
        server.refresh_from_db()
        assert (len(server.tools), server.last_error) == (1, "")

    def test_a_server_of_the_official_package_is_read(
        self, server: ToolServer, settings: Any
    ) -> None:
        with official_server() as url:
            question = Question(server.pk, url, "", database_now())
            found = ToolReading().send(question)
        assert found.tools is not None
        assert [tool["name"] for tool in found.tools] == ["forecast", "fail", "plain"]


@pytest.mark.django_db(transaction=True)
def test_the_relay_of_the_engine_asks_a_server_that_was_saved(
    workspace: Any, users: Any, host: ToolHost
) -> None:
    relay = Relay()
    relay.launch()
    try:
        create_tool_server(workspace, user=users["editor"], name="Weather", url=host.url)
        relay.hint()
        asked = ToolServer.objects.filter(tools_read_at__isnull=False)
        eventually(asked.exists, "it was asked")
    finally:
        relay.stop()
        assert relay.join(10)
    assert [tool["name"] for tool in asked.get().tools] == ["echo"]


class TestWhatIsKept:
    @pytest.mark.parametrize(
        "tool",
        [
            {"inputSchema": {"type": "object"}},
            {"name": "a b", "inputSchema": {"type": "object"}},
            {"name": "x\r\ny", "inputSchema": {"type": "object"}},
            {"name": "x" * 129, "inputSchema": {"type": "object"}},
            {"name": "a/b", "inputSchema": {"type": "object"}},
            {"name": "x"},
            {"name": "x", "inputSchema": {"type": "string"}},
            {"name": "x", "inputSchema": []},
            {"name": "x", "inputSchema": {"type": "object", "title": "\0"}},
            {"name": "x", "inputSchema": {"type": "object", "title": "y" * 300_000}},
        ],
    )
    def test_what_no_agent_could_call_is_left_out(self, tool: dict[str, Any]) -> None:
        found = kept([ECHO, tool, ECHO])
        assert [each["name"] for each in found.tools or ()] == ["echo"]
        assert found.error.startswith("Not understood")

    def test_not_more_than_so_many(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(tool_reading, "_MOST_TOOLS", 3)
        found = kept([ECHO | {"name": f"t{n}"} for n in range(5)])
        assert [each["name"] for each in found.tools or ()] == ["t0", "t1", "t2"]
        assert "t3" in found.error

    def test_a_long_description_is_cut(self) -> None:
        found = kept([ECHO | {"description": "x" * 10_000, "_meta": {"more": 1}}])
        assert found.tools is not None
        assert len(found.tools[0]["description"]) == 2_000
        assert set(found.tools[0]) == {"name", "description", "input_schema"}
