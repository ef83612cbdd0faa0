"""Models inside a run: who takes over, whom a refusal marks, and what is told of refused tools."""

from collections.abc import Iterator
from typing import Any

import pytest

from agents.models import AgentDefinition, AgentInstance, AgentReservation, AgentType
from tests.db.agents.model_server import ModelServer, serving
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, events_of, steps_of
from workflows.core.ids import uuid7

pytestmark = pytest.mark.django_db


@pytest.fixture
def servers(settings: Any) -> Iterator[tuple[ModelServer, ModelServer]]:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
    settings.LLM_MODEL = "small"
    with serving() as first, serving() as second:
        yield first, second


@pytest.fixture
def models(scene: Scene, servers: tuple[ModelServer, ModelServer]) -> list[AgentInstance]:
    """Two agents of one definition, each with a server of its own; that of the lower id is first
    where nothing else tells them apart."""
    definition = AgentDefinition.objects.create(
        name="Planner", slug="planner", agent_type=AgentType.LLM, config={"tools": ["transform"]}
    )
    ids = sorted(uuid7() for _ in servers)
    return [
        AgentInstance.objects.create(
            id=agent_id,
            workspace=scene.workspace,
            definition=definition,
            name=name,
            slug=name,
            config={"base_url": server.url},
        )
        for agent_id, name, server in zip(ids, ("first", "second"), servers, strict=True)
    ]


def test_another_model_takes_over_with_the_same_question(
    scene: Scene,
    hand: DriverByHand,
    servers: tuple[ModelServer, ModelServer],
    models: list[AgentInstance],
) -> None:
    first, second = servers
    first.faults = [500]
    orders = {"call": [["transform", {"a": 1}]]}
    run = scene.run(agent("plan", "planner", config={"inputs": orders}, max_retries=0))
    hand.work()
    step = steps_of(run)["plan"]
    assert step.status == "completed"
    assert step.agent_instance_id == models[1].pk
    assert first.questions[0] == second.questions[0]
    assert step.output_data["tools"] == [{"tool": "transform", "outcome": "completed"}]
    assert step.output_data["usage"]["input_tokens"] == 10 + 30
    outcomes = AgentReservation.objects.order_by("attempt").values_list("outcome", flat=True)
    assert list(outcomes) == ["moved", "completed"]


def test_a_tool_that_a_model_was_refused_stands_in_the_events(
    scene: Scene, hand: DriverByHand, models: list[AgentInstance]
) -> None:
    scene.agent("liar", config={"task": "transform"})
    orders = {"call": [[name, {}] for name in ("fail", "transform", "approve", "fail")]}
    forged = {"tools": [{"tool": "x", "outcome": "refused"}]}
    run = scene.run(
        agent("plan", "planner", config={"inputs": orders}),
        agent("forge", "liar", config={"inputs": forged}),
    )
    hand.work()
    assert steps_of(run)["forge"].output_data == forged
    [event] = events_of(run.pk, "agent_activity")
    assert event.data == {"agent": "first", "refused_tools": ["fail", "approve"]}
    assert event.message == "first asked for tools that it does not have: fail, approve"
    step = steps_of(run)["plan"]
    assert (event.actor, event.agent_id) == ("agent:first", models[0].pk)
    assert (event.workflow_execution_id, event.workflow_step_id) == (run.pk, step.pk)


def test_a_refusal_marks_nobody_and_is_not_tried_again(
    scene: Scene,
    hand: DriverByHand,
    servers: tuple[ModelServer, ModelServer],
    models: list[AgentInstance],
) -> None:
    servers[0].faults = [422]
    run = scene.run(agent("plan", "planner"))
    hand.work()
    step = steps_of(run)["plan"]
    assert (step.status, step.error_code) == ("failed", "http_422")
    assert [len(server.questions) for server in servers] == [1, 0]
    assert set(AgentInstance.objects.values_list("status", "faults")) == {("idle", 0)}
