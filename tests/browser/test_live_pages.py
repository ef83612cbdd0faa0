"""Pages that stay true while somebody looks at them."""

import re

from django.db import transaction
from django.utils import timezone
from playwright.sync_api import Page, expect

from approvals.models import Door
from approvals.services.decisions import Decision, decide
from approvals.services.requests import comment
from workflows.events import EventDraft, EventType, append_events
from workflows.services.executions import cancel_execution


def live(page: Page) -> Page:
    expect(page.locator("#live")).to_have_text("Live")
    return page


class TestInbox:
    def test_a_new_request_waits_behind_a_link_and_is_counted_at_once(self, browse, ask):
        ask("Old")
        page = live(browse("/"))
        ask("New", ago=0)
        link = page.get_by_role("link", name="Show 1 new request")
        expect(link).to_be_visible()
        expect(page).to_have_title("(2) Inbox · MGX")
        expect(page.locator("[data-row]")).to_have_count(1)
        link.click()
        expect(page.locator("[data-row]")).to_have_count(2)

    def test_the_first_request_comes_into_an_empty_inbox(self, browse, ask, workflow):
        page = live(browse("/"))
        expect(page.get_by_text("You are up to date.")).to_be_visible()
        ask("First", ago=0)
        expect(page.get_by_role("link", name="First")).to_be_visible()

    def test_what_others_decide_turns_grey_where_it_stands(self, browse, ask, users):
        first = ask("First")
        ask("Second")
        page = live(browse("/"))
        page.get_by_label("Select Second").check()
        decide(Decision(first.pk, "approved"), user=users["admin"], door=Door.API)
        row = page.locator(f'[data-row="{first.pk}"]')
        expect(row).to_have_class(re.compile("is-decided"))
        expect(row).to_contain_text("Approved")
        expect(page.locator("[data-row]")).to_have_count(2)
        expect(page.get_by_label("Select Second")).to_be_checked()
        expect(page).to_have_title("(1) Inbox · MGX")

    def test_what_happened_is_said_to_those_who_listen(self, browse, ask):
        ask("Old")
        page = live(browse("/"))
        ask("New", ago=0)
        words = "2 requests wait for your approval."
        expect(page.locator("#announcer")).to_have_text(words)

    def test_searching_swaps_the_list_and_the_address(self, browse, ask):
        ask("Deploy it")
        ask("Refund it")
        page = live(browse("/"))
        page.get_by_placeholder("Search requests").type("refund", delay=20)
        expect(page.locator("[data-row]")).to_have_count(1)
        assert "q=refund" in page.url
        expect(page.get_by_placeholder("Search requests")).to_be_focused()
        page.reload()
        expect(page.locator("[data-row]")).to_have_count(1)


class TestRequest:
    def test_what_one_types_survives_what_others_do(self, browse, ask, users):
        approval = ask()
        page = live(browse(f"/approvals/{approval.pk}/"))
        page.get_by_role("radio", name="Request changes").check()
        field = page.get_by_label("What should change?")
        field.type("Canary first")
        field.press("Home")
        comment(approval.pk, author=users["admin"], body="Nine replicas fit.")
        expect(page.get_by_text("Nine replicas fit.")).to_be_visible()
        expect(field).to_be_focused()
        page.keyboard.type("Please: ")
        expect(field).to_have_value("Please: Canary first")
        expect(page.get_by_role("radio", name="Request changes")).to_be_checked()
        expect(page.get_by_role("button", name="Request changes to revision 1")).to_be_visible()

    def test_a_decision_elsewhere_takes_the_form_away(self, browse, ask, users):
        approval = ask()
        page = live(browse(f"/approvals/{approval.pk}/"))
        decide(Decision(approval.pk, "rejected", "No."), user=users["admin"], door=Door.API)
        expect(page.locator("#decision")).to_contain_text("Rejected")
        expect(page.get_by_role("radio")).to_have_count(0)


class TestRun:
    def test_steps_and_graph_follow_the_run(self, browse, ask, users):
        approval = ask()
        run = approval.workflow_execution
        page = live(browse(f"/executions/{run.pk}/"))
        expect(page.locator("#run-graph .is-waiting")).to_have_count(1)
        cancel_execution(run.pk, user=users["operator"])
        expect(page.locator("#run-head .badge-status")).to_have_text("Cancelled")
        expect(page.locator("#run-graph .is-waiting")).to_have_count(0)
        expect(page.locator("#run-graph .is-cancelled")).to_have_count(2)

    def test_a_running_step_says_how_far_it_is_and_only_it_is_asked_for(
        self, browse, start, add_step
    ):
        run = start()
        step = add_step(run, "generate_plan", "running")
        page = live(browse(f"/executions/{run.pk}/?step=generate_plan"))
        asked = []
        page.on("request", lambda request: asked.append(request.headers.get("x-mgx-region", "")))
        draft = EventDraft(
            EventType.STEP_PROGRESS,
            run.workspace_id,
            workflow_execution_id=run.pk,
            workflow_step_id=step.pk,
            data={"activity": "progress", "step": step.name, "attempt": 1},
            message="generate_plan: 2 of 9",
        )
        with transaction.atomic():
            append_events([draft], timezone.now())
        for region in ("#run-steps", "#step"):
            expect(page.locator(region)).to_contain_text("It says: “2 of 9”")
        assert asked == ["steps,chosen"]

    def test_what_is_open_and_focused_stays_so(self, browse, block_run, users):
        page = live(browse(f"/executions/{block_run.pk}/"))
        steps = page.locator("#run-steps")
        steps.get_by_text("1 earlier revision").click()
        link = steps.get_by_role("link", name="note[0]")
        link.focus()
        cancel_execution(block_run.pk, user=users["operator"])
        expect(steps.locator('[data-row="checks"] .badge-status')).to_have_text("Cancelled")
        expect(link).to_be_focused()
        expect(steps.get_by_text("The disk is full")).to_be_visible()

    def test_events_wait_while_somebody_points_at_them(self, browse, ask, users):
        approval = ask()
        page = live(browse(f"/executions/{approval.workflow_execution_id}/"))
        page.locator("#run-events").hover()
        comment(approval.pk, author=users["admin"], body="x")
        expect(page.locator("[data-live-held]")).to_contain_text("1 new")
        page.locator("h1").hover()
        expect(page.locator("#run-events")).to_contain_text("approval_commented")
        expect(page.locator("[data-live-held]")).to_be_hidden()


class TestBrokenLine:
    def test_the_page_says_so_and_goes_on_from_the_last_event(self, browse, ask):
        ask()
        page = live(browse("/"))
        opened = []

        def serve(socket):
            opened.append(socket.url)
            socket.close(code=1012, reason="restart")

        page.route_web_socket(re.compile("/ws/events/"), serve)
        page.reload()
        expect(page.get_by_text("Live updates are interrupted.")).to_be_visible()
        expect(page.locator("#live-notice-text")).to_have_text(
            re.compile(r"Trying again in \d+ s\. You can still decide\.")
        )
        expect(page.locator("#live")).to_have_text("Interrupted")
        assert len(opened) >= 2
        assert all("workspace=acme&after=" in address for address in opened)

    def test_a_cursor_that_is_too_old_reads_everything_anew(self, browse, ask):
        ask("Old")
        page = live(browse("/"))
        sockets = []
        page.route_web_socket(re.compile("/ws/events/"), lambda socket: sockets.append(socket))
        page.reload()
        page.wait_for_function("document.querySelector('#live').dataset.state === 'starting'")
        ask("New", ago=0)
        sockets[-1].send('{"type": "reset", "seq": 99}')
        expect(page.get_by_role("link", name="Show 1 new request")).to_be_visible()
