"""Doing something with a run on its page."""

from playwright.sync_api import Page, expect

from workflows.models import WorkflowExecution
from workflows.services.verbs import pause_execution


def live(page: Page) -> Page:
    expect(page.locator("#live")).to_have_text("Live")
    return page


def test_a_run_is_paused_and_resumed_where_it_stands(browse, start):
    run = start()
    page = live(browse(f"/executions/{run.pk}/", "operator"))
    page.get_by_role("button", name="Pause run").click()
    expect(page.locator("#run-head")).to_contain_text("Paused")
    expect(page.get_by_text("Deploy, run 1, is paused.")).to_be_visible()
    live(page).get_by_role("button", name="Resume run").click()
    expect(page.get_by_role("button", name="Pause run")).to_be_visible()
    assert not WorkflowExecution.objects.get().is_paused


def test_what_others_do_changes_what_is_offered(browse, start):
    run = start()
    page = live(browse(f"/executions/{run.pk}/", "operator"))
    pause_execution(run.pk, user=None)
    page.get_by_role("button", name="Resume run").click()
    expect(page.get_by_text("Deploy, run 1, goes on.")).to_be_visible()
