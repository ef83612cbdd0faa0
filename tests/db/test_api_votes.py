"""Rules of more than one, revisions, edits, retractions and receipts, over REST."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.services.questions import ask as ask_question
from tests.db.engine.by_hand import DriverByHand
from workflows.models import Membership, Project, User

pytestmark = pytest.mark.django_db

URL = "/api/v1/approvals/"
RUNS = "/api/v1/executions/"
APPROVE = {"outcome": "approved"}


@pytest.fixture
def ask(api):
    """Return a function that makes a request as the operator."""

    def make(**body):
        answer = api("operator").post(URL, {"title": "Deploy?", **body}, format="json")
        assert answer.status_code == 201, answer.content
        return answer.json()

    return make


def decide(client, approval, **body):
    return client.post(f"{URL}{approval['id']}/decisions/", {**APPROVE, **body}, format="json")


def tally(document):
    return document["approvals_given"], document["approvals_needed"], document["missing"]


class TestVotes:
    def test_a_vote_is_told_and_the_last_one_ends_it(self, api, ask):
        made = ask(required_approvers=["user123", "admin", "editor"], min_approvals=2)
        assert tally(made) == (0, 2, ["user123", "admin", "editor"])
        answer = decide(api("approver"), made, digest=made["digest"]).json()
        assert (answer["is_final"], answer["status"]) == (False, "pending")
        assert tally(answer) == (1, 2, ["admin", "editor"])
        assert [(d["user"], d["stands_for"], d["is_final"]) for d in answer["decisions"]] == [
            ("user123", ["user123"], False)
        ]
        answer = decide(api("editor"), made).json()
        assert (answer["is_final"], answer["status"]) == (True, "approved")
        assert tally(answer)[:2] == (2, 2)
        numbers = [decision["record_number"] for decision in answer["decisions"]]
        assert numbers == [1, 2]
        assert len({decision["hash"] for decision in answer["decisions"]}) == 2

    def test_two_groups_need_a_person_each(self, api, ask, users):
        for name, role in (("ops", "approver"), ("security", "editor")):
            users[role].groups.add(Group.objects.create(name=name))
        made = ask(policy={"all_of": ["group:ops", "group:security"]})
        assert tally(made) == (0, 2, ["group:ops", "group:security"])
        assert decide(api("admin"), made).status_code == 403
        answer = decide(api("approver"), made).json()
        assert tally(answer) == (1, 2, ["group:security"])
        assert decide(api("editor"), made).json()["status"] == "approved"

    def test_a_repeated_vote_changes_nothing(self, api, ask):
        made = ask(min_approvals=2)
        first, again = decide(api("approver"), made), decide(api("approver"), made)
        assert (again.status_code, again.json()) == (200, first.json())
        assert ApprovalDecision.objects.count() == 1

    def test_one_rejection_ends_it_whatever_the_votes(self, api, ask):
        made = ask(min_approvals=2)
        decide(api("approver"), made)
        answer = decide(api("admin"), made, outcome="rejected", feedback="No").json()
        assert (answer["status"], answer["approved_by"]) == ("rejected", "admin")

    def test_several_at_once_say_which_have_ended(self, api, ask):
        one, two = ask(), ask(min_approvals=2)
        decisions = [{"approval_id": each["id"], **APPROVE} for each in (one, two)]
        answer = api("approver").post(f"{URL}decisions/", {"decisions": decisions}, format="json")
        told = [(each["status"], each["is_final"]) for each in answer.json()["results"]]
        assert told == [("approved", True), ("pending", False)]

    def test_a_vote_can_be_taken_back(self, api, ask):
        made = ask(min_approvals=2)
        decide(api("approver"), made)
        retract = f"{URL}{made['id']}/retract/"
        answer = api("approver").post(retract)
        assert answer.status_code == 200, answer.content
        assert tally(answer.json())[:2] == (0, 2)
        vote, retraction = answer.json()["decisions"]
        assert (retraction["outcome"], retraction["retracts_id"]) == ("retracted", vote["id"])
        again = api("approver").post(retract)
        assert (again.status_code, again.json()["code"]) == (409, "nothing_to_retract")

    def test_a_final_decision_is_taken_back_until_the_run_has_gone_on(self, api, workflow):
        start = {"workflow": "Deploy", "input_variables": {"task_description": "x"}}
        assert api("operator").post(RUNS, start, format="json").status_code == 201
        driver = DriverByHand()
        driver.work()
        made = api("viewer").get(f"{URL}?status=pending").json()["results"][0]
        decide(api("approver"), made)
        answer = api("approver").post(f"{URL}{made['id']}/retract/").json()
        assert (answer["status"], answer["parent_approval_id"]) == ("pending", made["id"])
        assert answer["revision_count"] == 0
        assert [each["id"] for each in answer["revisions"]] == [made["id"], answer["id"]]
        assert api("viewer").get(f"{URL}{made['id']}/").json()["status"] == "approved"
        decide(api("approver"), answer)
        driver.work()
        late = api("approver").post(f"{URL}{answer['id']}/retract/")
        assert (late.status_code, late.json()["code"]) == (409, "already_continued")


class TestAnswers:
    """A decision is answered with what its address says then."""

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"outcome": "rejected", "feedback": "No"},
            {"outcome": "request_changes", "feedback": "More"},
            {"response_data": {"x": [1, None, "é"]}},
        ],
    )
    @pytest.mark.parametrize("terms", [{}, {"min_approvals": 2}])
    def test_of_a_request_that_stands_alone(self, api, ask, workspace, body, terms):
        Project.objects.create(workspace=workspace, name="Web", slug="web")
        made = ask(project="web", approval_data={"n": 2**60}, risk="high", **terms)
        self._compare(api, made, decide(api("approver"), made, **body))
        if terms:
            self._compare(api, made, decide(api("admin"), made, outcome="rejected", feedback="No"))

    def test_of_a_run(self, api, workflow):
        start = {"workflow": "Deploy", "input_variables": {"task_description": "x"}}
        assert api("operator").post(RUNS, start, format="json").status_code == 201
        DriverByHand().work()
        made = api("viewer").get(f"{URL}?status=pending").json()["results"][0]
        self._compare(api, made, decide(api("approver"), made))

    def _compare(self, api, made, answer):
        if answer.status_code == 409:
            return
        told = answer.json()
        del told["is_final"]
        shown = api("approver").get(f"{URL}{made['id']}/").json()
        assert {**shown, **told} == shown
        assert shown.keys() - told.keys() == {"questions", "revisions"}


class TestRevisions:
    def test_who_was_sent_back_asks_again_until_the_limit(self, api, ask):
        made = ask(max_revisions=1)
        said = {"outcome": "request_changes", "feedback": "Name the host"}
        assert decide(api("approver"), made, **said).json()["max_revisions"] == 1
        again = ask(parent_approval_id=made["id"], approval_data={"host": "web-1"})
        assert (again["revision"], again["parent_approval_id"]) == (2, made["id"])
        assert [each["feedback"] for each in again["revisions"]] == ["Name the host", ""]
        answer = decide(api("approver"), again, **said)
        assert (answer.status_code, answer.json()["code"]) == (409, "revision_limit")
        assert decide(api("approver"), again).json()["status"] == "approved"

    def test_each_of_a_family_lists_it_whole_and_nobody_elses(self, api, ask):
        made = ask()
        ask(title="Another")
        said = {"outcome": "request_changes", "feedback": "More"}
        family = [made["id"]]
        for _ in range(2):
            decide(api("approver"), {"id": family[-1]}, **said)
            family.append(ask(parent_approval_id=family[-1])["id"])
        for one in family:
            shown = api("viewer").get(f"{URL}{one}/").json()["revisions"]
            assert [each["id"] for each in shown] == family
            assert [each["revision_count"] for each in shown] == [0, 1, 2]


class TestForms:
    SCHEMA = {
        "type": "object",
        "properties": {
            "window": {"type": "string", "enum": ["night", "day"]},
            "hosts": {"type": "integer", "minimum": 1, "x-edits": "/plan/hosts"},
        },
        "required": ["window"],
    }

    def test_what_violates_the_schema_is_400_with_pointers(self, api, ask):
        made = ask(form_schema=self.SCHEMA, approval_data={"plan": {"hosts": 3}})
        assert made["form_schema"] == self.SCHEMA
        for wrong, pointer in (
            ({}, "/response_data/window"),
            ({"window": "noon"}, "/response_data/window"),
            ({"window": "day", "hosts": 0}, "/response_data/hosts"),
        ):
            answer = decide(api("approver"), made, response_data=wrong)
            assert answer.status_code == 400, answer.content
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert not ApprovalDecision.objects.exists()

    def test_an_edit_is_what_is_approved(self, api, ask):
        made = ask(form_schema=self.SCHEMA, approval_data={"plan": {"hosts": 3}})
        data = {"window": "day", "hosts": 5}
        answer = decide(api("approver"), made, response_data=data, digest=made["digest"]).json()
        assert answer["approval_data"] == {"plan": {"hosts": 5}}
        assert answer["digest"] != made["digest"]
        assert answer["decisions"][0]["edited_data"] == {"plan": {"hosts": 5}}
        assert answer["decisions"][0]["digest"] == answer["digest"]

    def test_after_an_edit_those_before_it_are_asked_again(self, api, ask):
        made = ask(form_schema=self.SCHEMA, approval_data={"plan": {"hosts": 3}}, min_approvals=2)
        decide(api("approver"), made, response_data={"window": "day"})
        edit = {"window": "day", "hosts": 5}
        answer = decide(api("admin"), made, response_data=edit).json()
        assert tally(answer)[:2] == (1, 2)
        stale = decide(api("editor"), made, response_data=edit, digest=made["digest"])
        assert (stale.status_code, stale.json()["code"]) == (409, "stale_digest")


class TestReceipts:
    def test_a_receipt_is_checked_and_a_changed_one_found_out(self, api, ask):
        made = ask()
        receipt = f"{URL}{made['id']}/receipt/"
        early = api("viewer").get(receipt)
        assert (early.status_code, early.json()["code"]) == (409, "not_decided")
        decide(api("approver"), made, feedback="Fine")
        document = api("viewer").get(receipt).json()

        def check(receipt):
            return api("viewer").post(
                "/api/v1/receipts/check/", {"receipt": receipt}, format="json"
            )

        assert check(document).json() == {"is_valid": True, "problems": []}
        changed = {**document, "digest": "0" * 64}
        answer = check(changed).json()
        assert answer["is_valid"] is False
        assert answer["problems"]
        for wrong in ({}, {"receipt": None}, {"receipt": []}):
            answer = api("viewer").post("/api/v1/receipts/check/", wrong, format="json")
            assert answer.status_code == 400


class TestHighRisk:
    def test_an_old_session_is_asked_for_its_password_and_a_token_is_not(self, api, ask, users):
        risky, plain = ask(risk="high"), ask()
        browser = Client()
        browser.force_login(users["admin"], "django.contrib.auth.backends.ModelBackend")
        session = browser.session
        session["signed_in_at"] = 0.0
        session.save()
        url = f"{URL}{risky['id']}/decisions/"
        answer = browser.post(url, APPROVE, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "reauthentication_required")
        both = [{"approval_id": each["id"], **APPROVE} for each in (risky, plain)]
        answer = browser.post(
            f"{URL}decisions/", {"decisions": both}, content_type="application/json"
        )
        assert [each["http_status"] for each in answer.json()["results"]] == [403, 200]
        assert decide(api("approver"), risky).json()["status"] == "approved"


class TestLooking:
    def test_lists_are_narrowed_by_who_what_and_when(self, api, ask, users, workflow):
        late = ask(title="Late", expires_after_seconds=7_200)
        ask(title="Soon", expires_after_seconds=60, risk="high")
        decide(api("approver"), late)

        def titles(query):
            answer = api("viewer").get(f"{URL}?{query}")
            assert answer.status_code == 200, answer.content
            return [row["title"] for row in answer.json()["results"]]

        hour = (timezone.now() + timedelta(hours=1)).isoformat().replace("+", "%2B")
        assert titles(f"due_after={hour}") == ["Late"]
        assert titles(f"due_before={hour}") == ["Soon"]
        assert titles("risk=high") == ["Soon"]
        assert titles("risk=low,medium") == ["Late"]
        assert titles("decided_by=user123") == ["Late"]
        assert titles("decided_by=me") == []
        assert titles("workflow=Deploy") == titles(f"workflow={workflow.pk}") == []

    def test_a_question_is_shown_and_stops_the_clock(self, api, ask, users):
        made = ask()
        ask_question(made["id"], user=users["approver"], body="Which host?")
        shown = api("viewer").get(f"{URL}{made['id']}/").json()
        assert shown["clock_stopped_at"]
        assert [(q["asked_by"], q["body"]) for q in shown["questions"]] == [
            ("user123", "Which host?")
        ]
        # Nothing expires meanwhile, and who can answer it may still decide.
        WorkflowStepApproval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        shown = api("approver").get(f"{URL}{made['id']}/").json()
        assert shown["can_decide"] is True
        assert api("approver").get(f"{URL}?assigned_to=me").json()["results"][0]["can_decide"]

    def test_votes_cost_no_query_a_row(self, api, ask, django_assert_num_queries):
        client = api("viewer")
        client.get(URL)
        for count in (1, 5):
            for _ in range(count):
                decide(api("approver"), ask(min_approvals=2))
            with django_assert_num_queries(5):
                client.get(URL)

    def test_who_lost_the_role_is_not_offered_a_decision(self, api, ask, users):
        made = ask(required_approvers=["user123"])
        Membership.objects.filter(user=users["approver"]).update(role="operator")
        assert User.objects.get(username="user123").is_active
        shown = api("approver").get(f"{URL}{made['id']}/").json()
        assert shown["cannot_decide_because"]["code"] == "not_an_approver"
        assert decide(api("approver"), made).status_code == 403
