"""Tool servers in the admin: for editors, saved by the service, asked anew by an action."""

import pytest
from admin_addresses import add_page_of, list_of, messages_on, page_of, posted_by

from agents.models import ToolServer
from agents.services.tool_servers import create_tool_server
from workflows.models import Event

pytestmark = pytest.mark.django_db

URL = "https://tools.example.org/mcp"


@pytest.fixture
def server(workspace, users):
    return create_tool_server(workspace, user=users["editor"], name="Weather", url=URL)


def test_an_editor_registers_one(staff, workspace):
    client = staff("editor")
    data = posted_by(client.get(add_page_of(ToolServer))) | {
        "workspace": str(workspace.pk),
        "name": "Weather",
        "slug": "weather",
        "url": URL,
        "secret_env": "WEATHER_TOKEN",
        "is_enabled": "on",
    }
    assert client.post(add_page_of(ToolServer), data).status_code == 302
    made = ToolServer.objects.get()
    assert (made.slug, made.secret_env) == ("weather", "WEATHER_TOKEN")
    assert made.due_at is not None
    assert Event.objects.get().actor == "user:editor"


def test_the_form_shows_where_it_is_wrong(staff, server):
    client = staff("editor")
    data = posted_by(client.get(page_of(server))) | {"url": "http://10.0.0.1/"}
    answer = client.post(page_of(server), data)
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == {"url"}


def test_it_is_asked_anew_and_what_it_offers_is_shown(staff, server):
    tool = {"name": "forecast", "description": "<b>Sun</b>", "input_schema": {"type": "object"}}
    ToolServer.objects.update(due_at=None, tools=[tool])
    client = staff("editor")
    action = {"action": "read_tools", "_selected_action": [str(server.pk)]}
    page = client.post(list_of(ToolServer), action, follow=True)
    assert messages_on(page) == ["Weather: it is being asked what it offers."]
    assert ToolServer.objects.get().due_at is not None
    shown = client.get(page_of(server)).content.decode()
    assert "forecast" in shown
    assert "<b>Sun</b>" not in shown


def test_one_that_is_switched_off_is_not_asked(staff, server):
    ToolServer.objects.update(is_enabled=False)
    action = {"action": "read_tools", "_selected_action": [str(server.pk)]}
    page = staff("editor").post(list_of(ToolServer), action, follow=True)
    assert messages_on(page) == ["Weather: The tool server is switched off."]


def test_an_operator_only_looks(staff, server):
    client = staff("operator")
    assert client.get(page_of(server)).status_code == 200
    assert client.get(add_page_of(ToolServer)).status_code == 403
    action = {"action": "read_tools", "_selected_action": [str(server.pk)]}
    due_at = ToolServer.objects.get().due_at
    client.post(list_of(ToolServer), action)
    assert ToolServer.objects.get().due_at == due_at


def test_deleting_one_is_told(staff, server):
    client = staff("editor")
    client.post(f"{page_of(server).removesuffix('change/')}delete/", {"post": "yes"})
    assert not ToolServer.objects.exists()
    last = Event.objects.order_by("seq").last()
    assert last.data["activity"] == "tool_server_deleted"
