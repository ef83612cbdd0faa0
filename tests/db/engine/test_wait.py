"""Waiting: for a time and for events, without a worker, and with nothing lost."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, ended, gate, statuses, steps_of, task
from workflows.clock import database_now
from workflows.engine import timers
from workflows.engine.driver import Driver
from workflows.errors import InvalidInput
from workflows.events import append_events
from workflows.handlers import Opening
from workflows.handlers.wait import WaitGate
from workflows.models import (
    Signal,
    Timer,
    WorkflowExecution,
    WorkflowStepExecution,
    WorkflowVersion,
)
from workflows.services.executions import cancel_execution
from workflows.services.verbs import signal_execution

pytestmark = pytest.mark.django_db


def wait(name: str = "w", *, after: Any = (), timeout: int | None = None, **config: Any) -> Any:
    step = {"name": name, "step_type": "wait", "depends_on_steps": list(after), "config": config}
    return step | ({"timeout_seconds": timeout} if timeout else {})


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


def let_pass(run: WorkflowExecution, seconds: float) -> None:
    """Let the waiting steps of a run have begun earlier, and the run be looked at then."""
    by = timedelta(seconds=seconds)
    WorkflowStepExecution.objects.filter(execution=run, status="waiting").update(
        due_at=F("due_at") - by, started_at=F("started_at") - by
    )
    WorkflowExecution.objects.filter(id=run.id).update(wake_at=F("wake_at") - by)


def fire() -> int:
    due = Timer.objects.count()
    now = database_now()
    append_events(timers.fire_due(now, 500), now)
    return due


def send(run: WorkflowExecution, name: str = "paid", data: Any = None) -> Signal:
    return signal_execution(run.id, name=name, data=data, user=None)


def test_waits_for_some_seconds_and_is_held_by_nobody(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(wait(seconds=90), task("after", after=["w"]))
    hand.work()
    step = steps_of(run)["w"]
    assert (step.status, row(run).status, row(run).driver_id) == ("waiting", "waiting", None)
    assert step.due_at == row(run).wake_at == step.started_at + timedelta(seconds=90)
    let_pass(run, 89)
    hand.work()
    assert steps_of(run)["w"].status == "waiting"
    let_pass(run, 2)
    hand.work()
    assert row(run).status == "completed"
    until = steps_of(run)["w"].output_data["waited_until"]
    assert until == (step.due_at - timedelta(seconds=91)).isoformat().replace("+00:00", "Z")


def test_waits_until_a_moment_that_a_step_before_it_names(scene: Scene, hand: DriverByHand) -> None:
    moment = database_now() + timedelta(hours=2)
    run = scene.run(
        task("plan", inputs={"at": moment.isoformat()}),
        wait(until="${steps.plan.at}", after=["plan"]),
    )
    hand.work()
    assert steps_of(run)["w"].due_at == moment
    cancel_execution(run.id, user=None)


def test_a_moment_that_has_passed_is_no_wait(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(wait(until="2020-01-31T09:00:00+01:00"), wait("z", seconds=0))
    hand.work()
    hand.work()
    assert row(run).status == "completed"
    assert steps_of(run)["w"].output_data == {"waited_until": "2020-01-31T08:00:00Z"}


@pytest.mark.parametrize(
    "given",
    [{"seconds": "soon"}, {"seconds": -1}, {"until": "soon"}, {"until": "2030-01-31T09:00:00"}],
)
def test_a_reference_that_brings_no_time_fails_the_step(
    scene: Scene, hand: DriverByHand, given: dict[str, Any]
) -> None:
    scene.run(task("s"))
    hand.turn()
    opening = Opening(hand.begun["s"], {}, settings=given)
    assert WaitGate().open([opening], database_now()) == []
    assert opening.failed is not None
    assert (opening.failed.code, opening.failed.is_final) == ("expression_error", True)
    hand.finish("s")


def test_a_run_whose_wait_cannot_begin_fails(scene: Scene, hand: DriverByHand) -> None:
    plan = task("plan", inputs={"pause": "soon"})
    run = scene.run(plan, wait(seconds="${steps.plan.pause}", after=["plan"]))
    hand.work()
    assert (row(run).status, row(run).error_code) == ("failed", "expression_error")


def test_what_is_written_out_wrongly_is_told_at_save(scene: Scene) -> None:
    with pytest.raises(InvalidInput) as caught:
        scene.workflow(wait(seconds="5"), wait("u", until="tomorrow"))
    found = [(problem.path, problem.error_type) for problem in caught.value.problems]
    assert found == [
        ("/steps/0/config/seconds", "wrong_type"),
        ("/steps/1/config/until", "invalid_moment"),
    ]


def test_an_event_ends_the_wait_with_its_data(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(
        wait(event="paid"), task("after", after=["w"], inputs={"got": "${steps.w.data.sum}"})
    )
    hand.work()
    assert steps_of(run)["w"].due_at is None
    send(run, "shipped")
    hand.work()
    assert statuses(run) == {"w": "waiting"}
    signal = send(run, data={"sum": 12})
    hand.work()
    output = steps_of(run)["w"].output_data
    assert (output["event"], output["data"]) == ("paid", {"sum": 12})
    assert steps_of(run)["after"].output_data == {"got": 12}
    signal.refresh_from_db()
    assert signal.taken_by_step_id == steps_of(run)["w"].id
    assert Signal.objects.filter(taken_by_step_id=None).count() == 1


@pytest.mark.parametrize("name", ["a\u034fb", "go\u3164"])
def test_an_event_whose_name_was_accepted_once_is_still_waited_for_and_taken(
    scene: Scene, hand: DriverByHand, name: str
) -> None:
    workflow = scene.workflow(wait(event="now"))
    version = workflow.published_version
    version.definition["steps"][0]["config"]["event"] = name
    WorkflowVersion.objects.filter(id=version.id).update(definition=version.definition)
    run = scene.start(workflow)
    hand.work()
    assert statuses(run) == {"w": "waiting"}
    send(run, name)
    hand.work()
    assert steps_of(run)["w"].output_data["event"] == name


def test_an_event_that_no_step_may_put_out_fails_the_step(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    run = scene.run(wait(event="paid"))
    hand.work()
    send(run, data="x" * 1_000)
    settings.MGX_MAX_OUTPUT_BYTES = 1_000
    hand.work()
    assert steps_of(run)["w"].error_code == "unstorable_output"


def test_an_event_that_came_before_the_step_is_not_lost(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(gate("g"), wait(event="paid", after=["g"]))
    hand.work()
    send(run, data="early")
    hand.work()
    scene.decide(run)
    hand.work()
    assert statuses(run)["w"] == "waiting"
    fire()
    hand.work()
    assert row(run).status == "completed"
    assert steps_of(run)["w"].output_data["data"] == "early"


def test_an_event_before_the_first_turn_is_not_lost(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(wait(event="paid"))
    send(run, data=1)
    hand.work()
    fire()
    hand.work()
    assert steps_of(run)["w"].output_data["data"] == 1


def test_each_waiting_step_takes_one_event_the_oldest_first(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(wait("a", event="paid"), wait("b", event="paid"))
    hand.work()
    send(run, data="first")
    hand.work()
    assert sorted(statuses(run).values()) == ["completed", "waiting"]
    send(run, data="second")
    send(run, data="third")
    hand.work()
    taken = {step.output_data["data"] for step in steps_of(run).values()}
    assert taken == {"first", "second"}
    assert row(run).status == "completed"


def test_an_event_that_does_not_come_is_a_timeout(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(wait(event="paid", timeout=60))
    hand.work()
    let_pass(run, 61)
    send(run, data="late")
    hand.work()
    step = steps_of(run)["w"]
    assert (step.status, step.error_code, step.attempts) == ("timeout", "timeout", 1)
    assert row(run).status == "failed"


def test_an_event_that_does_not_come_may_be_no_failure(scene: Scene, hand: DriverByHand) -> None:
    run = scene.run(wait(event="paid", on_timeout="continue", timeout=60))
    hand.work()
    let_pass(run, 61)
    hand.work()
    output = {"event": "paid", "data": None, "timed_out": True}
    assert steps_of(run)["w"].output_data == output
    assert row(run).status == "completed"


def test_an_event_in_time_counts_even_if_it_is_looked_at_too_late(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(wait(event="paid", timeout=60))
    hand.work()
    send(run, data="in time")
    let_pass(run, 61)
    Signal.objects.update(received_at=F("received_at") - timedelta(seconds=61))
    hand.work()
    assert steps_of(run)["w"].output_data["data"] == "in time"


def test_rounds_of_a_block_wait_each_for_itself(scene: Scene, hand: DriverByHand) -> None:
    block = {
        "name": "each",
        "step_type": "parallel",
        "config": {"for_each": [1, 2], "steps": [wait("w", event="paid", timeout=60)]},
    }
    run = scene.run(block)
    hand.work()
    assert statuses(run) == {"each": "running", "w[0]": "waiting", "w[1]": "waiting"}
    send(run, data="a")
    send(run, data="b")
    hand.work()
    assert {steps_of(run)[f"w[{n}]"].output_data["data"] for n in (0, 1)} == {"a", "b"}
    assert row(run).status == "completed"


def test_rounds_of_a_block_wait_each_for_an_event_of_its_own(
    scene: Scene, hand: DriverByHand
) -> None:
    block = {
        "name": "each",
        "step_type": "parallel",
        "config": {"for_each": ["a", "b"], "steps": [wait(event="paid-${item}")]},
    }
    run = scene.run(block)
    send(run, "paid-a", data="early")
    hand.work()
    fire()
    hand.work()
    assert statuses(run) == {"each": "running", "w[0]": "completed", "w[1]": "waiting"}
    assert steps_of(run)["w[0]"].output_data["event"] == "paid-a"
    assert steps_of(run)["w[1]"].input_data == {"event": "paid-b"}
    send(run, "paid-${item}")
    hand.work()
    assert statuses(run)["w[1]"] == "waiting"
    send(run, "paid-b", data="late")
    hand.work()
    assert steps_of(run)["w[1]"].output_data["data"] == "late"
    assert row(run).status == "completed"


def test_a_step_that_an_earlier_release_began_waits_for_the_name_as_it_is_written(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(wait(event="paid-${execution.started_by}"))
    hand.work()
    WorkflowStepExecution.objects.filter(execution=run).update(input_data={})
    send(run, "paid-${execution.started_by}")
    hand.work()
    assert row(run).status == "completed"


@pytest.mark.parametrize("name", [5, ["paid"], "", " paid", "x" * 201])
def test_a_reference_that_brings_no_name_of_an_event_fails_the_step(
    scene: Scene, hand: DriverByHand, name: Any
) -> None:
    run = scene.run(task("t", inputs={"name": name}), wait(event="${steps.t.name}", after=["t"]))
    hand.work()
    step = steps_of(run)["w"]
    assert (step.status, step.error_code) == ("failed", "expression_error")
    assert step.error_message.startswith("event must be a name")


@pytest.mark.parametrize("what", [{"seconds": 5_000}, {"event": "paid"}])
def test_a_run_takes_no_longer_than_its_time_while_it_waits(
    scene: Scene, hand: DriverByHand, what: dict[str, Any]
) -> None:
    run = scene.run(wait(**what), gate("g"), timeout_seconds=60)
    hand.work()
    assert row(run).wake_at == row(run).active_since + timedelta(seconds=60)
    hand.turn(ahead=59)
    assert row(run).status == "waiting"
    hand.turn(ahead=61)
    assert (row(run).status, row(run).error_code) == ("timeout", "execution_timeout")
    assert statuses(run) == {"w": "cancelled", "g": "cancelled"}


def test_once_the_wait_is_over_the_time_of_people_does_not_count(
    scene: Scene, hand: DriverByHand
) -> None:
    run = scene.run(wait(event="paid"), gate("g"), timeout_seconds=60)
    hand.work()
    send(run)
    hand.work()
    assert statuses(run) == {"w": "completed", "g": "waiting"}
    assert (row(run).active_since, row(run).wake_at) == (None, None)
    cancel_execution(run.id, user=None)


@pytest.mark.django_db(transaction=True)
def test_a_running_engine_wakes_up_in_time(scene: Scene, engine: Driver) -> None:
    started = time.monotonic()
    run = ended(scene.run(wait(seconds=0.3), wait("e", event="go", after=["w"], timeout=1)))
    assert 1.2 < time.monotonic() - started < 4
    assert statuses(run) == {"w": "completed", "e": "timeout"}


def test_the_clock_stands_still_for_a_wait_that_an_earlier_release_began(
    scene: Scene, hand: DriverByHand
) -> None:
    """So did that of such runs then: they are not ended for what they had time for."""
    waits = {"name": "w", "step_type": "wait", "config": {"seconds": 7200}}
    run = scene.run(waits, gate(), timeout_seconds=3600)
    hand.turn()
    WorkflowStepExecution.objects.filter(execution=run, name="w").update(input_data={})
    WorkflowExecution.objects.filter(id=run.id).update(active_since=None)
    scene.decide(run)
    hand.turn()
    hand.turn(ahead=3601)
    run.refresh_from_db()
    assert (run.status, run.active_since) == ("waiting", None)
