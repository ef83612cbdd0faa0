"""Turns taken one by one: late results, cancellations, takeovers, lost commits, draining."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError

from agents.models import AgentReservation
from approvals.models import WorkflowStepApproval
from tests.db.engine.blocks import parallel, taken_over
from tests.db.engine.by_hand import DriverByHand, result_of
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    agent,
    events_of,
    gate,
    statuses,
    steps_of,
    task,
)
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed
from workflows.engine import leases
from workflows.engine.inputs import dump_json
from workflows.engine.leases import Fenced
from workflows.errors import Conflict
from workflows.models import (
    EngineDriver,
    Event,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
    WorkflowVersion,
)
from workflows.services.definitions import publish, replace_draft
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


# --- results ------------------------------------------------------------------------------


def test_a_result_and_what_follows_from_it_commit_together(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    assert statuses(execution) == {"a": "running"}
    hand.finish("a")
    assert statuses(execution) == {"a": "completed", "b": "running"}
    hand.finish("b")
    assert row(execution).status == "completed"


def test_a_result_that_comes_twice_counts_once(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    result = hand.result("a")
    hand.turn(result, result)
    hand.turn(result)
    assert len(events_of(execution.id, "step_result_refused")) == 2
    assert steps_of(execution)["b"].attempts == 1
    hand.work()
    assert row(execution).status == "completed"


def test_a_result_of_an_earlier_attempt_is_refused_and_told(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a", config=AT_ONCE))
    hand.turn()
    first = hand.begun["a"]
    hand.turn(hand.result("a", Failed("timeout", "too slow", is_timeout=True)))
    hand.turn()
    assert hand.begun["a"].attempt == 2
    hand.turn(result_of(first, Completed("late", '"late"')))
    refused = events_of(execution.id, "step_result_refused")[0]
    assert refused.data == {"step": "a", "attempt": 1}
    assert steps_of(execution)["a"].status == "running"
    hand.finish("a")
    assert steps_of(execution)["a"].output_data == {"by": "a"}


# --- cancelling ---------------------------------------------------------------------------


def test_after_a_cancellation_nothing_starts_and_a_late_result_is_refused(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(
        task("a"), task("b", after=["a"]), gate("g"), agent("w"), task("c", after=["g"])
    )
    hand.turn()
    late = [hand.result("a"), hand.result("w")]
    assert AgentReservation.objects.filter(released_at=None).count() == 1
    cancelled = cancel_execution(execution.id, user=scene.users["operator"], reason="Wrong data")
    assert cancelled.status == "cancelled"
    assert cancelled.error_message == "Wrong data"
    assert statuses(execution) == dict.fromkeys(["a", "g", "w"], "cancelled")
    assert WorkflowStepApproval.objects.get().status == "cancelled"
    assert not AgentReservation.objects.filter(released_at=None).exists()
    after = hand.turn(*late)
    assert (after.start, set(after.cancel)) == ([], {execution.id})
    assert {e.data["step"] for e in events_of(execution.id, "step_result_refused")} == {"a", "w"}
    hand.work()
    assert statuses(execution) == dict.fromkeys(["a", "g", "w"], "cancelled")


def test_a_cancellation_that_comes_before_the_claim_starts_nothing(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a"))
    cancel_execution(execution.id, user=scene.users["operator"])
    hand.work()
    assert statuses(execution) == {}


def test_what_has_ended_cannot_be_cancelled(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.work()
    with pytest.raises(Conflict) as refusal:
        cancel_execution(execution.id, user=scene.users["operator"])
    assert refusal.value.code == "already_ended"
    assert refusal.value.facts["status"] == "completed"


def test_a_step_that_waits_for_an_agent_is_cancelled_too(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=1)
    execution = scene.run(agent("a"), agent("b"))
    hand.turn()
    cancel_execution(execution.id, user=None)
    hand.work()
    assert row(execution).status == "cancelled"
    assert not AgentReservation.objects.exists()


# --- time limits --------------------------------------------------------------------------


def overdue(execution: WorkflowExecution) -> None:
    """Let a run's time be up."""
    long_ago = database_now() - timedelta(days=1)
    WorkflowExecution.objects.filter(id=execution.id).update(
        active_since=long_ago, wake_at=long_ago
    )


def test_a_run_whose_time_is_up_starts_nothing_even_while_others_move(
    scene: Scene, hand: DriverByHand
) -> None:
    """The result of ``a`` and the end of its run's time come in one turn, and the agent step of
    another run, which nobody can take, has the planner asked twice."""
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    overdue(execution)
    hand.holdings.forget()
    workflow = scene.workflow(task("x"))
    other_agent = scene.agent()
    workflow = scene.workflow(agent("w"))
    other_agent.delete()
    other = scene.start(workflow)
    after = hand.turn(hand.result("a"))
    assert after.start == []
    assert row(execution).status == "timeout"
    assert statuses(execution) == {"a": "completed"}
    assert row(other).error_code == "no_eligible_agent"


def test_time_passes_while_a_retry_is_awaited(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a", config={"retry": {"initial_seconds": 3600}}), gate("g"))
    hand.turn()
    hand.turn(hand.result("a", Failed("error", "x")))
    assert row(execution).status == "waiting"
    assert row(execution).active_since is not None
    overdue(execution)
    hand.turn()
    assert row(execution).status == "timeout"


# --- takeovers ----------------------------------------------------------------------------


def make_stale(driver: DriverByHand) -> None:
    long_ago = database_now() - timedelta(hours=1)
    EngineDriver.objects.filter(id=driver.holdings.driver_id).update(heartbeat_at=long_ago)


def test_another_driver_takes_over_and_the_fenced_one_writes_nothing(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(task("a"), agent("w"), task("b", after=["a"]))
    hand.turn()
    late = [hand.result("a"), hand.result("w")]
    make_stale(hand)
    other = DriverByHand()
    assert leases.take_over_from_the_dead() == 1
    assert leases.take_over_from_the_dead() == 0
    before = Event.objects.count()
    with pytest.raises(Fenced):
        hand.turn(*late)
    with pytest.raises(Fenced):
        leases.heartbeat(hand.holdings.driver_id)
    with pytest.raises(Fenced):
        hand.holdings.hand_back_all()
    assert Event.objects.count() == before
    assert statuses(execution) == {"a": "running", "w": "running"}
    other.turn()
    assert {c.attempt for c in other.begun.values()} == {2}
    other.work()
    other.finish()
    assert row(execution).status == "completed"
    assert {n: s.crashes for n, s in steps_of(execution).items()} == {"a": 1, "w": 1, "b": 0}
    assert row(execution).fence == 2


def test_a_takeover_takes_gates_and_retries_along(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        task("a", config={"retry": {"initial_seconds": 3600}}),
        gate("g"),
        task("long"),
        task("b", after=["g"]),
        task("c", after=["b"], inputs={"by": "${steps.b.by}"}),
    )
    hand.turn()
    hand.turn(hand.result("a", Failed("error", "x")))
    scene.decide(execution)
    hand.turn()
    hand.finish("b")
    make_stale(hand)
    leases.take_over_from_the_dead()
    other = DriverByHand()
    other.turn()
    assert set(other.begun) == {"long", "c"}
    assert other.begun["c"].inputs == {"by": "b"}
    WorkflowStepExecution.objects.filter(name="a").update(due_at=database_now())
    other.holdings.forget()
    other.work()
    assert row(execution).status == "completed"
    assert steps_of(execution)["a"].attempts == 2


def test_a_step_whose_worker_always_dies_is_given_up(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    execution = scene.run(task("a", max_retries=0), task("b"))
    driver = hand
    driver.turn()
    driver.finish("b")
    for _ in range(settings.MGX_MAX_CRASHES):
        make_stale(driver)
        leases.take_over_from_the_dead()
        driver = DriverByHand()
        driver.turn()
    assert row(execution).status == "failed"
    assert row(execution).error_code == "worker_lost"
    assert statuses(execution) == {"a": "failed", "b": "completed"}


def test_a_step_that_kills_its_workers_does_not_take_others_with_it(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    """Whoever was there twice waits until it can run without any other suspect."""
    executions = [scene.run(task("a"), max_retries=0) for _ in range(4)]
    guilty = executions[2]
    driver, deaths = hand, 0
    while any(row(execution).completed_at is None for execution in executions):
        contexts = driver.turn().start
        if any(context.execution_id == guilty.id for context in contexts):
            deaths += 1
            make_stale(driver)
            leases.take_over_from_the_dead()
            driver = DriverByHand()
        else:
            driver.turn(*[result_of(context, Completed(1, "1")) for context in contexts])
        runnable = WorkflowExecution.objects.filter(driver=None, completed_at=None)
        runnable.update(wake_at=database_now())
    assert deaths == settings.MGX_MAX_CRASHES
    assert row(guilty).error_code == "worker_lost"
    assert {row(e).status for e in executions if e != guilty} == {"completed"}


def test_a_suspect_that_waits_its_turn_keeps_its_place_in_its_block(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    """Each block lets one step be under way; of both steps one runs, and then the other one."""
    settings.MGX_MAX_CRASHES = 5
    for name in ("a", "b"):
        scene.run(parallel(f"block {name}", task(name), max_concurrency=1), task(f"beside {name}"))
    hand.turn()
    WorkflowStepExecution.objects.filter(name__in=("a", "b")).update(crashes=2)
    driver = taken_over(hand)
    driver.turn()
    assert len(driver.begun.keys() & {"a", "b"}) == 1
    first, second = ("a", "b") if "a" in driver.begun else ("b", "a")
    driver.turn(ahead=2)
    assert second not in driver.begun
    driver.turn(driver.result(first), ahead=2)
    driver.turn(ahead=4)
    assert second in driver.begun
    driver.finish(second, "beside a", "beside b")
    assert {run.status for run in WorkflowExecution.objects.all()} == {"completed"}


# --- faults of the database ---------------------------------------------------------------


def lose_the_commit(driver: DriverByHand, *results: Any) -> None:
    """Take a turn that fails at its last statement, as when the connection breaks."""
    outage = patch("workflows.engine.turn.append_events", side_effect=OperationalError("gone"))
    with outage, pytest.raises(OperationalError):
        driver.turn(*results)
    driver.holdings.forget()


def test_a_turn_that_fails_has_not_happened(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), gate("g", after=["a"]), task("b", after=["g"]))
    lose_the_commit(hand)
    assert statuses(execution) == {}
    assert row(execution).driver_id is None
    hand.turn()
    result = hand.result("a")
    lose_the_commit(hand, result)
    assert statuses(execution) == {"a": "running"}
    assert not WorkflowStepApproval.objects.exists()
    hand.turn(result)
    assert statuses(execution) == {"a": "completed", "g": "waiting"}
    scene.decide(execution)
    hand.work()
    assert row(execution).status == "completed"
    assert {step.attempts for step in steps_of(execution).values()} == {1}


def test_attempts_go_on_while_the_rows_are_read_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b"))
    hand.turn()
    results = [hand.result("a"), hand.result("b")]
    lose_the_commit(hand, *results)
    hand.turn(results[0])
    hand.turn(results[1])
    assert row(execution).status == "completed"
    assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def test_a_commit_that_went_through_unnoticed_is_not_repeated(
    scene: Scene, hand: DriverByHand
) -> None:
    """The database committed, and the connection broke before it could say so."""
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    result = hand.result("a")
    with (
        patch.object(hand.holdings, "_settle", side_effect=OperationalError("gone")),
        pytest.raises(OperationalError),
    ):
        hand.turn(result)
    hand.holdings.forget()
    assert statuses(execution) == {"a": "completed", "b": "running"}
    hand.turn(result)
    assert len(events_of(execution.id, "step_completed")) == 1
    assert steps_of(execution)["b"].crashes == 1, "nobody knows whether it has begun"
    hand.work()
    assert row(execution).status == "completed"


# --- draining -----------------------------------------------------------------------------


def test_a_driver_that_drains_starts_and_claims_nothing(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    late = scene.run(task("x"))
    after = hand.turn(hand.result("a"), is_draining=True)
    assert after.start == []
    assert statuses(execution) == {"a": "completed"}
    assert row(execution).driver_id is None
    assert row(late).driver_id is None
    other = DriverByHand()
    other.work()
    assert row(execution).status == row(late).status == "completed"


@pytest.mark.promise("P21 what a stopping driver cannot finish")
def test_what_a_stopping_driver_cannot_finish_is_handed_back_uncharged(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(
        task("a", max_retries=0), agent("w", max_retries=0), gate("g"), task("b", after=["a"])
    )
    hand.turn()
    hand.holdings.hand_back_all()
    leases.sign_off(hand.holdings.driver_id)
    assert {s.attempts for n, s in steps_of(execution).items() if n != "g"} == {0}
    assert not AgentReservation.objects.filter(released_at=None).exists()
    other = DriverByHand()
    other.turn()
    assert {c.attempt for c in other.begun.values()} == {1}
    other.work()
    other.finish()
    scene.decide(execution)
    other.work()
    assert row(execution).status == "completed"
    assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def test_a_driver_that_stops_after_a_fault_leaves_nothing_behind(
    scene: Scene, hand: DriverByHand
) -> None:
    """Its copies are forgotten; the rows are still its own."""
    execution = scene.run(task("a"))
    hand.turn()
    hand.finish()
    hand.holdings.forget()
    hand.holdings.hand_back_all()
    leases.sign_off(hand.holdings.driver_id)
    assert row(execution).driver_id is None
    other = DriverByHand()
    other.work()
    assert row(execution).status == "completed"


@pytest.mark.promise("P22 another version published while a run waits")
def test_a_run_keeps_to_its_version_whatever_is_published_meanwhile(
    scene: Scene, hand: DriverByHand
) -> None:
    workflow = scene.workflow(gate("g"), task("old", after=["g"]))
    execution = scene.start(workflow)
    hand.turn()
    document = {"name": workflow.name, "steps": [gate("g"), task("new", after=["g"])]}
    publish(replace_draft(workflow, document, user=None), user=None)
    later = scene.start(Workflow.objects.get())
    hand.turn()
    for run in (execution, later):
        scene.decide(run)
    DriverByHand().work()  # it has to read the definitions
    assert statuses(execution) == {"g": "completed", "old": "completed"}
    assert statuses(later) == {"g": "completed", "new": "completed"}


# --- what cannot be read or written ---------------------------------------------------------


def test_a_version_that_cannot_be_read_ends_its_runs_only(scene: Scene, hand: DriverByHand) -> None:
    broken = scene.run(task("a"), gate("g"))
    hand.turn()
    WorkflowVersion.objects.filter(id=broken.version_id).update(
        definition={"name": "x", "steps": [{"name": "a", "step_type": "quantum"}]}
    )
    make_stale(hand)
    leases.take_over_from_the_dead()
    healthy = scene.run(task("a"))
    other = DriverByHand()
    with muted_definitions():
        other.work()
    assert row(broken).status == "failed"
    assert row(broken).error_code == "invalid_definition"
    assert statuses(broken) == {"a": "cancelled", "g": "cancelled"}
    assert WorkflowStepApproval.objects.get().status == "cancelled"
    assert row(healthy).status == "completed"
    # The version is put right, for the invariants read it.
    WorkflowVersion.objects.filter(id=broken.version_id).update(
        definition={"steps": [task("a"), gate("g")]}
    )


@pytest.mark.parametrize("output", [{"text": "x" * 1_048_560}, "deep"])
def test_a_gate_that_cannot_show_its_payload_fails_alone(
    scene: Scene, hand: DriverByHand, output: Any
) -> None:
    if output == "deep":
        for _ in range(31):
            output = [output]
    execution = scene.run(task("a"), gate("g", after=["a"]), task("b"))
    hand.turn()
    hand.turn(hand.result("a", Completed(output, dump_json(output))), hand.result("b"))
    assert row(execution).error_code == "unstorable_output"
    assert statuses(execution) == {"a": "completed", "b": "completed", "g": "failed"}


def test_a_long_title_is_cut_and_a_long_description_kept(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        gate(title="${text}", description="${text}"),
        variables=[{"name": "text", "default_value": "é" * 9_000}],
    )
    hand.turn()
    request = WorkflowStepApproval.objects.get(workflow_execution=execution)
    assert request.title == "é" * 500
    assert request.description == "é" * 9_000


def muted_definitions() -> Any:
    return patch("workflows.engine.loading.logger")


def test_a_share_of_the_runs_is_left_to_the_other_drivers(scene: Scene, hand: DriverByHand) -> None:
    workflow = scene.workflow(task("a"))
    for _ in range(5):
        scene.start(workflow)
    hand.turn(drivers=2)
    owned = WorkflowExecution.objects.filter(driver_id=hand.holdings.driver_id)
    assert owned.count() == 3
    hand.holdings.hand_back_all()
