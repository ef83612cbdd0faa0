"""Several agents and a person, from the plan to what was done: with the demo's agents, and with
models behind an API of this machine.

The planner plans, the approver wants changes, the planner revises with that in its memory; once it
is approved the plan is handed on, the executor fails, and another one carries it out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agents.models import (
    AgentDefinition,
    AgentHandoff,
    AgentInstance,
    AgentMemoryEntry,
    AgentMessage,
    AgentReservation,
    AgentType,
)
from tests.db.agents.model_server import ModelServer, serving
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, events_of, gate, request_of, steps_of
from workflows.core.ids import uuid7
from workflows.models import WorkflowExecution

pytestmark = pytest.mark.django_db

FEEDBACK = "Only 5 % at first."
PRICES = {"prices": {"input_per_million": 1_000, "output_per_million": 2_000}}


@dataclass
class Cast:
    """The agents of a story: ``executors`` in the order in which they are asked."""

    planner: AgentInstance
    executors: list[AgentInstance]

    @property
    def first(self) -> AgentInstance:
        return self.executors[0]


def cast_of(scene: Scene, agent_type: AgentType, configs: dict[str, dict[str, Any]]) -> Cast:
    """Make the agents, ``configs`` by their names; the executors are of one definition."""
    definitions = {
        slug: AgentDefinition.objects.create(
            name=slug.capitalize(),
            slug=slug,
            agent_type=agent_type,
            config={"part": slug, **PRICES},
        )
        for slug in ("planner", "executor")
    }

    # That of the lower id is asked first where nothing else tells them apart.
    ids = dict(zip(configs, sorted(uuid7() for _ in configs), strict=True))

    def make(name: str) -> AgentInstance:
        return AgentInstance.objects.create(
            id=ids[name],
            workspace=scene.workspace,
            definition=definitions["planner" if name == "planner" else "executor"],
            name=name.capitalize(),
            slug=name,
            config=configs[name],
        )

    return Cast(make("planner"), [make("first"), make("second")])


@pytest.fixture
def demo(scene: Scene) -> Cast:
    quick = {"seconds": 0}
    configs = {"planner": quick, "first": {**quick, "is_down": True}, "second": quick}
    return cast_of(scene, AgentType.DEMO, configs)


@pytest.fixture
def servers(settings: Any) -> Iterator[dict[str, ModelServer]]:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
    settings.LLM_MODEL = "small"
    with serving() as planner, serving() as first, serving() as second:
        first.faults = ["drop"]
        yield {"planner": planner, "first": first, "second": second}


@pytest.fixture
def models(scene: Scene, servers: dict[str, ModelServer]) -> Cast:
    configs = {name: {"base_url": server.url} for name, server in servers.items()}
    return cast_of(scene, AgentType.LLM, configs)


def play(scene: Scene, hand: DriverByHand, cast: Cast) -> WorkflowExecution:
    """Play the story to its end."""
    handed_on = {"handoff": {"to_agent_id": cast.first.slug, "context_keys": ["plan"]}}
    run = scene.run(
        agent("plan", "planner", config={"inputs": {"task": "Release 2.4"}}),
        gate(after=["plan"], title="Approve the plan"),
        agent(
            "brief", "planner", after=["gate"], config={"inputs": {"task": "Brief"}, **handed_on}
        ),
        agent(
            "carry_out",
            "executor",
            after=["brief"],
            config={
                "inputs": {"plan": "${steps.plan.result}"},
                "assignment_strategy": "least_loaded",
            },
        ),
    )
    hand.work()
    shown = request_of(run).approval_data
    scene.decide(run, "request_changes", FEEDBACK)
    hand.work()
    assert request_of(run).approval_data != shown
    scene.decide(run, feedback="Go.")
    hand.work()
    run.refresh_from_db()
    assert run.status == "completed", steps_of(run)
    return run


def kept(agent: AgentInstance) -> dict[str, Any]:
    entries = AgentMemoryEntry.objects.filter(agent_instance=agent)
    return dict(entries.values_list("memory_key", "memory_data"))


def check(run: WorkflowExecution, cast: Cast) -> None:
    """Check who did what, from whom it was, and what was kept of it."""
    step = steps_of(run)["carry_out"]
    assert (step.agent_instance_id, step.failovers) == (cast.executors[1].id, 1)
    assert kept(cast.planner)["plan.feedback"] == {"feedback": FEEDBACK, "revision": 2}
    [handoff] = AgentHandoff.objects.all()
    assert (handoff.from_agent, handoff.to_agent) == (cast.planner, cast.first)
    assert handoff.context_keys == ["plan"]
    assert {"plan", "brief"} <= set(kept(cast.first))
    # Who took over was told what had been handed on to the one that failed.
    told = AgentMessage.objects.get(
        step_execution_id=step.id, attempt=2, data__has_key="memory_keys"
    )
    assert {"plan", "brief"} <= set(told.data["memory_keys"])
    outcomes = AgentReservation.objects.filter(step_execution_id=step.id).order_by("attempt")
    assert list(outcomes.values_list("outcome", flat=True)) == ["moved", "completed"]
    activities = [e.data.get("activity") for e in events_of(run.pk, "agent_activity")]
    assert "handoff" in activities


def test_with_the_demos_agents(scene: Scene, hand: DriverByHand, demo: Cast) -> None:
    run = play(scene, hand, demo)
    check(run, demo)
    plan = kept(demo.first)["plan"]
    assert plan["stages"][0]["share_percent"] == 5
    assert steps_of(run)["carry_out"].output_data["plan"] == plan


def test_with_models(
    scene: Scene,
    hand: DriverByHand,
    models: Cast,
    servers: dict[str, ModelServer],
    client_for: Callable[[str], Any],
) -> None:
    run = play(scene, hand, models)
    check(run, models)
    # The second time the planner is told what it said, what it remembers, and what to change.
    said = [message["content"] for message in servers["planner"].questions[1]["messages"]]
    assert '"plan.feedback"' in said[0]
    assert FEEDBACK in said[-1]
    assert len(servers["first"].questions) == len(servers["second"].questions) == 1
    spent = AgentReservation.objects.get(step_execution_id=steps_of(run)["carry_out"].id, attempt=2)
    assert spent.cost_micros == spent.input_tokens * 1_000 + spent.output_tokens * 2_000 > 0

    page = client_for("viewer").get(f"/executions/{run.pk}/?step=carry_out").content.decode()
    assert "Second" in page
    assert "least loaded" in page
    assert "first" in page  # from whom it was taken over
    assert "plan, brief" in page or "brief, plan" in page
    assert f"{spent.input_tokens} tokens in, {spent.output_tokens} out, cost" in page
