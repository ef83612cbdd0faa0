"""Questions, delegation and the history on the page of a request."""

import re

import pytest

from approvals.models import ApprovalQuestion, Delegation, Door
from approvals.services.decisions import Decision, decide
from approvals.services.questions import ask as ask_question
from tests.pages import html, text

pytestmark = pytest.mark.django_db


def url(approval):
    return f"/approvals/{approval.pk}/"


class TestQuestions:
    def test_asking_stops_the_clock_and_answering_lets_it_go_on(self, approver, client_for, ask):
        approval = ask(expires_after_seconds=3_600)
        answer = approver.post(f"{url(approval)}questions/", {"body": "Which <b>window</b>?"})
        assert answer["Location"] == f"{url(approval)}#comments"
        words = text(approver.get(url(approval)))
        assert "A question is open." in words
        assert "The clock stands still since" in words
        assert re.search(r"Once it is answered there are 5[89] min", words)
        assert "Which &lt;b&gt;window&lt;/b&gt;?" in html(approver.get(url(approval)))
        question = ApprovalQuestion.objects.get()
        operator = client_for("operator")
        assert 'name="answer"' in html(operator.get(url(approval)))
        address = f"{url(approval)}questions/{question.pk}/answer/"
        assert operator.post(address, {"answer": "Tonight."}).status_code == 302
        words = text(approver.get(url(approval)))
        assert "A question is open." not in words
        assert re.search(r"operator answered .{0,30} Tonight\.", words)

    def test_one_can_decide_all_the_same(self, approver, ask, users):
        approval = ask()
        ask_question(approval.pk, user=users["admin"], body="Why?")
        form = {"outcome": "approved", "digest": approval.digest, "revision": 1}
        assert approver.post(url(approval), form).status_code == 302

    def test_a_mistake_is_said_at_its_field_and_nothing_is_lost(self, approver, ask, users):
        approval = ask()
        answer = approver.post(f"{url(approval)}questions/", {"body": " "})
        assert answer.status_code == 400
        assert 'id="body-error"' in html(answer)
        question = ask_question(approval.pk, user=users["approver"], body="Why?")
        address = f"{url(approval)}questions/{question.pk}/answer/"
        answer = approver.post(address, {"answer": "x" * 10_001})
        assert answer.status_code == 400
        page = html(answer)
        assert f'id="answer-{question.pk}-error"' in page
        assert "x" * 10_001 in page

    def test_who_may_not_ask_is_told(self, client_for, ask):
        approval = ask(required_approvers=["user123"])
        viewer = client_for("viewer")
        assert ">Ask</button>" not in html(viewer.get(url(approval)))
        answer = viewer.post(f"{url(approval)}questions/", {"body": "Kept words"})
        assert answer.status_code == 403
        assert "Kept words</textarea>" in html(answer)

    def test_a_question_of_another_request_is_not_there(self, approver, ask, users):
        first, second = ask(), ask()
        question = ask_question(first.pk, user=users["approver"], body="Why?")
        address = f"{url(second)}questions/{question.pk}/answer/"
        assert approver.post(address, {"answer": "x"}).status_code == 404


class TestPassingOn:
    def test_those_who_could_decide_are_offered(self, approver, ask):
        page = html(approver.get(url(ask(required_approvers=["user123"]))))
        offered = re.findall(r'<option value="(\w+)">', page.partition('id="delegate-to"')[2])
        assert offered == ["admin", "editor"]

    def test_the_delegate_decides_in_ones_place(self, approver, client_for, ask, users):
        approval = ask(required_approvers=["user123"])
        form = {"to": "editor", "reason": "On leave"}
        answer = approver.post(f"{url(approval)}delegations/", form, follow=True)
        assert "editor can decide in your place now." in text(answer)
        assert Delegation.objects.get().delegate == users["editor"]
        editor = client_for("editor")
        words = text(editor.get(url(approval)))
        assert "editor can decide in their place" in words
        assert "On leave" in words
        decision = {"outcome": "approved", "digest": approval.digest, "revision": 1}
        words = text(editor.post(url(approval), decision, follow=True))
        assert "In the place of user123." in words

    def test_nobody_is_chosen(self, approver, ask):
        answer = approver.post(f"{url(ask())}delegations/", {"to": "", "reason": "Kept"})
        assert answer.status_code == 400
        page = html(answer)
        assert 'id="delegate-error"' in page
        assert 'value="Kept"' in page


class TestHistory:
    def test_every_decision_stands_there_with_its_record(self, approver, ask, users):
        approval = ask(rules={"min_approvals": 2})
        decide(Decision(approval.pk, "approved", "Fine."), user=users["admin"], door=Door.API)
        decide(Decision(approval.pk, "rejected", "No."), user=users["editor"], door=Door.ADMIN)
        words = text(approver.get(url(approval)))
        assert re.search(r"admin .{0,40}Approved .{0,40}through the API Fine\.", words)
        assert re.search(r"editor .{0,40}Rejected .{0,40}in the admin No\.", words)
        assert re.search(r"Record 1, hash [0-9a-f]{4}…[0-9a-f]{4}", words)
        assert re.search(r"Record 2, hash [0-9a-f]{4}…[0-9a-f]{4}", words)

    def test_a_foreign_request_takes_nothing(self, client, ask, outsider, users):
        approval = ask()
        question = ask_question(approval.pk, user=users["approver"], body="Why?")
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        for address in (
            "questions/",
            f"questions/{question.pk}/answer/",
            "retraction/",
            "delegations/",
            "files/reviews/",
            "files/comments/",
        ):
            assert client.post(f"{url(approval)}{address}", {"body": "x"}).status_code == 404
        assert client.get(f"{url(approval)}receipt/").status_code == 404
