"""Pages for everybody: without a script, at 360 pixels, in both themes, by assistive technology."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from approvals.services.questions import ask as ask_question

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 360, "height": 780}
DESK = {"width": 1280, "height": 860}


@pytest.fixture
def addresses(ask, add_step, block_run, users):
    approval = ask(
        data={"plan": "# Plan\n\n```\ndeploy --release 2026.47 --stages 10,50,100 --abort\n```\n"},
        auto_approve_after_seconds=1_800,
        risk="high",
    )
    run = approval.workflow_execution
    files = [{"path": "a.py", "before": "one\ntwo\n" * 9, "after": "one\ntwo\n" * 8 + "2\n"}]
    share = {"type": "number", "title": "Share", "x-edits": "/share"}
    form = {"type": "object", "properties": {"share": share, "note": {"type": "string"}}}
    rules = {"form_schema": form, "min_approvals": 2, "revise": "generate_plan", "max_revisions": 5}
    reviewed = ask(data={"files": files, "share": 5}, rules=rules)
    ask_question(reviewed.pk, user=users["approver"], body="Why?")
    return [
        "/",
        "/approvals/?tab=others",
        "/approvals/history/",
        f"/approvals/{approval.pk}/",
        f"/approvals/{approval.pk}/?choice=rejected",
        f"/approvals/{reviewed.pk}/?view=side&file=1&line=1",
        f"/approvals/review/?id={approval.pk}&outcome=request_changes",
        "/approvals/standing/",
        "/executions/",
        f"/executions/{run.pk}/?step=generate_plan",
        f"/executions/{run.pk}/cancel/",
        f"/executions/{block_run.pk}/?step=note[0]&view=attempts",
        "/workflows/",
        f"/workflows/{run.workflow_id}/",
        "/executions/00000000-0000-0000-0000-000000000000/",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_and_nothing_runs_out_of_the_page(browse, addresses, size, scheme):
    page = browse("/", viewport=size, color_scheme=scheme)
    found = []
    for address in addresses[:-1]:
        page.goto(address)
        answer = Axe().run(page, options={"runOnly": RULES})
        for violation in answer.response["violations"]:
            targets = [node["target"] for node in violation["nodes"][:3]]
            found.append((address, violation["id"], targets))
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            found.append((address, "runs out of the page", width))
    assert not found


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_one_decides_without_any_script(browse, ask, size):
    approval = ask("Deploy it")
    page = browse("/", java_script_enabled=False, viewport=size)
    page.get_by_role("link", name="Deploy it").click()
    page.get_by_role("radio", name="Reject").check()
    page.get_by_role("button", name="Decide on revision 1").click()
    expect(page.get_by_text("Write why you reject it.")).to_be_visible()
    expect(page.get_by_role("radio", name="Reject")).to_be_checked()
    page.get_by_label("Comment (needed unless you approve)").fill("The freeze starts at 17:00.")
    page.get_by_role("button", name="Decide on revision 1").click()
    expect(page.locator("#decision")).to_contain_text("Rejected")
    approval.refresh_from_db()
    assert (approval.status, approval.feedback) == ("rejected", "The freeze starts at 17:00.")


def test_filters_work_without_any_script(browse, ask):
    ask("Deploy it")
    ask("Refund it")
    page = browse("/", java_script_enabled=False)
    page.get_by_placeholder("Search requests").fill("refund")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("[data-row]")).to_have_count(1)


def test_several_are_selected_and_reviewed_without_any_script(browse, ask):
    ask("First")
    ask("Second")
    page = browse("/", java_script_enabled=False)
    page.get_by_label("Select First").check()
    page.get_by_label("Select Second").check()
    page.get_by_role("button", name="Approve…").click()
    page.get_by_role("button", name="Approve 2 requests").click()
    expect(page.locator("main .badge-status", has_text="Approved")).to_have_count(2)


def test_a_run_is_read_without_any_script(browse, block_run):
    page = browse(f"/executions/{block_run.pk}/", java_script_enabled=False, viewport=PHONE)
    steps = page.locator("#run-steps")
    expect(steps.get_by_role("link", name="check[14]")).to_have_count(0)
    steps.get_by_role("link", name="Show all 40 steps of checks").click()
    steps.get_by_text("1 earlier revision").click()
    expect(steps.get_by_text("The disk is full")).to_be_visible()
    steps.get_by_role("link", name="check[14]", exact=True).click()
    chosen = page.locator("#step")
    expect(chosen.get_by_role("heading", name="check[14]")).to_be_visible()
    chosen.get_by_role("link", name="Attempts").click()
    expect(page.locator("#step .tab[aria-current]")).to_have_text("Attempts 2")
    expect(steps.get_by_role("link", name="check[14]", exact=True)).to_be_visible()


def test_on_a_phone_the_bar_leads_to_the_form(browse, ask):
    approval = ask()
    page = browse(f"/approvals/{approval.pk}/", viewport=PHONE)
    page.locator(".decide-bar").get_by_role("link", name="Request changes").click()
    expect(page.get_by_role("radio", name="Request changes")).to_be_checked()
    expect(page.get_by_role("button", name="Request changes to revision 1")).to_be_in_viewport()


def test_the_theme_follows_the_system_until_one_chooses(browse, ask):
    ask()
    page = browse("/", color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.locator(".account summary").click()
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


def test_times_are_told_in_the_readers_zone(browse, ask):
    approval = ask()
    page = browse(f"/approvals/{approval.pk}/")
    expect(page.locator("#summary time").first).not_to_contain_text("UTC")
    zones = [c["value"] for c in page.context.cookies() if c["name"] == "mgx_zone"]
    assert zones == ["Europe/Berlin"]


def test_a_run_is_started_from_the_form(browse, workflow):
    page = browse(f"/workflows/{workflow.pk}/", role="operator")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_text("This is required.")).to_be_visible()
    page.get_by_label("Task description").fill("Deploy 2026.47")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_role("heading", name="Deploy, run 1")).to_be_visible()
    toast = page.locator(".toast-note")
    expect(toast).to_contain_text("Deploy, run 1, has started.")
    toast.get_by_role("button", name="Close this message").click()
    expect(toast).to_have_count(0)


def test_the_agents_content_loads_nothing_from_elsewhere(browse, ask):
    hostile = {
        "text": "![pixel](https://evil.example/a.png)\n\n<img src=https://evil.example/b.png>\n",
        "html": "<script>document.title = 'taken'</script>",
    }
    approval = ask(data=hostile)
    asked = []
    page = browse("/")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/approvals/{approval.pk}/")
    page.wait_for_load_state("networkidle")
    assert not [address for address in asked if "evil.example" in address]
    assert "taken" not in page.title()
