"""The inbox: what waits for the reader, for others, and what was decided."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.models import Door, WorkflowStepApproval
from approvals.pages import inbox
from approvals.services import questions
from approvals.services.decisions import Decision, decide
from approvals.services.delegations import delegate
from approvals.services.requests import Request, open_requests
from tests.pages import html, row_titles
from workflows.models import Event, EventStream, Membership, Project
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db


def groups(answer):
    return re.findall(r'class="inbox-group">([^<]*) <span>(\d+)</span>', html(answer))


def region(client, name, url="/approvals/", **query):
    return client.get(url, query, headers={"X-MGX-Region": name})


class TestWhoSeesWhat:
    def test_it_asks_to_sign_in_and_comes_back(self, client, db):
        answer = client.get("/approvals/?tab=others")
        assert answer.status_code == 302
        assert answer["Location"].endswith("?next=/approvals/%3Ftab%3Dothers")

    @pytest.mark.parametrize("url", ["/", "/approvals/"])
    def test_what_waits_for_me_is_there(self, approver, ask, url):
        ask("Deploy it")
        answer = approver.get(url)
        assert row_titles(answer) == ["Deploy it"]
        assert "1 request waits, for your approval" not in html(answer)
        assert "1 request waits for your approval" in html(answer)

    def test_what_others_must_decide_is_on_their_tab(self, client_for, ask):
        ask("Only for the approver", required_approvers=["user123"])
        assert row_titles(client_for("editor").get("/approvals/")) == []
        answer = client_for("editor").get("/approvals/?tab=others")
        assert row_titles(answer) == ["Only for the approver"]

    def test_what_was_decided_has_its_own_page(self, approver, ask, users):
        approval = ask("Deploy it")
        decide(Decision(approval.pk, "rejected", "No."), user=users["approver"], door=Door.PAGE)
        assert row_titles(approver.get("/approvals/")) == []
        answer = approver.get("/approvals/?tab=decided")
        assert answer["Location"] == "/approvals/history/"

    def test_another_workspace_is_not_seen(self, client, ask, outsider):
        ask("Deploy it")
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        for tab in ("", "others"):
            assert row_titles(client.get("/approvals/", {"tab": tab})) == []

    def test_one_workspace_is_shown_at_a_time_and_remembered(
        self, approver, ask, users, other_workspace
    ):
        ask("Deploy it")
        Membership.objects.create(
            workspace=other_workspace, user=users["approver"], role="approver"
        )
        assert row_titles(approver.get("/approvals/?workspace=globex")) == []
        assert row_titles(approver.get("/approvals/")) == []
        assert row_titles(approver.get("/approvals/?workspace=acme")) == ["Deploy it"]
        assert row_titles(approver.get("/approvals/?workspace=initech")) == ["Deploy it"]

    def test_whoever_belongs_nowhere_is_told_so(self, client, make_member):
        client.force_login(make_member("nobody"), "django.contrib.auth.backends.ModelBackend")
        assert "You belong to no workspace yet" in html(client.get("/approvals/"))

    def test_an_empty_inbox_says_what_comes(self, approver, ask):
        ask(required_approvers=["editor"])
        page = html(approver.get("/approvals/"))
        assert "Nothing waits for your approval" in page
        assert "1 request waits for other people." in page


class TestRows:
    def test_they_stand_by_deadline(self, approver, ask):
        ask("Later", expires_after_seconds=5 * 86_400)
        ask("No end", expires_after_seconds=None)
        ask("Soon", expires_after_seconds=1_800)
        ask("By itself", auto_approve_after_seconds=600)
        answer = approver.get("/approvals/")
        assert row_titles(answer) == ["By itself", "Soon", "Later", "No end"]
        assert groups(answer) == [("Within the hour", "2"), ("Later", "2")]

    def test_they_say_what_approval_starts_and_what_silence_does(self, approver, ask):
        ask(auto_approve_after_seconds=600)
        page = html(approver.get("/approvals/"))
        assert "<code>execute_plan</code>" in page
        assert "approves itself" in page

    def test_they_say_who_is_still_needed(self, approver, ask):
        ask(required_approvers=["editor", "user123"])
        assert "You or editor" in html(approver.get("/approvals/"))

    def test_a_title_is_text(self, approver, ask):
        ask('<script>alert("x")</script>')
        page = html(approver.get("/approvals/"))
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page

    def test_the_number_of_queries_does_not_grow(self, approver, ask):
        for index in range(2):
            ask(f"Deploy {index}", required_approvers=["user123"])
        approver.get("/approvals/")
        with CaptureQueriesContext(
            connection,
        ) as few:
            approver.get("/approvals/")
        for index in range(8):
            ask(f"Deploy more {index}", required_approvers=["user123", "editor"])
        with CaptureQueriesContext(connection) as more:
            assert len(row_titles(approver.get("/approvals/"))) == 10
        assert len(more) == len(few) < 20


class TestFilters:
    def test_by_words_workflow_project_risk_and_deadline(
        self, approver, ask, workspace, users, agents, example_definition
    ):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        other = create_workflow(
            workspace=workspace,
            document={**example_definition, "name": "Other"},
            user=users["editor"],
            project=project,
        )
        ask("Deploy it", risk="high", expires_after_seconds=1_000)
        ask("Refund it", of=other, expires_after_seconds=5 * 86_400)

        def found(**query):
            return row_titles(approver.get("/approvals/", query))

        assert found(q="refund") == ["Refund it"]
        assert found(workflow=other.pk) == ["Refund it"]
        assert found(project=project.pk) == ["Refund it"]
        assert found(risk="high") == ["Deploy it"]
        assert found(deadline="hour") == ["Deploy it"]
        assert found(deadline="week") == ["Deploy it", "Refund it"]
        assert found(asked="hour", q="it") == ["Deploy it", "Refund it"]

    def test_the_address_keeps_them(self, approver, ask, workflow):
        ask()
        page = html(approver.get("/approvals/", {"q": "plan", "workflow": workflow.pk}))
        assert 'name="q" value="plan"' in page
        assert f'<option value="{workflow.pk}" selected>' in page

    def test_nothing_found_says_so_and_leads_back(self, approver, ask):
        ask()
        assert "No request matches" in html(approver.get("/approvals/?q=zebra"))

    @pytest.mark.parametrize(
        "query",
        [
            {"q": "%_\x00'"},
            {"workflow": "../"},
            {"project": "' OR 1=1"},
            {"tab": "everything"},
            {"page": "-1"},
            {"page": "999999999999999999999"},
            {"page": "٣"},
            {"since": "yesterday"},
            {"since": "2025-13-45T00:00:00Z"},
            {"shown": "a,b,c"},
            {"deadline": "never", "asked": "never", "risk": "none"},
        ],
    )
    def test_nonsense_is_ignored(self, approver, ask, query):
        ask()
        assert approver.get("/approvals/", query).status_code == 200

    def test_words_are_looked_for_in_workflows_and_people_too(self, approver, ask, users):
        users["operator"].first_name, users["operator"].last_name = "Tom", "Berger"
        users["operator"].save()
        ask("Asked by him", by="operator")
        ask("Asked by another", by="editor")

        def found(**query):
            return row_titles(approver.get("/approvals/", query))

        assert found(q="tom") == found(q="Tom Berg") == ["Asked by him"]
        assert found(q="editor") == ["Asked by another"]
        assert found(q="DEPLOY") == ["Asked by him", "Asked by another"]
        assert found(q="tom", tab="others") == []

    def test_a_long_list_comes_in_pages(self, approver, workspace):
        many(workspace, 26)
        first = approver.get("/approvals/")
        assert len(row_titles(first)) == 25
        assert 'rel="next"' in first.content.decode()
        assert len(row_titles(approver.get("/approvals/?page=2"))) == 1

    @pytest.mark.parametrize("tab", ["", "others"])
    def test_a_very_long_list_says_where_it_ends(
        self, client_for, users, workspace, monkeypatch, tab
    ):
        monkeypatch.setattr(inbox, "LISTED_AT_MOST", 30)
        names = ["editor"] if tab else []
        many(workspace, 40, required_approvers=names)
        client = client_for("approver")
        page = html(client.get("/approvals/", {"tab": tab}))
        assert '<span class="tab-count">30+</span>' in page
        second = client.get("/approvals/", {"tab": tab, "page": 2})
        assert "These are the 30 that expire first." in html(second)
        assert 5 <= len(row_titles(second)) <= 6
        assert row_titles(client.get("/approvals/", {"tab": tab, "q": "R39"})) == ["R39"]


def many(workspace, count, **rules):
    requests = [Request(workspace_id=workspace.pk, title=f"R{i}", **rules) for i in range(count)]
    open_requests(requests, timezone.now())


class TestMarks:
    def test_how_many_have_approved_and_who_is_missing(self, approver, ask, users):
        approval = ask(required_approvers=["user123", "editor"], rules={"min_approvals": "all"})
        assert "0 of 2 approved" in html(approver.get("/approvals/"))
        decide(Decision(approval.pk, "approved"), user=users["editor"], door=Door.PAGE)
        page = html(approver.get("/approvals/"))
        assert "1 of 2 approved" in page
        assert '<span class="strong">You</span>' in page

    def test_an_open_question_stops_the_clock(self, approver, ask, users):
        approval = ask("Asked back", auto_approve_after_seconds=600)
        ask("Soon", expires_after_seconds=900)
        questions.ask(approval.pk, user=users["approver"], body="Why?")
        answer = approver.get("/approvals/")
        assert row_titles(answer) == ["Soon", "Asked back"]
        assert groups(answer) == [("Within the hour", "1"), ("Later", "1")]
        page = html(answer)
        assert "Question open" in page
        assert "clock stopped" in page
        assert "approves itself" not in page

    def test_more_people_were_asked(self, approver, ask):
        approval = ask()
        assert "Escalated" not in html(approver.get("/approvals/"))
        WorkflowStepApproval.objects.filter(pk=approval.pk).update(escalated_at=timezone.now())
        assert "Escalated" in html(approver.get("/approvals/"))

    def test_in_whose_place_i_decide(self, client_for, approver, ask, users):
        approval = ask("Deploy it", required_approvers=["user123"])
        assert row_titles(client_for("editor").get("/approvals/")) == []
        delegate(approval.pk, to="editor", user=users["approver"])
        page = client_for("editor").get("/approvals/")
        assert row_titles(page) == ["Deploy it"]
        assert "For user123" in html(page)
        assert "For user123" not in html(approver.get("/approvals/"))


class TestLiveRegions:
    def test_the_page_knows_its_stream_and_the_last_event(self, approver, ask, workspace):
        ask()
        seq = EventStream.objects.get(workspace=workspace).last_seq
        assert seq == Event.objects.count()
        page = html(approver.get("/approvals/"))
        assert f'data-live-url="/ws/events/?workspace=acme" data-live-after="{seq}"' in page

    def test_only_the_regions_asked_for_are_rendered(self, approver, ask):
        ask()
        answer = region(approver, "waiting,inbox-head")
        page = html(answer)
        assert "<html" not in page
        assert 'data-live-region="waiting"' in page
        assert 'data-live-region="inbox-head"' in page
        assert 'data-live-region="requests"' not in page
        assert "X-MGX-Region" in answer["Vary"]

    def test_an_unknown_region_is_the_whole_page(self, approver, ask):
        assert "<html" in region(approver, "nothing").content.decode()

    def test_a_decided_row_stays_grey_where_it_is(self, approver, ask, users):
        first, second = ask("First"), ask("Second")
        decide(Decision(first.pk, "approved"), user=users["approver"], door=Door.API)
        answer = region(approver, "requests", shown=f"{first.pk},{second.pk}")
        assert row_titles(answer) == ["First", "Second"]
        assert re.search(rf'is-decided" id="request-{first.pk}"[^>]*data-decided', html(answer))

    def test_new_requests_wait_behind_a_link(self, approver, ask):
        old = ask("Old")
        since = (timezone.now() - timedelta(seconds=30)).isoformat()
        ask("New", ago=0)
        ask("Newer", ago=0)
        answer = region(approver, "requests", shown=str(old.pk), since=since)
        assert row_titles(answer) == ["Old"]
        assert "Show 2 new requests" in html(answer)

    def test_an_empty_list_shows_what_comes_at_once(self, approver, ask):
        ask("New", ago=0)
        answer = region(approver, "requests", shown="", since=timezone.now().isoformat())
        assert row_titles(answer) == ["New"]

    def test_foreign_rows_cannot_be_kept(self, client, ask, outsider):
        approval = ask()
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert row_titles(region(client, "requests", shown=str(approval.pk))) == []

    def test_the_count_is_in_the_title_and_the_navigation(self, approver, ask):
        ask()
        ask()
        page = html(approver.get("/approvals/"))
        assert "<title>(2) Inbox · MGX</title>" in page
        assert "data-title-count>2</span>" in page


class TestSeveralAtOnce:
    def test_the_review_shows_each_and_what_was_not_opened(self, approver, ask):
        first, second = ask("First"), ask("Second")
        approver.get(f"/approvals/{first.pk}/")
        query = {"id": [first.pk, second.pk], "outcome": "approved"}
        page = html(approver.get("/approvals/review/", query))
        assert "Approve 2 requests" in page
        assert "You have not opened one of them." in page
        assert page.count("You have not opened this one") == 1

    def test_each_gets_a_decision_and_a_result_of_its_own(self, approver, ask, users):
        first, second = ask("First"), ask("Second")
        decide(Decision(second.pk, "rejected", "No."), user=users["admin"], door=Door.API)
        answer = approver.post("/approvals/review/", form("approved", first, second))
        page = html(answer)
        first.refresh_from_db()
        assert first.status == "approved"
        assert first.decisions.get().user == users["approver"]
        assert "admin rejected this" in page
        assert "Your decision was not recorded." in page

    def test_the_results_say_who_decided(self, approver, ask, users):
        first, second = ask("First"), ask("Second")
        decide(Decision(second.pk, "approved"), user=users["admin"], door=Door.API)
        page = html(approver.post("/approvals/review/", form("approved", first, second)))
        assert "Approved by you" in page
        assert re.search(r"Approved by admin, [^<]+</span>", page)
        assert "See the request" in page

    def test_a_vote_says_how_many_more_are_needed(self, approver, ask):
        approval = ask(required_approvers=["user123", "editor"], rules={"min_approvals": "all"})
        page = html(approver.post("/approvals/review/", form("approved", approval)))
        assert "Your approval is recorded: 1 of 2. Needed: editor." in page

    def test_what_has_a_form_to_fill_in_is_decided_on_its_own_page(self, approver, ask):
        schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
        approval, plain = ask("With form", rules={"form_schema": schema}), ask("Plain")
        query = {"id": [approval.pk, plain.pk], "outcome": "approved"}
        page = html(approver.get("/approvals/review/", query))
        assert "Approve 1 request" in page
        assert "needs a form to be filled in" in page
        assert re.search(rf'value="{approval.pk}" disabled', page)
        page = html(approver.get("/approvals/review/", {**query, "outcome": "rejected"}))
        assert "Reject 2 requests" in page

    def test_changes_need_a_comment(self, approver, ask):
        approval = ask()
        answer = approver.post("/approvals/review/", form("request_changes", approval))
        assert answer.status_code == 400
        assert "Write what should change." in html(answer)
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_what_changed_meanwhile_is_not_decided(self, approver, ask):
        approval = ask()
        sent = form("approved", approval)
        sent["seal"] = [f"{approval.pk}:1:{'0' * 64}"]
        assert "The content changed" in approver.post("/approvals/review/", sent).content.decode()
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_without_a_seal_nothing_is_decided(self, approver, ask):
        approval = ask()
        approver.post("/approvals/review/", {"id": [approval.pk], "outcome": "approved"})
        approval.refresh_from_db()
        assert approval.status == "pending"

    @pytest.mark.parametrize("query", ["", "?id=x&outcome=approved", "?outcome=sudo"])
    def test_nothing_selected_leads_back(self, approver, ask, query):
        page = html(approver.get(f"/approvals/review/{query}"))
        assert "Nothing is selected" in page


def form(outcome, *approvals, feedback=""):
    return {
        "outcome": outcome,
        "feedback": feedback,
        "id": [approval.pk for approval in approvals],
        "seal": [f"{each.pk}:{each.revision}:{each.digest}" for each in approvals],
    }
