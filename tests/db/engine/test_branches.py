"""Branches, fallbacks, and runs that stand still."""

from typing import Any

import pytest

from agents.models import AgentReservation
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent, gate, statuses, steps_of, task
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed
from workflows.engine import leases
from workflows.engine.inputs import dump_json
from workflows.models import WorkflowExecution
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db

BROKEN = Failed("broken", "It broke")


def condition(name: str, expression: str, after: tuple[str, ...] = (), **config: Any) -> Any:
    return {
        "name": name,
        "step_type": "condition",
        "condition_expression": expression,
        "depends_on_steps": list(after),
        "config": config,
    }


def status_of(execution: WorkflowExecution) -> str:
    return WorkflowExecution.objects.get(id=execution.id).status


def choice(value: str, **branches: list[str]) -> list[Any]:
    default = branches.pop("default", [])
    return [
        task("pick"),
        condition("which", value, after=("pick",), branches=branches, default=default),
        task("a", after=["which"]),
        task("b", after=["which"]),
        task("c", after=["which"]),
        task("join", after=["a", "b", "c"], trigger_rule="none_failed_min_one_success"),
    ]


# --- branches -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picked", "branch", "runs"),
    [("one", "one", {"a"}), ("two", "two", {"b", "c"}), ("else", None, set())],
)
def test_the_steps_of_the_branches_not_taken_are_skipped(
    scene: Scene, hand: DriverByHand, picked: str, branch: str | None, runs: set[str]
) -> None:
    execution = scene.run(*choice("steps.pick.value", one=["a"], two=["b", "c"]))
    hand.turn()
    output = {"value": picked}
    hand.turn(hand.result("pick", Completed(output, dump_json(output))))
    assert set(hand.begun) == runs
    found = statuses(execution)
    for name in {"a", "b", "c"} - runs:
        assert found[name] == "skipped branch_not_taken"
    assert steps_of(execution)["which"].output_data == {"result": picked, "branch": branch}
    hand.finish(*runs)
    assert status_of(execution) == ("running" if runs else "completed")
    if runs:
        hand.finish("join")
    assert status_of(execution) == "completed"
    assert statuses(execution)["join"] == ("completed" if runs else "skipped upstream_skipped")


@pytest.mark.parametrize(
    ("expression", "branch"),
    [("true", "true"), ("1 > 2", "false"), ("3", "3"), ("'x'", "default"), ("null", "default")],
)
def test_any_value_chooses_among_the_branches(
    scene: Scene, hand: DriverByHand, expression: str, branch: str
) -> None:
    execution = scene.run(
        condition(
            "which",
            expression,
            branches={"true": ["yes"], "false": ["no"], "3": ["three"]},
            default=["other"],
        ),
        *[task(name, after=["which"]) for name in ("yes", "no", "three", "other")],
    )
    hand.turn()
    taken = {"true": "yes", "false": "no", "3": "three", "default": "other"}[branch]
    assert set(hand.begun) == {taken}
    assert steps_of(execution)["which"].output_data["branch"] == branch


def test_a_step_in_two_branches_runs_with_either(scene: Scene, hand: DriverByHand) -> None:
    scene.run(
        condition("which", "true", branches={"true": ["both", "a"], "false": ["both", "b"]}),
        *[task(name, after=["which"]) for name in ("both", "a", "b")],
    )
    hand.turn()
    assert set(hand.begun) == {"both", "a"}


def test_without_branches_false_skips_what_follows(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(condition("maybe", "false"), task("a", after=["maybe"]))
    hand.turn()
    assert statuses(execution) == {
        "maybe": "skipped condition_false",
        "a": "skipped upstream_skipped",
    }
    assert status_of(execution) == "completed"


# --- fallbacks ----------------------------------------------------------------------------


def test_a_literal_takes_the_place_of_a_step_that_fails(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a", config={"fallback": {"output": {"price": 0}}}, max_retries=0),
        task("b", after=["a"], inputs={"price": "${steps.a.price}"}),
    )
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    row = steps_of(execution)["a"]
    assert (row.status, row.is_fallback, row.error_code) == ("completed", True, "broken")
    assert hand.begun["b"].inputs == {"price": 0}


def test_another_task_takes_the_place_once_the_retries_are_used_up(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        task(
            "a",
            "fail",
            inputs={"message": "x"},
            config={"fallback": {"task": "log"}, **AT_ONCE},
            max_retries=1,
        )
    )
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    context = hand.begun["a"]
    assert (context.step.config.task, context.inputs, context.attempt) == (
        "log",
        {"message": "x"},
        3,
    )
    hand.finish("a")
    row = steps_of(execution)["a"]
    assert (row.status, row.is_fallback, row.attempts) == ("completed", True, 3)


def test_a_literal_fallback_that_cannot_be_kept_fails_its_step(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    step = task("a", config={"fallback": {"output": "x" * 500}}, max_retries=0)
    execution = scene.run(step, task("b"))
    settings.MGX_MAX_OUTPUT_BYTES = 100
    hand.turn()
    hand.turn(hand.result("a", Failed("broken", "It broke", is_timeout=True)), hand.result("b"))
    row = steps_of(execution)["a"]
    assert (row.status, row.is_fallback, row.error_code) == ("failed", True, "unstorable_output")
    assert "its fallback" in row.error_message
    assert statuses(execution)["b"] == "completed"


def test_a_fallback_that_fails_is_not_tried_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a", "fail", config={"fallback": {"task": "log"}, **AT_ONCE}, max_retries=0)
    )
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    hand.turn(hand.result("a", Failed("worse", "It got worse")))
    assert statuses(execution) == {"a": "failed"}
    assert steps_of(execution)["a"].error_code == "worse"
    assert status_of(execution) == "failed"


def test_another_agent_takes_the_place_and_is_given_back(scene: Scene, hand: DriverByHand) -> None:
    scene.agent("worker")
    spare = scene.agent("spare")
    execution = scene.run(
        agent("a", config={"fallback": {"agent_definition_id": "spare"}}, max_retries=0)
    )
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    assert steps_of(execution)["a"].agent_instance_id == spare.id
    hand.finish("a")
    assert not AgentReservation.objects.filter(released_at=None).exists()
    assert status_of(execution) == "completed"


def test_cancelling_the_run_gives_back_the_agent_of_a_fallback(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent("spare")
    fallback = {"fallback": {"agent_definition_id": "spare"}, **AT_ONCE}
    execution = scene.run(task("a", "fail", config=fallback, max_retries=0))
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    assert AgentReservation.objects.filter(released_at=None).exists()
    cancel_execution(execution.id, user=scene.users["operator"])
    assert not AgentReservation.objects.filter(released_at=None).exists()


def test_a_fallback_under_way_is_still_one_after_a_takeover(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.run(task("a", "fail", config={"fallback": {"task": "log"}, **AT_ONCE}, max_retries=0))
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    hand.turn()
    leases.fence(hand.holdings.driver_id, database_now())
    another = DriverByHand()
    another.turn()
    another.turn()
    assert another.begun["a"].step.config.task == "log"


# --- standing still -----------------------------------------------------------------------


def pause(execution: WorkflowExecution, is_paused: bool = True) -> None:
    WorkflowExecution.objects.filter(id=execution.id).update(
        is_paused=is_paused, wake_at=database_now()
    )


def test_a_paused_run_starts_nothing_and_goes_on_where_it_was(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    pause(execution)
    hand.finish("a")
    assert not hand.begun
    assert statuses(execution) == {"a": "completed"}
    assert status_of(execution) == "paused"
    hand.turn()
    assert not hand.begun
    pause(execution, is_paused=False)
    hand.turn()
    assert set(hand.begun) == {"b"}
    assert status_of(execution) == "running"


def test_a_paused_run_stands_still_although_its_driver_reads_it_again(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    pause(execution)
    hand.holdings.forget()  # as after a commit that was lost
    hand.finish("a")
    assert statuses(execution) == {"a": "completed"}
    assert status_of(execution) == "paused"


def test_a_decision_during_a_pause_counts_after_it(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(gate("ask"), task("then", after=["ask"]))
    hand.turn()
    pause(execution)
    hand.turn()
    scene.decide(execution)
    hand.turn()
    assert statuses(execution) == {"ask": "waiting"}
    pause(execution, is_paused=False)
    hand.turn()
    assert set(hand.begun) == {"then"}
