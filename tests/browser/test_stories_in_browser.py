"""The approver's stories in a real browser, with an engine that takes its turns between the clicks.

The same stories stand in ``tests/process/test_stories.py`` for programs.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.utils import timezone
from playwright.sync_api import expect

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.notifications.links import link_for, token_of
from tests.conftest import EXAMPLE_DEFINITION
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.passing import let_pass
from workflows.services.definitions import create_workflow

PHONE = {"width": 360, "height": 740}


class Engine:
    """A driver moved by hand, in a thread of its own: in the test's runs Playwright's loop."""

    def __init__(self, pool):
        self._pool = pool
        self._driver = self._do(DriverByHand)

    def work(self):
        self._do(self._driver.work)

    def _do(self, act):
        return self._pool.submit(act).result(30)


@pytest.fixture
def engine(workspace):
    with ThreadPoolExecutor(1) as pool:
        yield Engine(pool)
        pool.submit(connections.close_all).result()


@pytest.fixture
def begin(workspace, users, agents, start, engine):
    """Return a function that runs up to a gate with these rules; it returns the request."""

    def run(**rules):
        document = copy.deepcopy(EXAMPLE_DEFINITION) | {"name": "Story"}
        gate = document["steps"][1]["config"]["approval"]
        del gate["required_approvers"], gate["auto_approve_after_seconds"]
        gate |= rules
        start(create_workflow(workspace=workspace, document=document, user=users["editor"]))
        engine.work()
        return waiting()

    return run


def waiting():
    return WorkflowStepApproval.objects.pending().get()


def address(approval):
    return f"/approvals/{approval.pk}/"


def decide(page, outcome, feedback=""):
    """Choose, write, and press the button."""
    page.get_by_role("radio", name=outcome).check()
    if feedback:
        page.locator("#feedback").fill(feedback)
    page.locator("[data-decide-button]").click()


def see_run(browse, approval, words):
    page = browse(f"/executions/{approval.workflow_execution_id}/", role="viewer")
    expect(page.locator("main .badge-status", has_text=words).first).to_be_visible()


def test_approve_on_a_phone(browse, begin, engine):
    approval = begin()
    page = browse("/", viewport=PHONE)
    page.get_by_role("link", name="Approve Deployment Plan").first.click()
    page.locator(".decide-bar").get_by_role("link", name="Approve").click()
    page.get_by_role("button", name="Approve revision 1").click()
    expect(page.locator("#decision")).to_contain_text("Approved")
    engine.work()
    see_run(browse, approval, "Completed")


def test_reject_without_a_mouse(browse, begin, engine):
    approval = begin()
    page = browse("/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Approve Deployment Plan", level=1)).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_role("radio", name="Reject")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#feedback")).to_be_focused()
    page.keyboard.type("The freeze has begun")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#decision")).to_contain_text("Rejected")
    engine.work()
    see_run(browse, approval, "Failed")


def test_three_revisions(browse, begin, engine):
    approval = begin(max_revisions=3)
    page = browse(address(approval))
    for number in (1, 2, 3):
        feedback = f"Say more, for the time {number}"
        decide(page, "Request changes", feedback)
        expect(page.locator("#decision")).to_contain_text("Changes requested")
        engine.work()
        page.goto(address(waiting()))
        expect(page.get_by_text(feedback).first).to_be_visible()
    expect(page.get_by_role("radio", name="Request changes")).to_be_disabled()
    decide(page, "Approve")
    expect(page.locator("#decision")).to_contain_text("Approved")
    engine.work()
    see_run(browse, approval, "Completed")


def test_a_quorum_of_two_groups(browse, begin, engine, users):
    for name, role in (("ops", "approver"), ("security", "editor")):
        users[role].groups.add(Group.objects.create(name=name))
    approval = begin(policy={"all_of": ["group:ops", "group:security"]})
    page = browse(address(approval))
    decide(page, "Approve")
    expect(page.locator("#people")).to_contain_text("1 of 2 approved")
    other = browse(address(approval), role="editor", java_script_enabled=False)
    decide(other, "Approve")
    expect(other.locator("#decision")).to_contain_text("Approved")
    engine.work()
    see_run(browse, approval, "Completed")


def test_a_delegate_while_one_is_on_leave(browse, begin, users):
    approval = begin(required_approvers=["user123"])
    page = browse("/approvals/standing/")
    page.locator("#absence-to").select_option("editor")
    end = timezone.localtime() + timedelta(days=7)
    page.locator("#absence-ends").fill(end.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Hand over until then").click()
    expect(page.locator("main")).to_contain_text("editor")
    delegate = browse("/", role="editor")
    delegate.get_by_role("link", name="Approve Deployment Plan").first.click()
    decide(delegate, "Approve")
    expect(delegate.locator("#decision")).to_contain_text("Approved")
    decision = ApprovalDecision.objects.get()
    assert (decision.approval, decision.user, decision.on_behalf_of) == (
        approval,
        users["editor"],
        users["approver"],
    )


def test_what_expired_while_one_read_is_not_decided(browse, begin, engine):
    approval = begin()
    page = browse(address(approval))
    WorkflowStepApproval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    decide(page, "Approve")
    expect(page.get_by_text("expired").first).to_be_visible()
    engine.work()
    page.reload()
    expect(page.locator("main .badge-status", has_text="Timed out").first).to_be_visible()
    assert not ApprovalDecision.objects.filter(outcome="approved").exists()


def test_an_escalated_request_reaches_others(browse, begin, engine):
    begin(required_approvers=["user123"], escalate_after_seconds=60, escalate_to=["editor"])
    page = browse("/", role="editor")
    expect(page.get_by_role("link", name="Approve Deployment Plan")).to_have_count(0)
    assert let_pass(120) == ["approval_escalated"]
    page.reload()
    page.get_by_role("link", name="Approve Deployment Plan").first.click()
    decide(page, "Approve")
    expect(page.locator("#decision")).to_contain_text("Approved")


def test_of_two_who_race_the_second_learns_of_the_first(browse, begin, engine):
    approval = begin()
    first = browse(address(approval), java_script_enabled=False)
    second = browse(address(approval), role="admin", java_script_enabled=False)
    decide(first, "Approve")
    decide(second, "Reject", "Not today")
    expect(second.locator("#decision")).to_contain_text("before you")
    assert ApprovalDecision.objects.get().outcome == "approved"


def test_several_are_decided_together(browse, ask):
    for number in range(3):
        ask(f"Bulk {number}")
    page = browse("/")
    for key in ("j", "x", "j", "x", "j", "x"):
        page.keyboard.press(key)
    expect(page.locator("[data-selection-count]")).to_have_text("3 selected")
    page.get_by_role("button", name="Approve…").click()
    page.get_by_role("button", name="Approve 3 requests").click()
    expect(page.locator("main .badge-status", has_text="Approved")).to_have_count(3)


def test_a_link_decides_by_its_button_alone(browse, begin, users):
    approval = begin()
    token = token_of(link_for(approval, users["approver"], timezone.now()))
    page = browse("/", viewport=PHONE, java_script_enabled=False)
    page.context.clear_cookies()
    page.goto(f"/approvals/link/{token}/")
    expect(page.get_by_text("This link is").first).to_be_visible()
    assert waiting() == approval
    decide(page, "Approve")
    expect(page.get_by_text("Your decision is recorded")).to_be_visible()
    assert ApprovalDecision.objects.get().door == "link"
    assert page.goto(f"/approvals/link/{token}/").status == 410
