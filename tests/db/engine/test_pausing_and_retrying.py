"""Runs that are paused, resumed and retried: what the engine makes of it, turn by turn."""

from datetime import timedelta
from typing import Any

import pytest

from agents.models import AgentReservation
from approvals.models import WorkflowStepApproval
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent, events_of, gate, task
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed
from workflows.engine import leases
from workflows.engine.inputs import dump_json
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import cancel_execution
from workflows.services.verbs import pause_execution, resume_execution, retry_execution

pytestmark = pytest.mark.django_db

BROKEN = Failed("broken", "It broke", is_final=True)


def pause(execution: WorkflowExecution) -> None:
    pause_execution(execution.pk, user=None)


def resume(execution: WorkflowExecution) -> None:
    resume_execution(execution.pk, user=None)


def retry(execution: WorkflowExecution) -> None:
    retry_execution(execution.pk, user=None)


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(pk=execution.pk)


def steps(execution: WorkflowExecution) -> dict[str, str]:
    """Return the statuses of each step, of all its revisions in their order."""
    found: dict[str, str] = {}
    for step in WorkflowStepExecution.objects.filter(execution=execution).order_by("revision"):
        found[step.name] = f"{found.get(step.name, '')} {step.status}".strip()
    return found


def nested(kind: str, name: str, *inner: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"name": name, "step_type": kind, "config": {"steps": list(inner), **config}}


# --- pausing ------------------------------------------------------------------------------


def test_a_paused_run_starts_nothing_and_goes_on_where_it_was(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    pause(execution)
    hand.finish("a")
    assert steps(execution) == {"a": "completed"}
    assert (row(execution).status, row(execution).active_since) == ("paused", None)
    hand.turn()
    assert not hand.begun
    resume(execution)
    hand.turn()
    assert row(execution).status == "running"
    hand.finish("b")
    assert steps(execution) == {"a": "completed", "b": "completed"}
    assert row(execution).status == "completed"


def test_what_has_not_begun_is_paused_before_it_begins(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    pause(execution)
    hand.turn()
    assert steps(execution) == {}
    assert row(execution).status == "paused"
    resume(execution)
    hand.work()
    assert row(execution).status == "completed"


def test_the_last_step_may_end_while_the_run_is_paused(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    pause(execution)
    hand.finish("a")
    assert (steps(execution), row(execution).status) == ({"a": "completed"}, "paused")
    resume(execution)
    hand.turn()
    assert row(execution).status == "completed"


def test_a_retry_that_is_due_waits_for_the_end_of_the_pause(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a", config=AT_ONCE))
    hand.turn()
    pause(execution)
    hand.turn(hand.result("a", Failed("broken", "It broke")))
    hand.turn(ahead=60)
    assert (steps(execution), hand.begun) == ({"a": "retrying"}, {})
    resume(execution)
    hand.turn()
    assert hand.begun["a"].attempt == 2
    hand.finish("a")


def test_a_decision_during_a_pause_counts_after_it(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(gate("ask"), task("then", after=["ask"]))
    hand.turn()
    pause(execution)
    hand.turn()
    scene.decide(execution)
    hand.turn()
    assert (steps(execution), row(execution).status) == ({"ask": "waiting"}, "paused")
    resume(execution)
    hand.turn()
    assert set(hand.begun) == {"then"}
    hand.finish("then")


def test_the_time_of_a_pause_is_nobodys(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]), timeout_seconds=60)
    hand.turn()
    pause(execution)
    hand.finish("a")
    hand.turn(ahead=3600)
    assert row(execution).status == "paused"
    assert row(execution).active_seconds < 60
    resume(execution)
    hand.turn()
    hand.finish("b")
    assert row(execution).status == "completed"


def test_a_paused_run_stays_so_with_another_driver(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    pause(execution)
    leases.fence(hand.holdings.driver_id, database_now())
    another = DriverByHand()
    another.turn()
    assert (another.begun, row(execution).status) == ({}, "paused")
    resume(execution)
    another.turn()
    assert another.begun["a"].attempt == 2
    another.finish("a")
    another.finish("b")


def test_a_paused_run_can_be_cancelled_and_taken_up_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(gate("ask"), task("a", after=["ask"]))
    hand.turn()
    pause(execution)
    hand.turn()
    cancel_execution(execution.pk, user=None)
    retry(execution)
    hand.turn()
    assert row(execution).status == "waiting"
    scene.decide(execution)
    hand.work()
    assert row(execution).status == "completed"


# --- retrying -----------------------------------------------------------------------------


def test_only_what_failed_and_what_it_held_up_runs_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a"),
        task("bad", after=["a"], inputs={"from_a": "${steps.a.by}"}),
        task("c", after=["bad"]),
        task("beside"),
        max_retries=0,
    )
    hand.turn()
    hand.finish("a", "beside")
    hand.turn(hand.result("bad", BROKEN))
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"bad"}
    again = hand.begun["bad"]
    assert (again.attempt, again.revision, again.inputs) == (1, 2, {"from_a": "a"})
    assert again.idempotency_key == str(again.step_execution_id)
    assert row(execution).status == "running"
    hand.finish("bad")
    hand.finish("c")
    assert row(execution).status == "completed"
    assert (row(execution).error_code, row(execution).error_message) == ("", "")
    assert steps(execution) == {
        "a": "completed",
        "beside": "completed",
        "bad": "failed completed",
        "c": "skipped completed",
    }
    told = [event.event_type for event in events_of(execution.id) if "workflow" in event.event_type]
    assert told == ["workflow_started", "workflow_failed", "workflow_retried", "workflow_completed"]


def test_it_may_fail_again_and_be_retried_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), max_retries=0)
    for _ in range(2):
        hand.turn()
        hand.turn(hand.result("a", BROKEN))
        assert row(execution).status == "failed"
        retry(execution)
    hand.turn()
    hand.finish("a")
    assert steps(execution) == {"a": "failed failed completed"}
    assert row(execution).output_data == {"a": {"by": "a"}}


def test_its_attempts_are_counted_anew(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a", config=AT_ONCE, max_retries=1))
    for _ in range(2):
        hand.turn()
        hand.turn(hand.result("a", Failed("broken", "It broke")))
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    hand.turn(hand.result("a", Failed("broken", "It broke")))
    hand.turn()
    hand.finish("a")
    assert row(execution).status == "completed"


def test_a_run_that_ran_out_of_time_has_its_whole_time_again(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]), timeout_seconds=60)
    hand.turn()
    hand.finish("a")
    WorkflowExecution.objects.filter(pk=execution.pk).update(active_seconds=61)
    hand.holdings.forget()
    hand.turn()
    assert (row(execution).status, steps(execution)["b"]) == ("timeout", "cancelled")
    hand.begun.clear()
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"b"}
    hand.finish("b")
    assert (row(execution).status, steps(execution)["a"]) == ("completed", "completed")


def test_a_gate_that_was_rejected_asks_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(gate("ask"), task("then", after=["ask"]))
    hand.turn()
    scene.decide(execution, "rejected", "Not today")
    hand.turn()
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    assert row(execution).status == "waiting"
    assert WorkflowStepApproval.objects.pending().count() == 1
    scene.decide(execution)
    hand.work()
    assert row(execution).status == "completed"
    assert steps(execution) == {"ask": "failed completed", "then": "skipped completed"}


def test_an_agent_is_waited_for_as_long_as_the_first_time(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=1)
    execution = scene.run(
        task("a"), agent("w", after=["a"], timeout_seconds=60, max_retries=0), max_retries=0
    )
    hand.turn()
    hand.finish("a")
    hand.turn(hand.result("w", BROKEN))
    long_ago = database_now() - timedelta(hours=1)
    WorkflowStepExecution.objects.update(completed_at=long_ago, started_at=long_ago)
    WorkflowExecution.objects.update(started_at=long_ago)
    other = scene.run(agent("w"))
    hand.turn()
    busy = hand.result("w")
    retry(execution)
    hand.turn()
    assert steps(execution)["w"] == "failed pending"
    hand.turn(busy)
    hand.turn(ahead=2)
    assert hand.begun["w"].execution_id == execution.pk
    hand.finish("w")
    assert (row(execution).status, row(other).status) == ("completed", "completed")
    assert not AgentReservation.objects.filter(released_at=None).exists()


def test_a_result_from_before_the_retry_is_refused(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    late = hand.result("a", Completed("late", '"late"'))
    cancel_execution(execution.pk, user=None)
    retry(execution)
    hand.turn(is_inventory=False)
    assert hand.begun["a"].attempt == late.attempt
    hand.turn(late)
    [refused] = events_of(execution.id, "step_result_refused")
    assert refused.workflow_step_id == late.step_execution_id
    hand.finish("a")
    assert row(execution).output_data == {"a": {"by": "a"}}


def test_another_driver_takes_a_retried_run_over(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]), max_retries=0)
    hand.turn()
    hand.turn(hand.result("a", BROKEN))
    retry(execution)
    hand.turn()
    leases.fence(hand.holdings.driver_id, database_now())
    another = DriverByHand()
    another.turn()
    another.turn()
    assert (another.begun["a"].attempt, another.begun["a"].revision) == (2, 2)
    another.finish("a")
    another.finish("b")
    assert steps(execution) == {"a": "failed completed", "b": "skipped completed"}


# --- retrying blocks ----------------------------------------------------------------------


def test_a_loop_whose_rounds_did_not_suffice_begins_again(scene: Scene, hand: DriverByHand) -> None:
    loop = nested(
        "sequential", "loop", task("turn"), repeat_until="steps.turn.done", max_iterations=2
    )
    execution = scene.run(loop, task("after", after=["loop"]), max_retries=0)
    hand.turn()
    for name in ("turn[0]", "turn[1]"):
        hand.turn(hand.result(name, done(False)))
    assert row(execution).error_code == "max_iterations"
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"turn[0]"}
    hand.turn(hand.result("turn[0]", done(False)))
    leases.fence(hand.holdings.driver_id, database_now())
    another = DriverByHand()
    another.turn()
    another.turn(another.result("turn[1]", done(True)))
    another.work()
    assert row(execution).status == "completed"
    assert steps(execution) == {
        "loop": "failed completed",
        "turn[0]": "completed completed",
        "turn[1]": "completed completed",
        "after": "skipped completed",
    }


def test_a_loop_begins_again_though_a_step_failed_in_it_that_may_fail(
    scene: Scene, hand: DriverByHand
) -> None:
    poll = task("poll", config={"continue_on_error": True})
    loop = nested(
        "sequential",
        "loop",
        poll,
        task("check", trigger_rule="all_done"),
        repeat_until="steps.check.done",
        max_iterations=2,
    )
    execution = scene.run(loop, max_retries=0)
    hand.turn()
    for number in (0, 1):
        hand.turn(hand.result(f"poll[{number}]", BROKEN))
        hand.turn(hand.result(f"check[{number}]", done(False)))
    assert row(execution).error_code == "max_iterations"
    retry(execution)
    hand.turn()
    hand.finish("poll[0]")
    assert set(hand.begun) == {"check[0]"}
    hand.turn(hand.result("check[0]", done(True)))
    assert row(execution).status == "completed"
    assert steps(execution) == {
        "loop": "failed completed",
        "poll[0]": "failed completed",
        "check[0]": "completed completed",
        "poll[1]": "failed",
        "check[1]": "completed",
    }


def done(is_done: bool) -> Completed:
    return Completed({"done": is_done}, dump_json({"done": is_done}))


def test_of_a_block_only_what_failed_runs_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        nested("parallel", "p", task("good"), task("bad"), task("next", after=["bad"])),
        {**task("then", inputs={"made": "${steps.p.bad.by}"}), "depends_on_steps": ["p"]},
        max_retries=0,
    )
    hand.turn()
    hand.turn(hand.result("good"), hand.result("bad", BROKEN))
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"bad"}
    hand.finish("bad")
    hand.finish("next")
    assert hand.begun["then"].inputs == {"made": "bad"}
    hand.finish("then")
    assert row(execution).status == "completed"
    assert steps(execution) == {
        "p": "failed completed",
        "good": "completed",
        "bad": "failed completed",
        "next": "skipped completed",
        "then": "skipped completed",
    }
    output = WorkflowStepExecution.objects.get(execution=execution, name="p", revision=2)
    assert set(output.output_data) == {"good", "bad", "next"}


@pytest.mark.parametrize("kind", ["parallel", "sequential"])
def test_of_a_mapped_block_only_the_rounds_that_failed_run_again(
    scene: Scene, hand: DriverByHand, kind: str
) -> None:
    inner = task("check", inputs={"of": "${item}"})
    execution = scene.run(nested(kind, "each", inner, for_each="${[10, 20, 30]}"), max_retries=0)
    hand.turn()
    while hand.begun:
        name = next(iter(hand.begun))
        outcome = BROKEN if name == "check[1]" else Completed(name, dump_json(name))
        hand.turn(hand.result(name, outcome))
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    assert hand.begun["check[1]"].inputs == {"of": 20}
    while hand.begun:
        name = next(iter(hand.begun))
        hand.turn(hand.result(name, Completed(name, dump_json(name))))
    assert row(execution).status == "completed"
    assert row(execution).output_data == {"each": [{"check": f"check[{n}]"} for n in range(3)]}
    assert steps(execution)["check[0]"] == "completed"
    assert steps(execution)["check[1]"] == "failed completed"


def test_of_blocks_in_blocks_too(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        nested(
            "sequential",
            "outer",
            task("first"),
            nested("parallel", "inner", task("good"), task("bad")),
            task("last"),
        ),
        max_retries=0,
    )
    hand.turn()
    hand.finish("first")
    hand.turn(hand.result("good"), hand.result("bad", BROKEN))
    assert row(execution).status == "failed"
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"bad"}
    hand.finish("bad")
    hand.finish("last")
    assert row(execution).status == "completed"
    assert steps(execution)["good"] == steps(execution)["first"] == "completed"


def test_a_block_that_was_cancelled_goes_on_where_it_was(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(nested("sequential", "s", task("a"), task("b"), task("c")))
    hand.turn()
    hand.finish("a")
    cancel_execution(execution.pk, user=None)
    hand.turn()
    hand.begun.clear()
    retry(execution)
    hand.turn()
    assert set(hand.begun) == {"b"}
    hand.finish("b")
    hand.finish("c")
    assert row(execution).status == "completed"
    assert steps(execution) == {
        "s": "cancelled completed",
        "a": "completed",
        "b": "cancelled completed",
        "c": "completed",
    }
