"""The page of tool servers in a browser: for everybody, and live."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from agents.models import ToolServer
from agents.services.tool_reading import Found, ToolReading
from agents.services.tool_servers import create_tool_server
from tests.browser.test_everybody import DESK, PHONE, RULES
from workflows.clock import database_now

TOOL = {"name": "forecast", "description": "The weather.", "input_schema": {"type": "object"}}


@pytest.fixture
def server(workspace, users):
    made = create_tool_server(
        workspace, user=users["editor"], name="Weather", url="https://tools.example.org/mcp"
    )
    words = {"description": "a-long-word-without-an-end" * 20}
    ToolServer.objects.update(
        tools=[TOOL | {"name": f"{'forecast_' * n}{n}"} | words for n in (1, 9)],
        tools_read_at=database_now(),
        last_error="https://tools.example.org answered 503",
    )
    return made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_runs_out_of_the_page(browse, server, size, scheme):
    page = browse("/agents/tools/", role="editor", viewport=size, color_scheme=scheme)
    answer = Axe().run(page, options={"runOnly": RULES})
    assert [violation["id"] for violation in answer.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_what_a_server_offers_appears_once_it_was_asked(browse, server):
    page = browse("/agents/tools/", role="editor")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("button", name="Read the tools of Weather").click()
    expect(page.get_by_text("Weather is being asked what it offers.")).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")
    now = database_now()
    (question,) = ToolReading().claim(now, 1, [])
    ToolReading().record([(question, Found([TOOL | {"name": "tides"}]))], now)
    expect(page.get_by_text("weather/tides")).to_be_visible()
