"""The pages of agents in a browser: beside the list, live, without a script, for everybody."""

from datetime import UTC, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import transaction
from django.utils import timezone
from playwright.sync_api import expect

from agents.memory import store_memory
from agents.models import AgentInstance, AgentReservation, AgentUsage
from tests.browser.test_everybody import DESK, PHONE, RULES
from workflows.core.ids import uuid7
from workflows.events import EventDraft, EventType, append_events


@pytest.fixture
def remembering(agents, users):
    """Two agents, one of which took a step, used up the budget, and remembers something."""
    planner = agents["planner"]
    for first in ("all of it", "a canary"):
        store_memory(planner.pk, planner.workspace_id, "release/plan", {"first": first})
    now = timezone.now()
    AgentReservation.objects.create(
        workspace=planner.workspace,
        agent_instance=planner,
        step_execution_id=uuid7(),
        attempt=1,
        reason={
            "strategy": "capability_match",
            "candidates": {"planner": {"score": 0.9, "load": 0}},
            "refused": {"executor": "it lacks plan"},
        },
        reserved_at=now,
        released_at=now + timedelta(seconds=3),
        expires_at=now + timedelta(hours=1),
        outcome="completed",
        input_tokens=1_200,
        output_tokens=300,
        cost_micros=4_500,
    )
    AgentUsage.objects.create(
        workspace=planner.workspace,
        agent_instance=planner,
        day=now.astimezone(UTC).date(),
        steps=3,
        failures=1,
        input_tokens=1_200,
        output_tokens=300,
        cost_micros=4_500,
    )
    planner.workspace.settings = {"monthly_agent_tokens": 1_000, "monthly_agent_cost": 2.5}
    planner.workspace.save()
    return planner


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_runs_out_of_the_page(browse, remembering, size, scheme):
    page = browse("/agents/", role="editor", viewport=size, color_scheme=scheme)
    address = f"/agents/{remembering.pk}/"
    entry = remembering.memory.get().pk
    found = []
    for each in (
        "/agents/",
        f"/agents/?agent={remembering.pk}",
        f"{address}?entry={entry}",
        f"{address}memory/clear/?entry={entry}",
        f"{address}memory/past/",
    ):
        page.goto(each)
        page.evaluate("document.querySelectorAll('#days details').forEach(d => { d.open = true })")
        answer = Axe().run(page, options={"runOnly": RULES})
        found += [(each, violation["id"]) for violation in answer.response["violations"]]
        width = page.evaluate("document.documentElement.scrollWidth")
        found += [(each, "runs out of the page", width)] * (width > size["width"])
    assert not found


def test_an_agents_memory_opens_beside_the_list_and_closes_again(browse, remembering):
    page = browse("/agents/", viewport=DESK)
    page.get_by_role("link", name="Planner", exact=True).click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("link", name="release/plan")).to_be_visible()
    expect(page.locator("#agents-why")).to_contain_text("Why Planner")
    assert f"agent={remembering.pk}" in page.url
    drawer.get_by_role("link", name="Close the memory of Planner").click()
    expect(drawer.locator("section")).to_have_count(0)
    page.go_back()
    expect(drawer.get_by_role("link", name="release/plan")).to_be_visible()


@pytest.mark.parametrize("options", [{"java_script_enabled": False}, {"viewport": PHONE}])
def test_elsewhere_the_agent_has_its_own_page(browse, remembering, options):
    page = browse("/agents/", **options)
    page.get_by_role("link", name="Planner", exact=True).click()
    page.get_by_role("link", name="release/plan").click()
    expect(page.get_by_text("a canary")).to_be_visible()


def test_an_editor_clears_a_key_after_a_question(browse, remembering):
    page = browse(f"/agents/{remembering.pk}/", role="editor", java_script_enabled=False)
    page.get_by_role("link", name="release/plan").click()
    page.get_by_role("link", name="Delete…").click()
    page.get_by_role("button", name="Delete this entry").click()
    expect(page.get_by_text("Planner no longer remembers release/plan.")).to_be_visible()
    assert not remembering.memory.exists()


def test_what_an_agent_does_is_seen_as_it_happens(browse, remembering):
    page = browse("/agents/")
    expect(page.locator("#live")).to_have_text("Live")
    AgentInstance.objects.filter(pk=remembering.pk).update(status="error", last_error="No route")
    with transaction.atomic():
        draft = EventDraft(
            EventType.AGENT_STATUS_CHANGED, remembering.workspace_id, agent_id=remembering.pk
        )
        append_events([draft], timezone.now())
    expect(page.locator("#instances")).to_contain_text("No route")
    expect(page.locator("#agents-head")).to_contain_text("1 needs attention.")


def test_filters_narrow_the_list_and_stay_in_the_address(browse, remembering):
    page = browse("/agents/")
    page.get_by_label("Search agents by name or definition").fill("exec")
    expect(page.locator("#instances [data-row]")).to_have_count(1)
    assert "q=exec" in page.url
