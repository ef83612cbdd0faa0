"""The page of the tool servers of a workspace."""

import pytest
from django.urls import reverse

from agents.models import ToolServer
from agents.services.tool_servers import create_tool_server
from tests.pages import html, text

pytestmark = pytest.mark.django_db

TOOL = {
    "name": "forecast",
    "description": "<script>alert(1)</script> the weather",
    "input_schema": {"type": "object"},
}


@pytest.fixture
def server(workspace, users):
    made = create_tool_server(
        workspace,
        user=users["editor"],
        name="Weather",
        url="https://tools.example.org/mcp?key=canary",
    )
    ToolServer.objects.update(tools=[TOOL], last_error="It is down", due_at=None)
    return made


def test_shows_what_each_offers_and_no_secret(client_for, server):
    shown = client_for("viewer").get(reverse("tool_servers"))
    assert "canary" not in shown.content.decode()
    assert "<script>alert" not in shown.content.decode()
    words = text(shown)
    assert "weather/forecast" in words
    assert "https://tools.example.org" in words
    assert "It is down" in words
    assert "Written by Weather. MGX has not checked any of it." in words
    assert "Read its tools" not in words


def test_says_that_there_are_none(client_for):
    assert "No tool servers yet" in text(client_for("viewer").get(reverse("tool_servers")))


def test_is_found_from_the_list_of_agents(client_for, agents):
    page = client_for("viewer").get(reverse("agents"))
    assert f'href="{reverse("tool_servers")}"' in html(page)


def test_an_editor_has_one_asked_anew(client_for, server):
    page = client_for("editor").post(reverse("read_tools", args=[server.pk]), follow=True)
    assert "Weather is being asked what it offers." in text(page)
    assert ToolServer.objects.get().due_at is not None


def test_one_that_is_switched_off_is_not_asked(client_for, server):
    ToolServer.objects.update(is_enabled=False)
    page = client_for("editor").post(reverse("read_tools", args=[server.pk]), follow=True)
    assert "The tool server is switched off." in text(page)
    assert ToolServer.objects.get().due_at is None


def test_others_may_not(client_for, server):
    assert client_for("operator").post(reverse("read_tools", args=[server.pk])).status_code == 403
    assert ToolServer.objects.get().due_at is None
