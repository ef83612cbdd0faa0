"""Who and where: the caller, tokens, workspaces, members, projects, agents."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import AgentReservation
from workflows.models import ApiToken, Project

pytestmark = pytest.mark.django_db


class TestMe:
    def test_a_token_sees_its_user_roles_and_scopes(self, make_api, users):
        me = make_api(users["operator"], ["read"]).get("/api/v1/me/").json()
        assert me["username"] == "operator"
        assert me["workspaces"] == [{"workspace": "acme", "name": "Acme", "role": "operator"}]
        assert me["scopes"] == ["read"]

    def test_a_session_has_no_scopes(self, client_for):
        assert client_for("viewer").get("/api/v1/me/").json()["scopes"] is None


class TestTokens:
    def test_the_secret_is_shown_once_and_works(self, api, client):
        body = {"name": "ci", "scopes": ["read"]}
        made = api("viewer").post("/api/v1/tokens/", body, format="json")
        assert made.status_code == 201
        secret = made.json()["token"]
        mine = api("viewer").get("/api/v1/tokens/")
        assert secret not in mine.content.decode()
        assert (
            secret not in api("viewer").get(f"/api/v1/tokens/{made.json()['id']}/").content.decode()
        )
        assert client.get("/api/v1/me/", HTTP_AUTHORIZATION=f"Bearer {secret}").status_code == 200

    def test_revoking_one_ends_it_at_once(self, api, client):
        body = {"name": "ci", "scopes": ["read"]}
        made = api("viewer").post("/api/v1/tokens/", body, format="json").json()
        assert api("viewer").delete(f"/api/v1/tokens/{made['id']}/").status_code == 204
        answer = client.get("/api/v1/me/", HTTP_AUTHORIZATION=f"Bearer {made['token']}")
        assert answer.status_code == 401
        assert api("viewer").get(f"/api/v1/tokens/{made['id']}/").json()["revoked_at"]

    def test_those_of_others_are_not_there(self, api, users):
        token = ApiToken.objects.create(user=users["admin"], name="x", prefix="x", digest="x")
        assert api("viewer").get(f"/api/v1/tokens/{token.id}/").status_code == 404
        assert api("viewer").delete(f"/api/v1/tokens/{token.id}/").status_code == 404
        listed = api("viewer").get("/api/v1/tokens/").json()["results"]
        assert [row["name"] for row in listed] == ["test"]

    def test_one_cannot_make_another_that_may_more(self, make_api, users):
        writer = make_api(users["admin"], ["read", "write"])
        body = {"name": "more", "scopes": ["read", "decide"]}
        answer = writer.post("/api/v1/tokens/", body, format="json")
        assert answer.status_code == 403
        assert answer.json()["code"] == "insufficient_scope"

    def test_one_can_expire(self, api):
        for days, status in ((-1, 400), (1, 201)):
            moment = (timezone.now() + timedelta(days=days)).isoformat()
            body = {"name": "ci", "scopes": ["read"], "expires_at": moment}
            assert api("viewer").post("/api/v1/tokens/", body, format="json").status_code == status

    def test_no_answer_that_is_kept_holds_a_secret(self, api):
        from workflows.models import IdempotencyKey

        body = {"name": "ci", "scopes": ["read"]}
        api("viewer").post("/api/v1/tokens/", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
        assert not IdempotencyKey.objects.exists()


class TestWhere:
    def test_members_see_their_workspace_and_each_other(self, api, workspace, other_workspace):
        listed = api("viewer").get("/api/v1/workspaces/").json()["results"]
        assert [row["slug"] for row in listed] == ["acme"]
        assert api("viewer").get("/api/v1/workspaces/acme/").json()["id"] == str(workspace.id)
        members = api("viewer").get("/api/v1/workspaces/acme/members/").json()["results"]
        assert {(m["username"], m["role"]) for m in members} >= {("user123", "approver")}
        assert len(members) == 5

    def test_projects_are_those_of_the_workspace(self, api, workspace, other_workspace):
        mine = Project.objects.create(workspace=workspace, name="Web", slug="web")
        Project.objects.create(workspace=other_workspace, name="Web", slug="web")
        listed = api("viewer").get("/api/v1/projects/?q=we").json()["results"]
        assert [row["id"] for row in listed] == [str(mine.id)]
        assert api("viewer").get("/api/v1/projects/?q=nothing").json()["results"] == []
        assert api("viewer").get(f"/api/v1/projects/{mine.id}/").json()["slug"] == "web"


class TestAgents:
    def test_they_are_shown_with_their_load(self, api, agents, workspace):
        now = timezone.now()
        for attempt, (expires, released) in enumerate(
            [(1, None), (1, now), (-1, None), (2, None)], 1
        ):
            AgentReservation.objects.create(
                workspace=workspace,
                agent_instance=agents["planner"],
                step_execution_id=workspace.id,
                attempt=attempt,
                reserved_at=now,
                expires_at=now + timedelta(minutes=expires),
                released_at=released,
            )
        listed = api("viewer").get("/api/v1/agents/").json()["results"]
        assert {row["slug"]: row["load"] for row in listed} == {"planner": 2, "executor": 0}
        one = api("viewer").get(f"/api/v1/agents/{agents['planner'].id}/").json()
        assert one["definition"] == "planner_agent_id"
        assert "config" not in one

    def test_definitions_are_shared(self, api, agents):
        listed = api("viewer").get("/api/v1/agent-definitions/").json()["results"]
        assert [row["slug"] for row in listed] == ["executor_agent_id", "planner_agent_id"]
        one = api("viewer").get(f"/api/v1/agent-definitions/{listed[0]['id']}/").json()
        assert one == listed[0]
