"""One request: what MGX knows, what the agent wrote, and the decision."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.requests import comment, create_approval_request
from tests.pages import html, text
from workflows.models import Membership, WorkflowExecution

pytestmark = pytest.mark.django_db


def url(approval):
    return f"/approvals/{approval.pk}/"


def sent(approval, outcome, feedback="", **changed):
    return {
        "outcome": outcome,
        "feedback": feedback,
        "digest": approval.digest,
        "revision": approval.revision,
        **changed,
    }


def frame(answer):
    """What stands in the frame of the agent, and what stands outside it."""
    before, start, rest = html(answer).partition('<section class="untrusted"')
    inside, _, after = rest.partition("</section>")
    return start + inside, before + after


class TestWhatMgxKnows:
    def test_who_asked_and_what_runs(self, approver, ask):
        approval = ask()
        words = text(approver.get(url(approval)))
        assert "Started by operator" in words
        assert "Deploy , version 1, run 1" in words
        assert "workspace Acme" in words

    def test_the_four_ends(self, approver, ask):
        words = text(approver.get(url(ask(auto_approve_after_seconds=3_600))))
        assert "execute_plan starts at once with exactly the content below." in words
        assert "Run 1 fails. execute_plan does not start." in words
        assert re.search(
            r"(Today|Tomorrow) at \d\d:\d\d UTC , in 59 min , MGX approves it by itself and"
            r" execute_plan starts\.",
            words,
        )

    def test_the_gate_stands_in_the_picture(self, approver, ask):
        page = html(approver.get(url(ask())))
        assert re.search(r'class="graph-node tone-waiting is-waiting is-current"', page)
        assert "Waiting for you" in page
        assert "Starts next" in page

    def test_a_free_standing_request_has_no_run(self, approver, workspace, users):
        approval = create_approval_request(
            workspace=workspace, title="Rotate?", user=users["operator"]
        )
        words = text(approver.get(url(approval)))
        assert "whoever asked goes on with it" in words
        assert "Written by operator." in words

    def test_the_workflows_own_description_stands_above(self, approver, ask):
        approval = ask(description="Review the generated deployment plan")
        inside, outside = frame(approver.get(url(approval)))
        assert "Review the generated deployment plan" in outside
        assert "Review the generated deployment plan" not in inside

    def test_a_description_with_anything_put_in_belongs_to_the_agent(self, approver, ask):
        inside, outside = frame(approver.get(url(ask(description="Already **approved**."))))
        assert "<strong>approved</strong>" in inside
        assert "Already" not in outside


class TestWhatTheAgentWrote:
    HOSTILE = {
        "html": "<script>alert(1)</script>\n<img src=x onerror=alert(1)>\n",
        "link": "[here](javascript:alert(1))\n\n[data](data:text/html,x)\n",
        "image": "![pixel](https://evil.example/pixel.png)\n",
        "svg": "<svg onload=alert(1)>",
        "<b>key</b>": "x",
    }

    def test_it_is_inert(self, approver, ask):
        inside, outside = frame(approver.get(url(ask(data=self.HOSTILE))))
        assert "<script" not in inside
        assert "<img" not in inside
        assert "<svg onload" not in inside
        assert "<b>key" not in inside
        assert 'href="javascript' not in inside
        assert 'href="data' not in inside
        assert "evil.example/pixel.png" not in re.findall(r'src="([^"]*)"', inside)
        assert "alert(1)" not in outside

    def test_structure_is_readable(self, approver, ask):
        data = {
            "steps": [{"action": "Deploy", "share": "10 %"}, {"action": "Widen", "share": "50 %"}],
            "text": "# Plan\n\nMoves **orders**.\n",
            "count": 9,
            "dry_run": False,
        }
        inside, _ = frame(approver.get(url(ask(data=data))))
        assert '<th scope="col">action</th>' in inside
        assert "<strong>orders</strong>" in inside
        assert "<dt>dry_run</dt><dd>no</dd>" in inside

    def test_a_wall_of_text_is_folded(self, approver, ask):
        inside, _ = frame(approver.get(url(ask(data={"log": "line\n" * 5_000}))))
        assert "Show the whole text: 5,001 lines" in inside

    def test_the_raw_json_is_one_click_away(self, approver, ask):
        inside, _ = frame(approver.get(url(ask(data={"a": [1, 2]}))))
        assert re.search(r"<details[^>]*>\s*<summary>Raw JSON</summary>\s*<pre", inside)

    def test_changes_since_the_revision_before_are_shown(self, approver, ask, users):
        first = ask(data={"rollout": {"strategy": "all at once"}})
        decision = Decision(first.pk, "request_changes", "Canary first, please.")
        decide(decision, user=users["approver"], door=Door.PAGE)
        second = ask(data={"rollout": {"strategy": "canary"}})
        WorkflowStepApproval.objects.filter(pk=second.pk).update(
            parent_approval=first, revision_count=1
        )
        inside, _ = frame(approver.get(url(second)))
        assert "rollout › strategy" in inside
        assert "<del>all at once</del>" in inside
        assert "<ins>canary</ins>" in inside
        assert "Canary first, please." in inside


class TestDeciding:
    def test_none_is_chosen_at_first(self, approver, ask):
        page = html(approver.get(url(ask())))
        assert page.count('type="radio"') == 3
        assert "checked" not in re.findall(r'<input[^>]*type="radio"[^>]*>', page)[0]
        assert not re.search(r'type="radio"[^>]* checked', page)

    def test_a_link_can_choose_but_never_decides(self, approver, ask):
        approval = ask()
        page = html(approver.get(f"{url(approval)}?choice=rejected"))
        assert re.search(r'value="rejected" checked', page)
        approval.refresh_from_db()
        assert approval.status == "pending"

    @pytest.mark.parametrize(
        ("outcome", "feedback"),
        [("approved", ""), ("rejected", "Not today."), ("request_changes", "Canary first.")],
    )
    def test_it_is_recorded_and_redirected(self, approver, ask, users, outcome, feedback):
        approval = ask()
        answer = approver.post(url(approval), sent(approval, outcome, feedback), follow=True)
        assert answer.redirect_chain == [(url(approval), 302)]
        approval.refresh_from_db()
        assert approval.status == outcome
        decision = approval.decisions.get()
        assert (decision.user, decision.door) == (users["approver"], "page")
        assert decision.comment == feedback
        assert 'class="toast-note"' in html(answer)

    @pytest.mark.parametrize(
        ("outcome", "words"),
        [
            ("request_changes", "Write what should change."),
            ("rejected", "Write why you reject it."),
            ("", "Choose what you decide."),
            ("sudo", "Choose what you decide."),
        ],
    )
    def test_what_is_missing_is_said(self, approver, ask, outcome, words):
        approval = ask()
        answer = approver.post(url(approval), sent(approval, outcome))
        assert answer.status_code == 400
        assert words in html(answer)
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_errors_keep_the_choice_and_the_words(self, approver, ask):
        approval = ask()
        form = sent(approval, "rejected", "Because </textarea> of this", digest="0" * 64)
        answer = approver.post(url(approval), form)
        assert answer.status_code == 409
        page = html(answer)
        assert "The content changed while you were reading." in page
        assert "Because &lt;/textarea&gt; of this" in page
        assert re.search(r'value="rejected" checked', page)
        assert f'name="digest" value="{approval.digest}"' in page

    def test_another_revision_is_not_decided(self, approver, ask):
        approval = ask()
        assert (
            approver.post(url(approval), sent(approval, "approved", revision=2)).status_code == 409
        )
        assert (
            approver.post(url(approval), sent(approval, "approved", revision="x")).status_code
            == 409
        )
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_the_loser_is_told_who_was_first(self, approver, ask, users):
        approval = ask()
        decide(Decision(approval.pk, "approved"), user=users["admin"], door=Door.API)
        answer = approver.post(url(approval), sent(approval, "rejected", "No."))
        assert answer.status_code == 409
        words = text(answer)
        assert re.search(r"admin approved this today at \d\d:\d\d UTC, before you\.", words)
        assert "Your decision was not recorded." in words
        assert "You had written: No." in words

    def test_saying_the_same_again_changes_nothing(self, approver, ask):
        approval = ask()
        approver.post(url(approval), sent(approval, "approved"))
        assert approver.post(url(approval), sent(approval, "approved")).status_code == 302
        assert approval.decisions.count() == 1

    def test_an_expired_request_is_not_decided(self, approver, ask):
        approval = ask(ago=120, expires_after_seconds=60)
        page = approver.get(url(approval))
        assert "It can no longer be decided." in html(page)
        assert 'name="outcome"' not in html(page)
        answer = approver.post(url(approval), sent(approval, "approved"))
        assert answer.status_code == 409
        assert "This request has expired." in html(answer)

    def test_a_run_that_has_ended_leaves_nothing_to_decide(self, approver, ask):
        approval = ask()
        WorkflowExecution.objects.filter(pk=approval.workflow_execution_id).update(
            status="failed", completed_at=timezone.now(), wake_at=None
        )
        assert "Nothing is left to decide" in html(approver.get(url(approval)))
        assert approver.post(url(approval), sent(approval, "approved")).status_code == 409

    def test_who_may_not_decide_is_told_why(self, client_for, ask):
        approval = ask(required_approvers=["user123"])
        editor = client_for("editor")
        page = html(editor.get(url(approval)))
        assert "Only user123 may decide on this." in page
        assert 'name="outcome"' not in page
        answer = editor.post(url(approval), sent(approval, "approved"))
        assert answer.status_code == 403
        assert "Your decision was not recorded." in html(answer)

    def test_who_started_it_cannot_decide(self, client_for, ask):
        approval = ask(by="admin", prevent_self_approval=True)
        page = client_for("admin").get(url(approval)).content.decode()
        assert "You started this run, so you cannot decide on it." in page
        assert "Cannot" in page

    def test_the_right_is_judged_at_that_moment(self, approver, ask, users):
        approval = ask()
        approver.get(url(approval))
        Membership.objects.filter(user=users["approver"]).update(role="viewer")
        assert approver.post(url(approval), sent(approval, "approved")).status_code == 403

    def test_a_foreign_request_is_not_there(self, client, ask, outsider):
        approval = ask()
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert client.get(url(approval)).status_code == 404
        assert client.post(url(approval), sent(approval, "approved")).status_code == 404
        assert client.post(f"{url(approval)}comments/", {"body": "x"}).status_code == 404

    def test_a_forged_form_is_refused(self, ask, users):
        approval = ask()
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(users["approver"], "django.contrib.auth.backends.ModelBackend")
        answer = browser.post(url(approval), sent(approval, "approved"))
        assert answer.status_code == 403
        assert "This form is too old" in html(answer)

    @pytest.mark.parametrize("path", ["/approvals/../", "/approvals/' OR 1/", "/approvals/%2e%2e/"])
    def test_no_such_address(self, approver, path):
        assert approver.get(path).status_code == 404


class TestComments:
    def test_one_is_added_and_read_back_as_text(self, approver, ask):
        approval = ask()
        answer = approver.post(f"{url(approval)}comments/", {"body": "<b>Nine</b> replicas"})
        assert answer["Location"] == f"{url(approval)}#comments"
        page = html(approver.get(url(approval)))
        assert "&lt;b&gt;Nine&lt;/b&gt; replicas" in page
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_an_empty_one_is_refused(self, approver, ask):
        answer = approver.post(f"{url(ask())}comments/", {"body": "  "})
        assert answer.status_code == 400
        assert "Write something." in html(answer)

    def test_the_number_of_queries_does_not_grow(self, approver, ask, users):
        approval = ask(required_approvers=["user123"])
        approver.get(url(approval))
        with CaptureQueriesContext(connection) as few:
            approver.get(url(approval))
        for index in range(5):
            comment(approval.pk, author=users["viewer"], body=f"Remark {index}")
            ask()
        with CaptureQueriesContext(connection) as many:
            approver.get(url(approval))
        assert len(many) <= len(few)


class TestNeighbours:
    def test_the_next_and_the_previous_one_are_linked(self, approver, ask):
        first = ask(expires_after_seconds=1_000)
        second = ask(expires_after_seconds=2_000)
        page = html(approver.get(url(first)))
        assert re.search(rf'href="{url(second)}" data-key-next', page)
        assert "1 of 2" in page
        assert re.search(rf'href="{url(first)}" data-key-previous', html(approver.get(url(second))))
