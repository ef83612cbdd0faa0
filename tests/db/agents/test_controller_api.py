"""Agents over REST: switched on and off, handing on, and how they did."""

from datetime import UTC, timedelta
from typing import Any
from uuid import uuid4

import pytest

from agents.memory import store_memory
from agents.models import (
    AgentBudgetAnswer,
    AgentDefinition,
    AgentInstance,
    AgentLoss,
    AgentReservation,
    AgentStatus,
    AgentUsage,
)
from agents.services.statuses import STATUS_MOVES
from workflows.clock import database_now
from workflows.models import Event, Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def planner(agents: dict[str, Any]) -> AgentInstance:
    return agents["planner"]


def call(client: Any, agent: AgentInstance, verb: str, body: Any = None) -> Any:
    return client.post(f"/api/v1/agents/{agent.id}/{verb}/", body or {}, format="json")


@pytest.mark.parametrize(
    ("verb", "again", "status", "is_enabled"),
    [
        ("deactivate", "already_inactive", "idle", False),
        ("shutdown", "already_offline", "offline", True),
    ],
)
def test_an_agent_is_switched_off_and_on(
    api: Any, planner: AgentInstance, verb: str, again: str, status: str, is_enabled: bool
) -> None:
    client = api("editor")
    assert call(client, planner, "activate").json()["code"] == "already_active"
    answer = call(client, planner, verb)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["is_enabled"]) == (status, is_enabled)
    assert planner not in AgentInstance.objects.usable()
    refused = call(client, planner, verb)
    assert (refused.status_code, refused.json()["code"]) == (409, again)
    answer = call(client, planner, "activate")
    assert (answer.json()["status"], answer.json()["is_enabled"]) == ("idle", True)
    assert planner in AgentInstance.objects.usable()
    events = Event.objects.filter(event_type="agent_status_changed").order_by("seq")
    assert [(event.actor, event.agent_id) for event in events] == [("user:editor", planner.id)] * 2


def test_activating_forgets_what_an_agent_failed_at(api: Any, planner: AgentInstance) -> None:
    AgentInstance.objects.update(
        status="error", faults=9, last_error="x", probe_at=database_now() + timedelta(hours=1)
    )
    assert call(api("editor"), planner, "activate").json()["last_error"] == ""
    planner.refresh_from_db()
    assert (planner.status, planner.faults, planner.probe_at) == ("idle", 0, None)


@pytest.mark.parametrize("verb", ["activate", "deactivate", "shutdown", "handoff"])
def test_only_editors_of_the_workspace_may(
    api: Any, make_api: Any, outsider: Any, agents: dict[str, Any], verb: str
) -> None:
    body = {"to_agent_id": str(agents["executor"].id)} if verb == "handoff" else {}
    assert call(api("approver"), agents["planner"], verb, body).status_code == 403
    assert call(make_api(outsider), agents["planner"], verb, body).status_code == 404


def test_every_status_has_its_moves_and_all_can_come_back() -> None:
    assert set(STATUS_MOVES) == set(AgentStatus)
    for status, moves in STATUS_MOVES.items():
        assert status not in moves
        assert "idle" in moves or status == "idle"


def test_the_status_that_is_shown_follows_from_the_places_that_are_taken(
    api: Any, planner: AgentInstance
) -> None:
    AgentInstance.objects.filter(pk=planner.pk).update(max_concurrency=2)
    client, path = api("viewer"), f"/api/v1/agents/{planner.id}/"
    now = database_now()

    def take() -> None:
        AgentReservation.objects.create(
            workspace_id=planner.workspace_id,
            agent_instance=planner,
            step_execution_id=uuid4(),
            attempt=1,
            reserved_at=now,
            expires_at=now + timedelta(hours=1),
        )

    def shown() -> Any:
        status = client.get(path).json()["status"]
        found = client.get("/api/v1/agents/", {"status": status}).json()["results"]
        assert str(planner.id) in [row["id"] for row in found]
        return status

    assert shown() == "idle"
    take()
    assert shown() == "active"
    AgentInstance.objects.filter(pk=planner.pk).update(faults=1)  # one place is left of it
    assert shown() == "busy"
    AgentInstance.objects.filter(pk=planner.pk).update(faults=0)
    take()
    assert shown() == "busy"
    planner.refresh_from_db()
    assert planner.status == "idle"
    for status in ("error", "offline"):
        AgentInstance.objects.filter(pk=planner.pk).update(status=status)
        assert shown() == status
    AgentReservation.objects.update(released_at=now)
    for status in ("busy", "active", "idle"):
        AgentInstance.objects.filter(pk=planner.pk).update(status=status)
        assert shown() == "idle"
    AgentInstance.objects.filter(pk=planner.pk).update(status="initializing")
    assert shown() == "initializing"


def test_an_agent_hands_on(api: Any, agents: dict[str, Any]) -> None:
    planner, executor = agents["planner"], agents["executor"]
    store_memory(planner.id, planner.workspace_id, "plan", 1)
    body = {"to_agent_id": str(executor.id), "context": {"goal": 2}, "context_keys": ["plan"]}
    answer = call(api("editor"), planner, "handoff", body)
    assert answer.status_code == 201
    assert answer.json()["hops"] == 1
    assert answer.json()["context_keys"] == ["plan"]
    again = call(api("editor"), planner, "handoff", body)
    assert (again.status_code, again.json()["code"]) == (409, "already_handed_on")
    assert Event.objects.get(event_type="agent_activity").actor == "user:editor"


def test_a_handoff_to_itself_to_nobody_or_to_a_disabled_agent_is_refused(
    api: Any, agents: dict[str, Any]
) -> None:
    planner, executor = agents["planner"], agents["executor"]
    for target, code in ((planner.id, 400), (uuid4(), 404), ("x", 400), (None, 400)):
        answer = call(api("editor"), planner, "handoff", {"to_agent_id": target})
        assert answer.status_code == code
    call(api("editor"), executor, "deactivate")
    answer = call(api("editor"), planner, "handoff", {"to_agent_id": executor.id})
    assert (answer.status_code, answer.json()["code"]) == (400, "agent_disabled")


def test_the_metrics_say_how_an_agent_did(api: Any, planner: AgentInstance) -> None:
    path = f"/api/v1/agents/{planner.id}/metrics/"
    empty = api("viewer").get(path).json()
    assert (empty["finished"], empty["success_rate"], empty["p95_seconds"]) == (0, None, None)
    now = database_now()
    for seconds, outcome in ((1, "completed"), (2, "completed"), (3, "failed"), (4, "moved")):
        AgentReservation.objects.create(
            workspace_id=planner.workspace_id,
            agent_instance=planner,
            step_execution_id=uuid4(),
            attempt=1,
            outcome=outcome,
            reserved_at=now - timedelta(seconds=60),
            released_at=now - timedelta(seconds=60 - seconds),
            expires_at=now,
        )
    figures = api("viewer").get(path).json()
    assert (figures["finished"], figures["failed"], figures["success_rate"]) == (4, 2, 0.5)
    assert figures["median_seconds"] == pytest.approx(2, abs=0.01)
    assert figures["p95_seconds"] == pytest.approx(4, abs=0.01)
    assert figures["load"] == 0
    assert api("viewer").get(path, {"period": "year"}).status_code == 400


def test_the_metrics_say_what_an_agent_spent(api: Any, planner: AgentInstance) -> None:
    path = f"/api/v1/agents/{planner.id}/metrics/"
    empty = api("viewer").get(path).json()
    assert (empty["input_tokens"], empty["cost"], len(empty["daily"])) == (0, 0, 30)
    now = database_now()
    for ago, outcome in ((1, "completed"), (2, "asked"), (30, "failed")):
        AgentReservation.objects.create(
            workspace_id=planner.workspace_id,
            agent_instance=planner,
            step_execution_id=uuid4(),
            attempt=1,
            outcome=outcome,
            reserved_at=now - timedelta(hours=ago),
            released_at=now,
            expires_at=now,
            input_tokens=1_000,
            output_tokens=100,
            cost_micros=2_500,
        )
    AgentUsage.objects.create(
        workspace_id=planner.workspace_id,
        agent_instance=planner,
        day=now.astimezone(UTC).date() - timedelta(days=3),
        steps=4,
        failures=1,
        input_tokens=70,
        output_tokens=7,
        cost_micros=500,
        busy_ms=1_500,
    )
    figures = api("viewer").get(path).json()
    assert figures["input_tokens"] == 2_000, "also what stopped to ask has spent"
    assert (figures["output_tokens"], figures["cost"]) == (200, 0.005)
    assert figures["daily"][26] == {
        "day": f"{now.astimezone(UTC).date() - timedelta(days=3)}",
        "finished": 4,
        "failed": 1,
        "input_tokens": 70,
        "output_tokens": 7,
        "cost": 0.0005,
        "busy_seconds": 1.5,
    }
    assert api("viewer").get(path, {"period": "week"}).json()["input_tokens"] == 3_000


# --- making and changing ------------------------------------------------------------------

AGENTS, DEFINITIONS = "/api/v1/agents/", "/api/v1/agent-definitions/"
SCHEMA = {
    "type": "object",
    "properties": {"part": {"enum": ["planner", "executor"]}},
    "additionalProperties": False,
}


def test_a_workspace_gets_an_agent_whose_config_is_what_its_definition_asks_for(
    api: Any, agents: dict[str, Any]
) -> None:
    AgentDefinition.objects.update(config_schema=SCHEMA)
    body = {"definition": "planner_agent_id", "name": "Second", "config": {"part": "planner"}}
    made = api("editor").post(AGENTS, body, format="json")
    assert made.status_code == 201
    assert (made.json()["slug"], made.json()["status"]) == ("second", "idle")
    assert api("editor").get(made["Location"]).json() == made.json()
    again = api("editor").post(AGENTS, body, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "slug_taken")
    assert api("approver").post(AGENTS, body, format="json").status_code == 403
    for wrong in ({"part": "cook"}, {"other": 1}):
        refused = api("editor").post(AGENTS, {**body, "config": wrong}, format="json")
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["pointer"].startswith("/config")
        assert "cook" not in refused.content.decode()
    refused = api("editor").post(AGENTS, {**body, "definition": "nobody"}, format="json")
    assert refused.status_code == 404


def test_an_agent_is_changed_by_what_is_given(
    api: Any, make_api: Any, outsider: Any, planner: AgentInstance, other_workspace: Any
) -> None:
    path = f"{AGENTS}{planner.id}/"
    changed = api("editor").patch(path, {"max_concurrency": 7}, format="json")
    assert (changed.status_code, changed.json()["max_concurrency"]) == (200, 7)
    assert changed.json()["name"] == planner.name
    theirs = Project.objects.create(workspace=other_workspace, name="P", slug="p")
    for body, code in (
        ({"max_concurrency": 0}, 400),
        ({"max_concurrency": "7"}, 400),
        ({"status": "idle"}, 400),
        ({"workspace_id": str(other_workspace.id)}, 400),
        ({"project_id": str(theirs.id)}, 404),
    ):
        assert api("editor").patch(path, body, format="json").status_code == code
    assert api("viewer").patch(path, {"name": "X"}, format="json").status_code == 403
    assert make_api(outsider).patch(path, {"name": "X"}, format="json").status_code == 404
    event = Event.objects.get(event_type="agent_activity")
    assert event.data == {"activity": "changed", "agent": "planner", "fields": ["max_concurrency"]}


def test_only_superusers_change_what_all_workspaces_share(api: Any, users: Any) -> None:
    body = {"name": "Scout", "agent_type": "demo", "config_schema": SCHEMA}
    assert api("admin").post(DEFINITIONS, body, format="json").status_code == 403
    users["admin"].is_superuser = True
    users["admin"].save()
    made = api("admin").post(DEFINITIONS, body, format="json")
    assert (made.status_code, made.json()["slug"]) == (201, "scout")
    changed = api("admin").patch(made["Location"], {"is_enabled": False}, format="json")
    assert changed.json()["is_enabled"] is False
    again = api("admin").post(DEFINITIONS, body, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "slug_taken")
    wrong = {**body, "slug": "x", "config_schema": {"type": "nonsense"}}
    assert api("admin").post(DEFINITIONS, wrong, format="json").status_code == 400
    assert api("editor").patch(made["Location"], {"name": "X"}, format="json").status_code == 403


# --- what they may spend ------------------------------------------------------------------


def test_the_budget_of_a_workspace_is_told(api: Any, planner: AgentInstance) -> None:
    path, now = "/api/v1/agents/budget/", database_now()
    nothing = api("viewer").get(path).json()
    assert nothing["tokens"] == {
        "budget": None, "granted": 0, "spent": 0, "lost": 0, "reserved": 0,
    }  # fmt: skip
    assert (nothing["cost"]["budget"], nothing["asked_by_step_id"]) == (None, None)
    workspace = planner.workspace
    workspace.settings = {"monthly_agent_tokens": 1_000, "monthly_agent_cost": 2.5}
    workspace.save()
    common = {"workspace": workspace, "agent_instance": planner}
    AgentUsage.objects.create(
        **common, day=now.astimezone(UTC).date(), input_tokens=30, cost_micros=500_000
    )
    AgentReservation.objects.create(
        **common,
        step_execution_id=uuid4(),
        attempt=1,
        reserved_at=now,
        expires_at=now + timedelta(hours=1),
        tokens_reserved=900,
        cost_reserved_micros=1_000_000,
    )
    AgentLoss.objects.create(workspace=workspace, lost_at=now, tokens=5, cost_micros=0)
    step = uuid4()
    AgentBudgetAnswer.objects.create(
        workspace=workspace,
        month=now.astimezone(UTC).date().replace(day=1),
        step_execution_id=step,
        asked_at=now,
    )
    answer = api("viewer").get(path, {"workspace": workspace.slug}).json()
    assert answer == {
        "workspace_id": str(workspace.pk),
        "month": f"{now.astimezone(UTC):%Y-%m}",
        "tokens": {"budget": 1_000, "granted": 0, "spent": 35, "lost": 5, "reserved": 900},
        "cost": {"budget": 2.5, "granted": 0, "spent": 0.5, "lost": 0, "reserved": 1},
        "asked_by_step_id": str(step),
    }


def test_the_budget_of_another_workspace_is_not_told(api: Any, other_workspace: Any) -> None:
    answer = api("viewer").get("/api/v1/agents/budget/", {"workspace": other_workspace.slug})
    assert answer.status_code == 404
