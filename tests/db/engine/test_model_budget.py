"""A model whose tool waits for people, in a workspace whose budget is used up: neither answer is
taken for the other."""

from collections.abc import Iterator

import pytest

from agents.models import AgentDefinition, AgentReservation, AgentType, AgentUsage
from tests.db.agents.model_server import ModelServer
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, request_of, steps_of, temporary
from workflows.models import WorkflowExecution
from workflows.policies import MONTHLY_AGENT_TOKENS

pytestmark = pytest.mark.django_db


@pytest.fixture
def calls() -> Iterator[list[int]]:
    """What a tool was called with that needs an approval."""
    called: list[int] = []

    def deploy(share: int) -> dict[str, int]:
        called.append(share)
        return {"deployed": share}

    with temporary("test.deploy")(deploy):
        yield called


@pytest.fixture
def run(
    scene: Scene, hand: DriverByHand, server: ModelServer, calls: list[int]
) -> WorkflowExecution:
    """A run whose model has asked for the tool, in a workspace where nothing is left after that."""
    scene.workspace.settings = {MONTHLY_AGENT_TOKENS: 1_000}
    scene.workspace.save()
    tools = [{"tool": "test.deploy", "needs_approval": True}]
    prices = {"input_per_million": 1, "output_per_million": 2}
    AgentDefinition.objects.create(
        name="Operator",
        slug="worker",
        agent_type=AgentType.LLM,
        config={"tools": tools, "max_tokens": 1_000, "prices": prices},
    )
    scene.agent("operator", definition="worker")
    call = {"call": [["test_deploy", {"share": 10}]]}
    made = scene.run(agent("act", config={"inputs": call}, max_retries=0))
    hand.work()
    return made


def test_a_tool_is_approved_then_a_budget_then_the_tool_is_called_once(
    scene: Scene, hand: DriverByHand, run: WorkflowExecution, calls: list[int]
) -> None:
    assert request_of(run).title == "Operator wants to call test.deploy"
    [first] = AgentReservation.objects.all()
    assert (first.outcome, first.tokens_reserved) == ("asked", 1_000)
    assert (first.input_tokens, first.output_tokens, first.cost_micros) == (10, 5, 20)
    scene.decide(run)
    hand.work()
    assert calls == [], "there is no budget to go on with"
    assert request_of(run).approval_data["asks_for"] == "agent_budget"
    assert request_of(run).approval_data["tokens"]["spent"] == 15
    scene.decide(run)
    hand.work()
    assert calls == [10]
    run.refresh_from_db()
    assert (run.status, steps_of(run)["act"].pauses) == ("completed", 2)
    used = AgentUsage.objects.get()
    assert (used.steps, used.failures) == (1, 0)
    attempts = AgentReservation.objects.values_list("input_tokens", flat=True)
    assert used.input_tokens == sum(attempts) > 10


def test_without_a_budget_what_was_approved_is_not_called(
    scene: Scene, hand: DriverByHand, run: WorkflowExecution, calls: list[int]
) -> None:
    scene.decide(run)
    hand.work()
    scene.decide(run, "rejected", "Next month")
    hand.work()
    step = steps_of(run)["act"]
    assert (step.status, step.error_code) == ("failed", "budget_exceeded")
    assert step.error_message.endswith("refused more: Next month")
    assert calls == []


def test_an_approved_budget_approves_no_tool(
    scene: Scene, hand: DriverByHand, run: WorkflowExecution, calls: list[int]
) -> None:
    scene.decide(run, "rejected", "Not today")
    hand.work()
    scene.decide(run)
    hand.work()
    assert calls == []
    run.refresh_from_db()
    assert run.status == "completed", "the model was told that it may not"
