"""Tools that people approve first: what they are asked, and what becomes of their answer."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from agents.models import AgentDefinition, AgentInstance, AgentPause, AgentReservation, AgentType
from agents.services.pauses import forget_memos
from approvals.models import ApprovalStatus, WorkflowStepApproval
from tests.db.agents.model_server import ModelServer
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, gate, request_of, steps_of, temporary
from workflows.clock import database_now
from workflows.engine import leases
from workflows.engine.bodies import run_body
from workflows.errors import NotPermitted
from workflows.models import WorkflowExecution
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db

ARGUMENTS = {"service": "checkout", "share": 10}


class Deployed:
    """A task that is a tool: what it was called with, by which key."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.keys: list[str] = []

    def task(self, service: str, share: int, context: Any) -> dict[str, Any]:
        """Deploy to a share of the hosts."""
        self.calls.append((service, share))
        self.keys.append(context.idempotency_key)
        return {"deployed": share}


@pytest.fixture
def deployed() -> Iterator[Deployed]:
    made = Deployed()
    with temporary("test.deploy")(made.task):
        yield made


@pytest.fixture
def model(scene: Scene, server: ModelServer, deployed: Deployed) -> AgentInstance:
    """A model that may deploy once that is approved, and transform as it likes."""
    tools = ["transform", {"tool": "test.deploy", "needs_approval": True}]
    definition = AgentDefinition.objects.create(
        name="Operator", slug="worker", agent_type=AgentType.LLM, config={"tools": tools}
    )
    return AgentInstance.objects.create(
        workspace=scene.workspace, definition=definition, name="Operator", slug="operator"
    )


def calling(*calls: list[Any], **fields: Any) -> dict[str, Any]:
    return agent("act", config={"inputs": {"call": list(calls)}}, max_retries=0, **fields)


def asked(scene: Scene, hand: DriverByHand, *calls: list[Any]) -> WorkflowExecution:
    """Start a run whose model has asked for calls, and stopped."""
    run = scene.run(calling(*(calls or (["test_deploy", ARGUMENTS],))))
    hand.work()
    return run


def act_of(run: WorkflowExecution) -> Any:
    return steps_of(run)["act"]


def last_result(server: ModelServer) -> str:
    return server.questions[-1]["messages"][-1]["content"]


def test_the_step_waits_for_people_with_the_exact_arguments(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = asked(scene, hand)
    request = request_of(run)
    assert request.title == "Operator wants to call test.deploy"
    assert request.approval_data == {"tool": "test.deploy", "arguments": ARGUMENTS}
    assert request.risk == "high"
    step = act_of(run)
    assert (step.status, step.attempts, step.pauses) == ("waiting", 1, 1)
    assert request.step_execution_id == step.id
    assert deployed.calls == []
    [place] = AgentReservation.objects.all()
    assert place.outcome == "asked"
    assert place.released_at is not None
    run.refresh_from_db()
    assert run.status == "waiting"


def test_what_is_approved_is_called_once_and_the_conversation_goes_on(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    model: AgentInstance,
    deployed: Deployed,
) -> None:
    run = asked(scene, hand)
    scene.decide(run, feedback="Watch the error rate.")
    hand.work()
    step = act_of(run)
    assert (step.status, step.attempts, step.pauses) == ("completed", 2, 1)
    assert deployed.calls == [("checkout", 10)]
    assert step.output_data["tools"] == [
        {"tool": "test.deploy", "outcome": "completed", "decided_by": "user123"}
    ]
    # Asked twice in all: what it said before the pause was not asked for again.
    assert step.output_data["usage"]["calls"] == len(server.questions) == 2
    assert step.output_data["usage"]["input_tokens"] == 10 + 30
    assert '"their_words":"Watch the error rate."' in last_result(server)
    forget_memos()
    assert not AgentPause.objects.exists()


def test_the_attempt_that_asked_ended_when_it_did(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed, api: Any
) -> None:
    run = asked(scene, hand)

    def attempts() -> list[tuple[int, str, datetime]]:
        [entry] = api("viewer").get(f"/api/v1/executions/{run.pk}/timeline/").json()["results"]
        told = [(each["number"], each["outcome"], each["ended_at"]) for each in entry["attempts"]]
        return [(number, outcome, datetime.fromisoformat(at)) for number, outcome, at in told]

    first = (1, "asked", request_of(run).requested_at)
    assert attempts() == [first]
    scene.decide(run)
    hand.work()
    assert attempts() == [first, (2, "completed", act_of(run).completed_at)]


@pytest.mark.parametrize(
    ("outcome", "word"), [("rejected", "rejected"), ("request_changes", "request_changes")]
)
def test_what_is_not_approved_is_told_to_the_model_which_goes_on(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    model: AgentInstance,
    deployed: Deployed,
    outcome: str,
    word: str,
) -> None:
    run = asked(scene, hand)
    scene.decide(run, outcome, "Only 5 percent.")
    hand.work()
    step = act_of(run)
    assert step.status == "completed"
    assert deployed.calls == []
    assert step.output_data["tools"] == [
        {"tool": "test.deploy", "outcome": "not_approved", "decided_by": "user123"}
    ]
    assert f"did not approve this call ({word}): Only 5 percent." in last_result(server)


def test_several_calls_are_asked_about_one_by_one_and_the_others_made_at_once(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    model: AgentInstance,
    deployed: Deployed,
) -> None:
    other = {**ARGUMENTS, "share": 50}
    run = asked(
        scene,
        hand,
        ["transform", {"a": 1}],
        ["test_deploy", ARGUMENTS],
        ["test_deploy", other],
    )
    assert request_of(run).approval_data["arguments"] == ARGUMENTS
    scene.decide(run)
    hand.work()
    assert deployed.calls == [("checkout", 10)]
    assert request_of(run).approval_data["arguments"] == other
    scene.decide(run, "rejected", "Too many.")
    hand.work()
    step = act_of(run)
    assert (step.status, step.attempts, step.pauses) == ("completed", 3, 2)
    assert deployed.calls == [("checkout", 10)]
    outcomes = [call["outcome"] for call in step.output_data["tools"]]
    assert outcomes == ["completed", "completed", "not_approved"]
    assert WorkflowStepApproval.objects.count() == 2


def test_arguments_that_the_tool_cannot_take_ask_nobody(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = asked(scene, hand, ["test_deploy", {"service": "checkout", "share": "many"}])
    step = act_of(run)
    assert (step.status, step.pauses) == ("completed", 0)
    assert step.output_data["tools"][0]["outcome"] == "invalid_inputs"
    assert not WorkflowStepApproval.objects.exists()


def test_another_agent_goes_on_without_calling_again_where_the_first_one_fails(
    scene: Scene,
    hand: DriverByHand,
    server: ModelServer,
    model: AgentInstance,
    deployed: Deployed,
) -> None:
    AgentInstance.objects.create(
        workspace=scene.workspace, definition=model.definition, name="Second", slug="second"
    )
    run = asked(scene, hand)
    scene.decide(run)
    server.faults = [500]  # after the call was made
    hand.work()
    step = act_of(run)
    assert (step.status, step.attempts, step.pauses, step.failovers) == ("completed", 3, 1, 1)
    assert deployed.calls == [("checkout", 10)]


def test_a_worker_that_dies_after_the_answer_repeats_the_call_with_the_same_key(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = asked(scene, hand)
    scene.decide(run)
    hand.turn()
    asyncio.run(run_body(hand.begun["act"]))  # and nobody hears of it
    leases.fence(hand.holdings.driver_id, database_now())
    DriverByHand().work()
    step = act_of(run)
    assert (step.status, step.crashes) == ("completed", 1)
    assert deployed.calls == [("checkout", 10)] * 2
    assert len(set(deployed.keys)) == 1


def test_a_run_that_is_cancelled_withdraws_what_its_agent_asks(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = asked(scene, hand)
    cancel_execution(run.id, user=scene.users["operator"])
    assert WorkflowStepApproval.objects.get().status == ApprovalStatus.CANCELLED
    assert act_of(run).status == "cancelled"
    assert forget_memos() == 1


def test_nobody_below_an_approver_decides_on_a_call(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = asked(scene, hand)
    with pytest.raises(NotPermitted):
        scene.decide(run, role="viewer")


def test_work_that_is_sent_back_later_is_asked_about_anew(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    run = scene.run(calling(["test_deploy", ARGUMENTS]), gate(after=["act"]))
    hand.work()
    scene.decide(run)
    hand.work()
    scene.decide(run, "request_changes", "Once more.")
    hand.work()
    request = request_of(run)
    assert request.approval_data["tool"] == "test.deploy"
    assert (request.step_execution.revision, request.revision_count) == (2, 1)


def test_a_block_whose_time_is_up_withdraws_what_its_agent_asks(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed
) -> None:
    inner = calling(["test_deploy", ARGUMENTS])
    run = scene.run(
        {
            "name": "block",
            "step_type": "parallel",
            "timeout_seconds": 60,
            "config": {"steps": [inner]},
        }
    )
    hand.work()
    assert request_of(run)
    hand.turn(ahead=61.0)
    assert WorkflowStepApproval.objects.get().status == ApprovalStatus.CANCELLED
    assert act_of(run).status == "cancelled"


def test_the_page_says_what_each_answer_leads_to(
    scene: Scene, hand: DriverByHand, model: AgentInstance, deployed: Deployed, client_for: Any
) -> None:
    run = asked(scene, hand)
    page = client_for("approver").get(f"/approvals/{request_of(run).id}/").content.decode()
    assert "<code>act</code> goes on at once, with exactly the content below." in page
    assert "<code>act</code> is told so, and goes on without it." in page
    assert "<code>act</code>, which may ask anew." in page
    assert "with the answer “timed out”" in page
    assert "Operator" in page
