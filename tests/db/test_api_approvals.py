"""Requests for a decision over REST."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from workflows.models import Event, Membership, Project

pytestmark = pytest.mark.django_db

URL = "/api/v1/approvals/"


@pytest.fixture
def ask(api):
    """Return a function that makes a request as the operator."""

    def make(**body):
        body = {"workspace": "acme", "title": "Deploy?", "approval_data": {"plan": [1]}, **body}
        answer = api("operator").post(URL, body, format="json")
        assert answer.status_code == 201, answer.content
        return answer.json()

    return make


@pytest.fixture
def approver(api):
    return api("approver")


def decide(client, approval, **body):
    return client.post(f"{URL}{approval['id']}/decisions/", body, format="json")


class TestAsking:
    def test_a_free_standing_request(self, api, workspace):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        body = {
            "title": "Deploy?",
            "description": "Now",
            "approval_data": {"n": 2**60 + 1},
            "required_approvers": ["user123"],
            "auto_approve_after_seconds": 60,
            "expires_after_seconds": 120,
            "project": "web",
        }
        answer = api("operator").post(URL, body, format="json")
        assert answer.status_code == 201, answer.content
        made = answer.json()
        assert made["status"] == "pending"
        assert made["approval_data"] == {"n": 2**60 + 1}
        assert made["project_id"] == str(project.id)
        assert made["requested_by"] == "operator"
        assert made["can_decide"] is False
        assert made["cannot_decide_because"]["code"] == "not_an_approver"
        assert made["decisions"] == []
        assert len(made["digest"]) == 64
        assert api("approver").get(answer["Location"]).json()["can_decide"] is True

    def test_it_expires_in_a_day_unless_said_otherwise(self, ask):
        made = ask()
        span = timezone.datetime.fromisoformat(made["expires_at"]) - timezone.now()
        assert timedelta(hours=23) < span <= timedelta(hours=24)

    @pytest.mark.parametrize(
        ("wrong", "pointer"),
        [
            ({"title": ""}, "/title"),
            ({"title": "x" * 501}, "/title"),
            ({"title": None}, "/title"),
            ({"required_approvers": ["ghost"]}, "/required_approvers/0"),
            ({"required_approvers": "user123"}, "/required_approvers"),
            ({"expires_after_seconds": 0}, "/expires_after_seconds"),
            ({"expires_after_seconds": -1}, "/expires_after_seconds"),
            ({"expires_after_seconds": 10**12}, "/expires_after_seconds"),
            ({"expires_after_seconds": "5"}, "/expires_after_seconds"),
            ({"expires_after_seconds": True}, "/expires_after_seconds"),
            ({"auto_approve_after_seconds": 90_000}, "/auto_approve_after_seconds"),
            ({"approval_data": []}, "/approval_data"),
            ({"status": "approved"}, "/status"),
            ({"approved_by": "user123"}, "/approved_by"),
            ({"workspace_id": "x"}, "/workspace_id"),
        ],
    )
    def test_what_is_wrong_is_told(self, api, workspace, wrong, pointer):
        body = {"title": "Deploy?", **wrong}
        answer = api("operator").post(URL, body, format="json")
        assert answer.status_code == 400, answer.content
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert "In the step" not in answer.content.decode()
        assert not WorkflowStepApproval.objects.exists()

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (
                {"auto_approve_after_seconds": 100, "expires_after_seconds": 50},
                "Auto-approval (after 100 s) must come before the expiry (after 50 s)",
            ),
            ({"required_approvers": ["ghost"]}, "'ghost' cannot approve here"),
        ],
    )
    def test_what_is_wrong_is_told_without_a_step(self, api, workspace, wrong, message):
        answer = api("operator").post(URL, {"title": "Deploy?", **wrong}, format="json")
        assert [error["message"] for error in answer.json()["errors"]] == [message]

    def test_a_viewer_cannot(self, api):
        answer = api("viewer").post(URL, {"title": "Deploy?"}, format="json")
        assert answer.status_code == 403


class TestDeciding:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"outcome": "approved"}, "approved"),
            ({"outcome": "rejected", "feedback": "No"}, "rejected"),
            ({"outcome": "request_changes", "feedback": "More"}, "request_changes"),
            ({"approved": True, "feedback": "Fine", "response_data": {"x": 1}}, "approved"),
            ({"approved": False, "feedback": "No"}, "rejected"),
        ],
    )
    def test_each_outcome(self, ask, approver, body, status):
        made = ask()
        answer = decide(approver, made, digest=made["digest"], **body)
        assert answer.status_code == 200, answer.content
        decided = answer.json()
        assert decided["status"] == status
        assert decided["approved_by"] == "user123"
        assert decided["feedback"] == body.get("feedback", "")
        assert decided["response_data"] == body.get("response_data")
        assert decided["can_decide"] is False
        assert [(d["user"], d["outcome"], d["door"]) for d in decided["decisions"]] == [
            ("user123", status, Door.API)
        ]

    @pytest.mark.parametrize(
        ("verb", "status"),
        [("approve", "approved"), ("reject", "rejected"), ("request-changes", "request_changes")],
    )
    def test_the_aliases(self, ask, approver, verb, status):
        made = ask()
        answer = approver.post(f"{URL}{made['id']}/{verb}/", {"feedback": "ok"}, format="json")
        assert answer.json()["status"] == status
        body = {"feedback": "ok", "outcome": "approved"}
        assert approver.post(f"{URL}{made['id']}/{verb}/", body, format="json").status_code == 400

    def test_approving_needs_no_body(self, ask, approver):
        assert approver.post(f"{URL}{ask()['id']}/approve/").status_code == 200

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/outcome"),
            ({"outcome": "approved", "approved": True}, "/outcome"),
            ({"outcome": "timeout"}, "/outcome"),
            ({"outcome": "cancelled"}, "/outcome"),
            ({"outcome": None}, "/outcome"),
            ({"approved": "yes"}, "/approved"),
            ({"approved": None}, "/approved"),
            ({"outcome": "rejected"}, "/feedback"),
            ({"outcome": "request_changes", "feedback": "  "}, "/feedback"),
            ({"outcome": "approved", "feedback": "x" * 10_001}, "/feedback"),
            ({"outcome": "approved", "feedback": 5}, "/feedback"),
            ({"outcome": "approved", "revision": "1"}, "/revision"),
            ({"outcome": "approved", "status": "approved"}, "/status"),
            ({"outcome": "approved", "approved_by": "admin"}, "/approved_by"),
        ],
    )
    def test_what_is_wrong_is_told_and_nothing_is_decided(self, ask, approver, body, pointer):
        made = ask()
        answer = decide(approver, made, **body)
        assert answer.status_code == 400, answer.content
        assert pointer in [error["pointer"] for error in answer.json()["errors"]]
        assert WorkflowStepApproval.objects.get().status == "pending"

    def test_the_second_learns_who_was_first(self, api, ask, approver):
        made = ask()
        first = decide(approver, made, outcome="approved").json()
        answer = decide(api("admin"), made, outcome="rejected", feedback="No")
        assert (answer.status_code, answer.json()["code"]) == (409, "already_decided")
        document = answer.json()
        assert document["current_status"] == "approved"
        assert document["decided_by"] == "user123"
        assert document["decided_at"][:19] == first["responded_at"][:19]

    def test_the_winners_repeat_is_200_and_changes_nothing(self, ask, approver):
        made = ask()
        first = decide(approver, made, outcome="approved")
        again = decide(approver, made, outcome="approved")
        assert again.status_code == 200
        assert again.json() == first.json()
        assert ApprovalDecision.objects.count() == 1
        other = decide(approver, made, outcome="rejected", feedback="No")
        assert other.status_code == 409

    def test_another_digest_or_revision_is_409(self, ask, approver):
        made = ask()
        for stale in ({"digest": "0" * 64}, {"revision": 2}):
            answer = decide(approver, made, outcome="approved", **stale)
            assert (answer.status_code, answer.json()["code"]) == (409, "stale_digest")
            assert answer.json()["digest"] == made["digest"]
        right = {"digest": made["digest"], "revision": made["revision"]}
        assert decide(approver, made, outcome="approved", **right).status_code == 200

    def test_an_expired_one_cannot_be_decided_before_a_timer_noticed(self, ask, approver):
        made = ask()
        WorkflowStepApproval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        read = approver.get(f"{URL}{made['id']}/").json()
        assert read["can_decide"] is False
        assert read["cannot_decide_because"]["code"] == "expired"
        answer = decide(approver, made, outcome="approved")
        assert (answer.status_code, answer.json()["code"]) == (409, "expired")
        assert approver.get(f"{URL}{made['id']}/").json()["status"] == "timeout"

    @pytest.mark.parametrize("role", ["viewer", "operator", "editor", "admin"])
    def test_who_is_not_named_cannot(self, api, ask, role):
        made = ask(required_approvers=["user123"])
        answer = decide(api(role), made, outcome="approved")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_an_approver")

    def test_who_asked_can_decide_where_nothing_prevents_it(self, api, workspace):
        made = api("admin").post(URL, {"title": "Deploy?"}, format="json").json()
        assert made["can_decide"] is True
        assert decide(api("admin"), made, outcome="approved").status_code == 200

    def test_who_was_demoted_cannot_any_more(self, users, ask, approver):
        made = ask()
        assert approver.get(f"{URL}{made['id']}/").json()["can_decide"] is True
        Membership.objects.filter(user=users["approver"]).update(role="viewer")
        assert approver.get(f"{URL}{made['id']}/").json()["can_decide"] is False
        assert decide(approver, made, outcome="approved").status_code == 403
        Membership.objects.filter(user=users["approver"]).delete()
        assert decide(approver, made, outcome="approved").status_code == 404

    def test_it_is_cheap(self, ask, approver, django_assert_max_num_queries):
        approver.get("/api/v1/me/")
        made = ask()
        with django_assert_max_num_queries(16) as queries:
            assert decide(approver, made, outcome="approved").status_code == 200
        assert len([q for q in queries if "INSERT" in q["sql"]]) <= 2


class TestDecidingSeveral:
    def test_each_is_judged_by_itself(self, ask, approver):
        open_one, named, ended = ask(), ask(required_approvers=["admin"]), ask()
        decide(approver, ended, outcome="rejected", feedback="No")
        decisions = [
            {"approval_id": open_one["id"], "outcome": "approved", "digest": open_one["digest"]},
            {"approval_id": named["id"], "outcome": "approved"},
            {"approval_id": ended["id"], "approved": True},
            {"approval_id": str(uuid.uuid4()), "outcome": "approved"},
        ]
        answer = approver.post(f"{URL}decisions/", {"decisions": decisions}, format="json")
        assert answer.status_code == 200, answer.content
        results = answer.json()["results"]
        assert [result["http_status"] for result in results] == [200, 403, 409, 404]
        assert [result["approval_id"] for result in results] == [
            decision["approval_id"] for decision in decisions
        ]
        assert results[0]["status"] == "approved"
        assert results[2]["problem"]["decided_by"] == "user123"

    @pytest.mark.parametrize("decisions", [[], None, {}, [5], [{"outcome": "approved"}]])
    def test_what_is_wrong_is_400(self, approver, decisions):
        answer = approver.post(f"{URL}decisions/", {"decisions": decisions}, format="json")
        assert answer.status_code == 400


class TestLooking:
    def test_lists_are_narrowed(self, api, ask, approver, workspace):
        plain = ask(title="Plain")
        named = ask(title="For the admin", required_approvers=["admin"])
        done = ask(title="Done", expires_after_seconds=60)
        decide(approver, done, outcome="approved")

        def titles(query, client=approver):
            answer = client.get(f"{URL}?{query}")
            assert answer.status_code == 200, answer.content
            return [row["title"] for row in answer.json()["results"]]

        assert titles("") == ["Done", "For the admin", "Plain"]
        assert titles("ordering=expires_at") == ["Done", "Plain", "For the admin"]
        assert titles("status=pending") == ["For the admin", "Plain"]
        assert titles("status=approved,rejected") == ["Done"]
        assert titles("assigned_to=me") == ["Plain"]
        assert titles("assigned_to=me", api("admin")) == ["For the admin", "Plain"]
        assert titles("assigned_to=me", api("viewer")) == []
        assert titles("q=admin") == ["For the admin"]
        soon = (timezone.now() + timedelta(hours=1)).isoformat().replace("+", "%2B")
        assert titles(f"due_before={soon}") == ["Done"]
        assert titles(f"workflow_execution={uuid.uuid4()}") == []
        for wrong in (
            "status=x",
            "assigned_to=you",
            "due_before=x",
            "due_before=0001-01-01T00:00:00%2B14:00",
            "due_after=9999-12-31T23:59:59-14:00",
            "workflow_execution=x",
        ):
            assert approver.get(f"{URL}?{wrong}").status_code == 400
        rows = approver.get(URL).json()["results"]
        assert {row["id"]: row["can_decide"] for row in rows} == {
            plain["id"]: True,
            named["id"]: False,
            done["id"]: False,
        }
        assert [len(row["decisions"]) for row in rows] == [1, 0, 0]

    def test_lists_ask_no_more_for_more_rows(self, ask, approver, django_assert_num_queries):
        approver.get(URL)
        for count in (2, 10):
            for _ in range(count):
                decide(approver, ask(), outcome="approved")
            with django_assert_num_queries(5):  # token, page, decisions, their users, rights
                approver.get(URL)

    def test_waiting_ends_when_the_time_is_over_or_it_is_decided(self, ask, approver):
        made = ask()
        url = f"{URL}{made['id']}/wait/"
        assert approver.get(f"{url}?timeout=0").json()["status"] == "pending"
        decide(approver, made, outcome="approved")
        assert approver.get(f"{url}?timeout=60").json()["status"] == "approved"
        for wrong in ("-1", "61", "x", "nan", "inf", "1e400"):
            assert approver.get(f"{url}?timeout={wrong}").status_code == 400

    def test_comments_decide_nothing(self, api, ask):
        made = ask()
        url = f"{URL}{made['id']}/comments/"
        answer = api("viewer").post(url, {"body": "Why now?\r\nX: y"}, format="json")
        assert answer.status_code == 201, answer.content
        listed = api("approver").get(url).json()["results"]
        assert [(c["author"], c["body"]) for c in listed] == [("viewer", "Why now?\r\nX: y")]
        assert Event.objects.filter(event_type="approval_commented").count() == 1
        for wrong in ({"body": " "}, {"body": 5}, {}, {"body": "x" * 10_001}):
            assert api("viewer").post(url, wrong, format="json").status_code == 400
        assert WorkflowStepApproval.objects.get().status == "pending"

    def test_who_asked_can_withdraw(self, api, ask, approver):
        made = ask()
        assert approver.post(f"{URL}{made['id']}/cancel/").status_code == 403
        assert api("operator").post(f"{URL}{made['id']}/cancel/").json()["status"] == "cancelled"
        assert decide(approver, made, outcome="approved").status_code == 409
