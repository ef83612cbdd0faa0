"""Which agent takes a step, and that no agent ever holds more than it has places."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agents.models import AgentDefinition, AgentInstance, AgentReservation
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    agent,
    ended,
    eventually,
    statuses,
    steps_of,
    task,
    temporary,
)
from workflows.clock import database_now
from workflows.core.outcomes import Failed
from workflows.engine.driver import Driver
from workflows.models import Project, WorkflowExecution
from workflows.services.executions import start_execution

pytestmark = pytest.mark.django_db


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


def held() -> int:
    return AgentReservation.objects.filter(released_at=None).count()


def steps(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [agent(f"s{n}", **fields) for n in range(count)]


# --- eligible -----------------------------------------------------------------------------


def test_an_agent_is_named_by_its_definition_or_itself(scene: Scene, hand: DriverByHand) -> None:
    one = scene.agent("one", definition="worker")
    other = scene.agent("other", definition="worker")
    by_itself = {**agent("c", "other"), "agent_instance_id": "other"}
    del by_itself["agent_definition_id"]
    by_id = {**by_itself, "name": "d", "agent_instance_id": str(one.id)}
    AgentInstance.objects.update(max_concurrency=10)
    execution = scene.run(
        agent("a"), agent("b", str(one.definition_id)), by_itself, by_id, agent("e")
    )
    hand.work()
    chosen = {name: step.agent_instance_id for name, step in steps_of(execution).items()}
    assert chosen["c"] == other.id
    assert chosen["d"] == one.id
    assert {chosen["a"], chosen["b"], chosen["e"]} <= {one.id, other.id}
    assert row(execution).status == "completed"


def disable(worker: AgentInstance) -> None:
    AgentInstance.objects.filter(id=worker.id).update(is_enabled=False)


def disable_definition(worker: AgentInstance) -> None:
    AgentDefinition.objects.filter(id=worker.definition_id).update(is_enabled=False)


def fail(worker: AgentInstance) -> None:
    AgentInstance.objects.filter(id=worker.id).update(status="error")


def leave(worker: AgentInstance) -> None:
    AgentInstance.objects.filter(id=worker.id).update(status="offline")


def forget_a_skill(worker: AgentInstance) -> None:
    AgentDefinition.objects.filter(id=worker.definition_id).update(capabilities=["plan"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (disable, "worker"),
        (disable_definition, "worker"),
        (fail, "worker"),
        (leave, "worker"),
        (forget_a_skill, "lacks deploy"),
    ],
)
def test_without_an_eligible_agent_the_step_fails_and_says_what_is_missing(
    scene: Scene, hand: DriverByHand, change: Callable[[AgentInstance], None], why: str
) -> None:
    worker = scene.agent(capabilities=["plan", "deploy"])
    step = agent("s", config={"required_capabilities": ["plan", "deploy"]})
    workflow = scene.workflow(step, task("t", after=["s"]))
    change(worker)
    execution = scene.start(workflow)
    hand.work()
    assert (row(execution).status, row(execution).error_code) == ("failed", "no_eligible_agent")
    assert why in row(execution).error_message
    assert statuses(execution) == {"s": "failed", "t": "skipped upstream_failed"}
    assert held() == 0


def test_an_agent_of_a_project_works_for_that_project_only(
    scene: Scene, hand: DriverByHand
) -> None:
    project, other = (
        Project.objects.create(workspace=scene.workspace, name=slug, slug=slug)
        for slug in ("one", "other")
    )
    scene.agent(project=project)
    workflow = scene.workflow(agent("s"))
    runs = [
        start_execution(workflow, input_variables={}, user=None, door="api", project=where)
        for where in (project, other, None)
    ]
    hand.work()
    assert [row(run).status for run in runs] == ["completed", "failed", "failed"]
    assert "another project" in row(runs[1]).error_message


def test_an_agent_of_another_workspace_is_never_taken(
    scene: Scene, hand: DriverByHand, other_workspace: Any
) -> None:
    ours = scene.agent(slug="ours", definition="worker")
    scene.agent(slug="theirs", definition="worker", workspace=other_workspace)
    execution = scene.run(agent("s"))
    hand.work()
    assert steps_of(execution)["s"].agent_instance_id == ours.id


# --- chosen -------------------------------------------------------------------------------


def strategy(name: str, **config: Any) -> dict[str, Any]:
    return {"config": {"assignment_strategy": name, **config}}


def test_round_robin_goes_round_even_over_drivers(scene: Scene, hand: DriverByHand) -> None:
    agents = [scene.agent(f"w{n}", definition="worker", places=10) for n in range(3)]
    first = scene.run(*steps(4, **strategy("round_robin")))
    hand.work()
    second = scene.run(*steps(2, **strategy("round_robin")))
    DriverByHand().work()
    order = AgentReservation.objects.order_by("reserved_at", "id")
    by_run = [
        [r.agent_instance_id for r in order.filter(step_execution_id__in=ids)]
        for ids in ([s.id for s in steps_of(run).values()] for run in (first, second))
    ]
    ids = sorted(worker.id for worker in agents)
    assert sorted(by_run[0]) == sorted([*ids, ids[0]])
    assert sorted(by_run[1]) == sorted(ids[1:])


def test_least_loaded_takes_the_one_with_the_smallest_share_taken(
    scene: Scene, hand: DriverByHand
) -> None:
    small = scene.agent("small", definition="worker", places=1)
    large = scene.agent("large", definition="worker", places=4)
    scene.run(*steps(5, **strategy("least_loaded")))
    hand.turn()
    count = AgentReservation.objects.filter(released_at=None)
    assert count.filter(agent_instance=small).count() == 1
    assert count.filter(agent_instance=large).count() == 4


def test_capability_match_takes_the_specialist(scene: Scene, hand: DriverByHand) -> None:
    generalist = scene.agent("generalist", capabilities=["plan", "deploy", "cook"])
    specialist = scene.agent("specialist", capabilities=["plan"])
    definition = AgentDefinition.objects.get(slug="generalist")
    definition.slug = "unused"
    definition.save()
    execution = scene.run(agent("s", "specialist", config={"required_capabilities": ["plan"]}))
    hand.work()
    assert steps_of(execution)["s"].agent_instance_id == specialist.id != generalist.id


def test_an_assignment_says_why(scene: Scene, hand: DriverByHand) -> None:
    scene.agent("one", definition="worker", capabilities=["plan"])
    project = Project.objects.create(workspace=scene.workspace, name="P", slug="p")
    scene.agent("two", definition="worker", project=project)
    execution = scene.run(agent("s", **strategy("least_loaded", required_capabilities=["plan"])))
    hand.work()
    reservation = AgentReservation.objects.get()
    assert reservation.reason["strategy"] == "least_loaded"
    assert list(reservation.reason["candidates"]) == ["one"]
    assert reservation.reason["refused"] == {"two": "it belongs to another project"}
    assert (reservation.outcome, reservation.attempt) == ("completed", 1)
    assert reservation.step_execution_id == steps_of(execution)["s"].id


def test_steps_of_two_workspaces_in_one_turn_learn_nothing_of_each_others_agents(
    scene: Scene, hand: DriverByHand, other_workspace: Any, make_member: Any
) -> None:
    members = {role: make_member(f"their-{role}", other_workspace, role)
               for role in ("editor", "operator")}  # fmt: skip
    theirs = Scene(other_workspace, members)
    scene.agent("ours", definition="worker")
    theirs.agent("theirs", definition="worker")
    runs = {"mine": scene.run(agent("mine")), "other": theirs.run(agent("other"))}
    hand.work()
    assert {steps_of(run)[name].status for name, run in runs.items()} == {"completed"}
    assert [r.reason["refused"] for r in AgentReservation.objects.all()] == [{}, {}]


# --- places -------------------------------------------------------------------------------


def test_a_busy_agent_is_waited_for(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=2)
    execution = scene.run(*steps(5))
    hand.turn()
    assert (len(hand.begun), held()) == (2, 2)
    while hand.begun:
        WorkflowExecution.objects.update(wake_at=database_now())
        hand.finish(next(iter(hand.begun)))
        assert held() <= 2
    assert row(execution).status in ("completed", "waiting", "running")
    hand.holdings.hand_back_all()
    DriverByHand().work()
    eventually(lambda: held() == 0, "no place held")


def test_a_place_that_was_given_back_is_used_in_the_same_turn(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent(places=1)
    execution = scene.run(
        agent("a"), agent("b", after=["a"]), agent("c", after=["b"]), max_retries=0
    )
    hand.turn()
    for name in "abc":
        assert set(hand.begun) == {name}
        hand.finish(name)
    assert row(execution).status == "completed"


def test_a_failed_attempt_gives_its_place_back(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=1)
    execution = scene.run(agent("a", config=AT_ONCE, max_retries=1))
    hand.turn()
    hand.turn(hand.result("a", Failed("error", "x")))
    hand.work()
    assert row(execution).status == "completed"
    outcomes = AgentReservation.objects.order_by("attempt").values_list("attempt", "outcome")
    assert list(outcomes) == [(1, "failed"), (2, "completed")]


def test_who_waits_for_an_agent_waits_no_longer_than_an_attempt_may_take(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent(places=1)
    busy = scene.run(agent("a"))
    hand.turn()
    waiting = scene.run(agent("a", timeout_seconds=60), task("t", after=["a"]))
    hand.turn()
    assert row(waiting).status == "waiting"
    assert row(waiting).active_since is not None, "its own time passes"
    long_ago = database_now() - timedelta(seconds=61)
    runs = WorkflowExecution.objects.filter(id=waiting.id)
    runs.update(started_at=long_ago, wake_at=long_ago)
    hand.turn()
    assert row(waiting).error_code == "timeout"
    assert statuses(waiting) == {"a": "timeout", "t": "skipped upstream_failed"}
    hand.finish("a")
    assert row(busy).status == "completed"


def test_who_waits_for_an_agent_does_not_start_after_a_failure_with_fail_fast(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent(places=1)
    busy = scene.run(agent("hold"))
    hand.turn()
    execution = scene.run(
        task("fails"), task("ok"), agent("w", after=["ok", "fails"], trigger_rule="one_success"),
        config={"fail_fast": True},
    )  # fmt: skip
    hand.turn()
    hand.turn(hand.result("ok"))
    assert "w" not in statuses(execution)
    hand.turn(hand.result("fails", Failed("error", "x", is_final=True)))
    WorkflowExecution.objects.filter(id=execution.id).update(wake_at=database_now())
    hand.finish("hold")
    hand.work()
    assert row(busy).status == "completed"
    eventually(lambda: (hand.work(), row(execution).is_ended)[1], "its end", 5)
    assert statuses(execution)["w"] == "skipped upstream_failed"


def test_a_place_that_was_never_given_back_is_free_after_its_time(
    scene: Scene, hand: DriverByHand
) -> None:
    worker = scene.agent(places=1)
    now = database_now()
    AgentReservation.objects.create(
        workspace=scene.workspace,
        agent_instance=worker,
        step_execution_id=worker.id,
        attempt=1,
        reserved_at=now - timedelta(hours=2),
        expires_at=now - timedelta(hours=1),
    )
    execution = scene.run(agent("a"))
    hand.work()
    assert row(execution).status == "completed"


@pytest.mark.django_db(transaction=True)
def test_agents_never_hold_more_than_their_places_with_several_drivers(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    now, most = [0], [0]

    @temporary("test.busy")
    async def busy() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        try:
            await asyncio.sleep(0.02)
        finally:
            now[0] -= 1

    scene.agent(places=3, config={"task": "test.busy"})
    with busy:
        workflow = scene.workflow(*steps(2))
        executions = [scene.start(workflow) for _ in range(6)]
        for _ in range(2):
            launch()
        for execution in executions:
            assert ended(execution, 30).status == "completed"
    assert AgentReservation.objects.count() == 12
    assert held() == 0
    assert most[0] <= 3
