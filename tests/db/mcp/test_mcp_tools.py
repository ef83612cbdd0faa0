"""What agents outside can do through MCP: what REST lets them, and never decide."""

import asyncio
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from approvals import waiting
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.questions import ask
from mgx.mcp.protocol import TOOLS
from mgx.mcp.rest import Refused
from tests.db.engine.by_hand import DriverByHand
from workflows.live.tailer import tailer
from workflows.models import ApiToken, Event, WorkflowExecution
from workflows.services.access import revoke_token

pytestmark = pytest.mark.django_db(transaction=True)

PAYLOAD = {"pay": 300, "to": "ACME"}


def settle(approval_id, user, outcome="approved", **said):
    try:
        decide(Decision(UUID(approval_id), outcome, **said), user=user, door=Door.API)
    finally:
        connections.close_all()


class TestAsking:
    def test_opens_the_request_that_rest_opens(self, agent, users) -> None:
        made = agent.call(
            "request_approval",
            title="Pay the invoice",
            description="It is due.",
            payload=PAYLOAD,
            approvers=["user123"],
            risk="high",
            expires_after_seconds=600,
        )
        row = WorkflowStepApproval.objects.get(id=made["id"])
        assert (row.title, row.approval_data, row.risk) == ("Pay the invoice", PAYLOAD, "high")
        assert row.required_approvers == made["missing"] == ["user123"]
        assert (row.requested_by, row.digest) == (users["operator"], made["digest"])
        assert (row.expires_at - row.requested_at).total_seconds() == 600
        assert made["url"].endswith(f"/approvals/{row.id}/")
        event = Event.objects.get(event_type="approval_required")
        assert event.actor == "user:operator"

    def test_once_for_each_key(self, agent) -> None:
        first, second = (
            agent.call("request_approval", title="Once", idempotency_key="k1") for _ in range(2)
        )
        assert first == second
        other = agent.refusal("request_approval", title="Other", idempotency_key="k1")
        assert (other["code"], other["status"]) == ("idempotency_key_reused", 422)

    def test_says_what_is_wrong_by_its_own_names(self, agent) -> None:
        problem = agent.refusal(
            "request_approval", title="x", payload={"a": "\x00"}, approvers=["nobody"]
        )
        assert problem["status"] == 400
        problem = agent.refusal("request_approval", title="x", approvers=["user123", "nobody"])
        assert [each["pointer"] for each in problem["errors"]] == ["/approvers/1"]

    def test_a_viewer_may_not(self, users, make_agent) -> None:
        problem = make_agent(users["viewer"]).refusal("request_approval", title="x")
        assert (problem["status"], problem["required_role"]) == (403, "operator")

    def test_a_token_without_the_scope_may_not(self, users, make_agent) -> None:
        reader = make_agent(users["operator"], ["read"])
        problem = reader.refusal("request_approval", title="x")
        assert (problem["code"], problem["scope"]) == ("insufficient_scope", "write")
        assert reader.call("list_approvals") == {"approvals": [], "next_cursor": None}

    def test_asks_again_after_changes_were_requested(self, agent, users) -> None:
        made = agent.call("request_approval", title="x", payload={"a": 1})
        settle(made["id"], users["approver"], "request_changes", feedback="Make it 2")
        told = agent.call("wait_for_decision", id=made["id"])
        assert (told["status"], told["feedback"]) == ("request_changes", "Make it 2")
        again = agent.call("request_approval", title="x", payload={"a": 2}, revises=made["id"])
        assert again["revision"] == 2


class TestWaiting:
    async def test_returns_what_was_decided_as_soon_as_it_is(self, agent, users) -> None:
        made = await agent.acall("request_approval", title="x", payload=PAYLOAD)
        wait = asyncio.create_task(agent.acall("wait_for_decision", id=made["id"], seconds=60))
        async with asyncio.timeout(10):
            while not waiting.waiters()._waiting:
                await asyncio.sleep(0.005)
        assert not wait.done()
        await sync_to_async(settle)(made["id"], users["approver"], feedback="Fine")
        async with asyncio.timeout(10):
            told = await wait
        await tailer().stop()
        assert told["status"] == "approved"
        assert (told["decided_by"], told["feedback"]) == ("user123", "Fine")
        assert (told["payload"], told["digest"]) == (PAYLOAD, made["digest"])

    def test_returns_what_people_edited_and_filled_in(self, agent, users) -> None:
        form = {
            "type": "object",
            "properties": {"amount": {"type": "number", "x-edits": "/pay"}},
        }
        made = agent.call("request_approval", title="x", payload=PAYLOAD, form_schema=form)
        settle(made["id"], users["approver"], response_data={"amount": 250})
        told = agent.call("wait_for_decision", id=made["id"])
        assert told["response_data"] == {"amount": 250}
        assert told["payload"] == PAYLOAD | {"pay": 250}
        assert told["digest"] != made["digest"]

    def test_returns_when_the_time_is_over(self, agent) -> None:
        made = agent.call("request_approval", title="x")
        assert agent.call("wait_for_decision", id=made["id"], seconds=0)["status"] == "pending"

    @pytest.mark.parametrize("seconds", [-1, 61, "10", None, True])
    def test_waits_no_longer_than_a_minute(self, agent, seconds) -> None:
        problem = agent.refusal("wait_for_decision", id=str(uuid4()), seconds=seconds)
        assert [each["pointer"] for each in problem["errors"]] == ["/seconds"]

    def test_a_question_is_told_and_answered(self, agent, users) -> None:
        made = agent.call("request_approval", title="x")
        ask(UUID(made["id"]), user=users["approver"], body="Why?")
        (question,) = agent.call("wait_for_decision", id=made["id"], seconds=0)["questions"]
        assert (question["body"], question["answer"]) == ("Why?", "")
        agent.call("answer_question", question_id=question["id"], answer_text="It is due.")
        (question,) = agent.call("get_approval", id=made["id"])["questions"]
        assert question["answer"] == "It is due."


class TestLooking:
    def test_lists_by_status_page_by_page(self, agent) -> None:
        made = [agent.call("request_approval", title=f"No. {n}")["id"] for n in range(3)]
        agent.call("cancel_request", id=made[0])
        page = agent.call("list_approvals", status="pending", limit=1)
        assert [each["id"] for each in page["approvals"]] == [made[2]]
        page = agent.call("list_approvals", status="pending", cursor=page["next_cursor"])
        assert [each["id"] for each in page["approvals"]] == [made[1]]
        assert page["next_cursor"] is None
        (gone,) = agent.call("list_approvals", status="cancelled")["approvals"]
        assert (gone["id"], gone["status"]) == (made[0], "cancelled")

    def test_a_request_is_withdrawn_once(self, agent) -> None:
        made = agent.call("request_approval", title="x")
        agent.call("cancel_request", id=made["id"])
        problem = agent.refusal("cancel_request", id=made["id"])
        assert (problem["code"], problem["status"]) == ("already_decided", 409)

    def test_says_whose_token_it_is(self, agent) -> None:
        told = agent.call("who_am_i")
        assert told["username"] == "operator"
        assert told["workspaces"] == [{"workspace": "acme", "name": "Acme", "role": "operator"}]

    def test_lists_agents(self, agent, agents) -> None:
        found = agent.call("list_agents", workspace="acme")["agents"]
        assert [each["slug"] for each in found] == ["executor", "planner"]
        assert {each["load"] for each in found} == {0}


class TestRuns:
    def test_finds_starts_and_watches_a_workflow(self, agent, workflow) -> None:
        (found,) = agent.call("list_workflows", words="dep")["workflows"]
        assert (found["name"], found["published_version"]) == ("Deploy", 1)
        told = agent.call("get_workflow", id=found["id"])
        assert [each["name"] for each in told["variables"]] == ["task_description"]
        assert [each["step_type"] for each in told["steps"]] == ["agent", "approval", "agent"]
        started = agent.call(
            "start_workflow",
            workflow="Deploy",
            inputs={"task_description": "x"},
            idempotency_key="start-1",
        )
        again = agent.call(
            "start_workflow",
            workflow="Deploy",
            inputs={"task_description": "x"},
            idempotency_key="start-1",
        )
        assert started == again
        assert WorkflowExecution.objects.get().started_by.username == "operator"
        run = agent.call("get_run", id=started["id"])
        assert (run["status"], run["all_steps"], run["waits_for"]) == ("pending", True, [])
        assert [each["status"] for each in run["steps"]] == ["pending"] * 3

    def test_tells_what_a_run_waits_for_and_what_it_came_to(self, agent, workflow, users) -> None:
        id = agent.call("start_workflow", workflow="Deploy", inputs={"task_description": "x"})["id"]
        hand = DriverByHand()
        hand.work()
        run = agent.call("get_run", id=id)
        assert (run["status"], [each["status"] for each in run["steps"]][:2]) == (
            "waiting",
            ["completed", "waiting"],
        )
        (asked,) = run["waits_for"]
        assert (asked["title"], asked["missing"]) == ("Approve Deployment Plan", ["user123"])
        (found,) = agent.call("list_approvals", run=id)["approvals"]
        assert (found["id"], found["workflow"]) == (asked["id"], "Deploy")
        assert agent.call("list_approvals", run=str(uuid4()))["approvals"] == []
        settle(asked["id"], users["approver"])
        hand.work()
        run = agent.call("get_run", id=id)
        assert (run["status"], run["waits_for"], run["results_complete"]) == ("completed", [], True)
        assert set(run["results"]) == {"generate_plan", "approval_gate", "execute_plan"}

    def test_says_which_inputs_are_wrong(self, agent, workflow) -> None:
        problem = agent.refusal("start_workflow", workflow="Deploy", inputs={"task": "x"})
        assert problem["status"] == 400
        assert all(each["pointer"].startswith("/inputs") for each in problem["errors"])

    def test_a_viewer_may_look_and_not_start(self, users, make_agent, workflow) -> None:
        viewer = make_agent(users["viewer"])
        assert viewer.call("list_workflows")["workflows"]
        problem = viewer.refusal(
            "start_workflow", workflow="Deploy", inputs={"task_description": "x"}
        )
        assert problem["status"] == 403
        assert not WorkflowExecution.objects.exists()


class TestOfOtherWorkspaces:
    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("wait_for_decision", {"seconds": 0}),
            ("get_approval", {}),
            ("cancel_request", {}),
        ],
    )
    def test_requests_are_not_there(self, agent, outsider, make_agent, name, arguments) -> None:
        theirs = make_agent(outsider).call("request_approval", title="Secret")
        problem = agent.refusal(name, id=theirs["id"], **arguments)
        assert (problem["status"], problem["code"]) == (404, "not_found")
        assert agent.call("list_approvals")["approvals"] == []

    def test_workflows_and_runs_are_not_there(self, workflow, outsider, make_agent) -> None:
        theirs = make_agent(outsider)
        assert theirs.call("list_workflows")["workflows"] == []
        for problem in (
            theirs.refusal("get_workflow", id=str(workflow.pk)),
            theirs.refusal("start_workflow", workflow=str(workflow.pk)),
            theirs.refusal("start_workflow", workflow="Deploy", workspace="acme"),
            theirs.refusal("get_run", id=str(uuid4())),
            theirs.refusal("request_approval", title="x", workspace="acme"),
        ):
            assert problem["status"] == 404


class TestNobodyDecides:
    def test_no_tool_decides(self, agent, users, make_agent) -> None:
        assert set(TOOLS) == {
            "request_approval",
            "wait_for_decision",
            "get_approval",
            "list_approvals",
            "answer_question",
            "cancel_request",
            "who_am_i",
            "list_workflows",
            "get_workflow",
            "start_workflow",
            "get_run",
            "list_agents",
        }
        made = agent.call("request_approval", title="x")
        told = make_agent(users["approver"]).ask(
            "tools/call", name="approve", arguments={"id": made["id"]}
        )
        assert told["error"]["code"] == -32602

    @pytest.mark.parametrize("id", ["../approve", "%2e%2e/approve", "x' OR 1", "", 7, None])
    def test_an_id_leads_nowhere_else(self, agent, id) -> None:
        problem = agent.refusal("cancel_request", id=id)
        assert problem["errors"][0]["pointer"] == "/id"


class TestTokens:
    def test_one_that_was_revoked_is_refused_from_then_on(self, agent) -> None:
        assert agent.call("list_agents") == {"agents": [], "next_cursor": None}
        revoke_token(ApiToken.objects.get())
        assert agent.refusal("list_agents")["status"] == 401

    def test_one_of_a_person_who_left_is_refused(self, agent, users) -> None:
        users["operator"].is_active = False
        users["operator"].save()
        assert agent.refusal("list_agents")["status"] == 401


def test_a_fault_here_is_told_without_its_words(agent, monkeypatch) -> None:
    async def fail(tool, api):
        raise RuntimeError("canary")

    monkeypatch.setattr(TOOLS["list_agents"], "answer", fail)
    told = agent.ask("tools/call", name="list_agents")
    assert told["error"] == {"code": -32603, "message": "Something went wrong here."}


def test_without_the_database_a_tool_says_when_to_try_again(agent, monkeypatch) -> None:
    async def away(tool, api):
        raise Refused({"code": "database_unavailable", "status": 503}, "2")

    monkeypatch.setattr(TOOLS["list_agents"], "answer", away)
    result = agent.ask("tools/call", name="list_agents")["result"]
    assert "Try again in 2 seconds." in result["content"][0]["text"]
