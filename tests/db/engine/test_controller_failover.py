"""An agent that fails in the middle of a step: another one takes over, and how the first one comes
back."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from agents.faults import AgentFault, InputFault
from agents.models import AgentInstance, AgentReservation
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    agent,
    ended,
    events_of,
    steps_of,
    temporary,
)
from workflows.core.outcomes import Failed
from workflows.engine.driver import Driver
from workflows.models import WorkflowExecution
from workflows.tasks import TaskFailure

pytestmark = pytest.mark.django_db

#: A failure that is the agent's own.
FAULT = Failed("agent_unreachable", "No answer", elsewhere=True)


@pytest.fixture
def two(scene: Scene) -> list[AgentInstance]:
    """Two agents that can do the same; the first one is asked first."""
    return [
        scene.agent(slug, definition="worker", places=5, id=UUID(int=number))
        for number, slug in enumerate(("one", "two"), 1)
    ]


@pytest.fixture
def broken() -> Iterator[list[BaseException]]:
    """Register ``test.broken`` and ``test.broken_sync``, which raise what is put in here."""
    errors: list[BaseException] = []

    @temporary("test.broken")
    async def broken_async(**inputs: Any) -> None:
        raise errors[0]

    @temporary("test.broken_sync")
    def broken_sync(**inputs: Any) -> None:
        raise errors[0]

    with broken_async, broken_sync:
        yield errors


def again(worker: AgentInstance) -> AgentInstance:
    return AgentInstance.objects.get(id=worker.id)


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


def held() -> list[tuple[str, int, str]]:
    rows = AgentReservation.objects.order_by("reserved_at", "attempt")
    return list(rows.values_list("agent_instance__slug", "attempt", "outcome"))


def break_agent(worker: AgentInstance, task: str = "test.broken") -> None:
    AgentInstance.objects.filter(id=worker.id).update(config={"task": task})


# --- whose fault it is --------------------------------------------------------------------


@pytest.mark.parametrize("task", ["test.broken", "test.broken_sync"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AgentFault("It is down", "http_503"), "http_503"),
        (ConnectionResetError("reset"), "agent_unreachable"),
        (TimeoutError("slow"), "agent_timeout"),
        (MemoryError("full"), "agent_crashed"),
        (SystemExit(3), "agent_crashed"),
        (TaskFailure("Bad gateway", "http_502"), "http_502"),
    ],
)
def test_another_agent_takes_over_what_one_failed_at(
    scene: Scene,
    hand: DriverByHand,
    two: list[AgentInstance],
    broken: list[BaseException],
    task: str,
    error: BaseException,
    code: str,
) -> None:
    broken.append(error)
    break_agent(two[0], task)
    execution = scene.run(agent("s", config={"inputs": {"a": 1}}, max_retries=0))
    hand.work()
    step = steps_of(execution)["s"]
    assert row(execution).status == "completed"
    assert (step.agent_instance_id, step.attempts, step.failovers) == (two[1].id, 2, 1)
    assert step.output_data == {"a": 1}
    assert held() == [("one", 1, "moved"), ("two", 2, "completed")]
    assert again(two[0]).status == "error"
    assert again(two[0]).last_error
    assert again(two[1]).status == "idle"
    [retrying] = events_of(execution.id, "step_retrying")
    assert retrying.agent_id == two[0].id
    assert retrying.data["error_code"] == code
    assert (retrying.data["agent"], retrying.data["taken_over_by"]) == ("One", "Two")
    [marked] = events_of(execution.id, "agent_status_changed")
    assert (marked.agent_id, marked.data["status"]) == (two[0].id, "error")


@pytest.mark.parametrize("error", [ValueError("What?"), TaskFailure("No", "http_404")])
def test_what_the_inputs_cause_marks_nobody(
    scene: Scene,
    hand: DriverByHand,
    two: list[AgentInstance],
    broken: list[BaseException],
    error: BaseException,
) -> None:
    broken.append(error)
    break_agent(two[0])
    execution = scene.run(agent("s", max_retries=0))
    hand.work()
    assert row(execution).status == "failed"
    assert held() == [("one", 1, "failed")]
    assert again(two[0]).status == "idle"


def test_inputs_that_an_agent_refuses_are_not_tried_again(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance], broken: list[BaseException]
) -> None:
    broken.append(InputFault("Too long", "http_413"))
    break_agent(two[0])
    execution = scene.run(agent("s", config=AT_ONCE, max_retries=3))
    hand.work()
    assert (row(execution).error_code, steps_of(execution)["s"].attempts) == ("http_413", 1)


def test_an_attempt_that_takes_too_long_is_taken_over(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    @temporary("test.slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    break_agent(two[0], "test.slow")
    with slow:
        execution = scene.run(agent("s", timeout_seconds=1, max_retries=0))
        hand.work()
    assert row(execution).status == "completed"
    assert held() == [("one", 1, "moved"), ("two", 2, "completed")]


# --- taking over --------------------------------------------------------------------------


def test_who_takes_over_begins_in_the_same_turn_with_the_same_inputs_and_key(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    scene.run(agent("s", config={"inputs": {"plan": [1, 2]}}))
    hand.turn()
    first = hand.begun["s"]
    hand.turn(hand.result("s", FAULT))
    second = hand.begun["s"]
    assert second.inputs == first.inputs == {"plan": [1, 2]}
    assert second.idempotency_key == first.idempotency_key
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.prepared.agent_instance_id == two[1].id
    reason = AgentReservation.objects.get(attempt=2).reason
    assert reason["takes_over_from"] == ["one"]
    assert reason["refused"] == {"one": "it failed just now"}


def test_a_failure_after_a_takeover_has_all_the_retries_of_the_step(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    execution = scene.run(agent("s", config=AT_ONCE, max_retries=1))
    hand.turn()
    hand.turn(hand.result("s", FAULT))
    hand.turn(hand.result("s", Failed("error", "x")))
    hand.turn(hand.result("s", Failed("error", "x")))
    step = steps_of(execution)["s"]
    assert (step.status, step.attempts, step.failovers) == ("failed", 3, 1)


def test_where_nobody_is_left_the_step_is_retried_and_fails_as_any_other(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    execution = scene.run(agent("s", config=AT_ONCE, max_retries=1))
    for _ in range(2):
        hand.turn()
        hand.turn(hand.result("s", FAULT))
        hand.turn(hand.result("s", FAULT))
    step = steps_of(execution)["s"]
    assert (step.status, step.attempts, step.failovers) == ("failed", 4, 2)
    assert step.error_code == "agent_unreachable"
    assert row(execution).status == "failed"
    outcomes = AgentReservation.objects.order_by("attempt").values_list("outcome", flat=True)
    assert list(outcomes) == ["moved", "failed", "moved", "failed"]


def test_a_single_agent_that_fails_is_retried_as_the_step_says(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(agent("s", config=AT_ONCE, max_retries=1))
    hand.turn()
    hand.turn(hand.result("s", FAULT))
    hand.work()
    step = steps_of(execution)["s"]
    assert (step.status, step.attempts, step.failovers) == ("completed", 2, 0)
    assert len(events_of(execution.id, "step_retrying")) == 1


def test_who_could_take_over_but_is_busy_is_waited_for(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    AgentInstance.objects.update(max_concurrency=1)
    execution = scene.run(agent("a"), agent("b", max_retries=0))
    hand.turn()
    first = next(n for n, c in hand.begun.items() if c.prepared.agent_instance_id == two[0].id)
    other = "b" if first == "a" else "a"
    hand.turn(hand.result(first, FAULT))
    assert set(hand.begun) == {other}
    assert steps_of(execution)[first].status == "retrying"
    hand.finish(other)
    hand.turn(ahead=2)
    assert hand.begun[first].prepared.agent_instance_id == two[1].id
    hand.finish(first)
    assert row(execution).status == "completed"


def test_a_worker_that_dies_does_not_forget_who_failed(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    execution = scene.run(agent("s", max_retries=0))
    hand.turn()
    hand.turn(hand.result("s", FAULT))
    hand.holdings.hand_back_all()
    other = DriverByHand()
    other.turn()
    assert other.begun["s"].prepared.agent_instance_id == two[1].id
    other.finish("s")
    step = steps_of(execution)["s"]
    assert (step.status, step.failovers) == ("completed", 1)


@pytest.mark.django_db(transaction=True)
def test_the_second_agent_begins_within_a_second(
    scene: Scene,
    two: list[AgentInstance],
    broken: list[BaseException],
    launch: Callable[[], Driver],
) -> None:
    broken.append(ConnectionRefusedError("down"))
    break_agent(two[0])
    execution = scene.run(agent("s", max_retries=0))
    launch()
    assert ended(execution).status == "completed"
    first, second = AgentReservation.objects.order_by("attempt")
    assert second.reserved_at - first.released_at < timedelta(seconds=1)


# --- the circuit --------------------------------------------------------------------------


def fault(scene: Scene, hand: DriverByHand, times: int) -> None:
    """Let the agents fail at so many steps, one after the other."""
    for number in range(times):
        scene.run(agent(f"fault{number}", max_retries=0))
        hand.turn()
        hand.turn(hand.result(f"fault{number}", FAULT))


def test_a_success_returns_a_failed_agent_to_service(scene: Scene, hand: DriverByHand) -> None:
    worker = scene.agent(places=5)
    fault(scene, hand, 1)
    assert (again(worker).status, again(worker).faults) == ("error", 1)
    scene.run(agent("a"), agent("b"))
    hand.turn()
    assert len(hand.begun) == 1, "a trial is one step at a time"
    hand.finish(next(iter(hand.begun)))
    assert (again(worker).status, again(worker).faults) == ("idle", 0)
    assert again(worker).probe_at is None


def test_a_failed_agent_comes_last_until_its_time(
    scene: Scene, hand: DriverByHand, two: list[AgentInstance]
) -> None:
    fault(scene, hand, 1)
    hand.finish("fault0")
    for name, ahead, expected in (("soon", 0, two[1]), ("later", 31, two[0])):
        scene.run(agent(name, config={"assignment_strategy": "least_loaded"}))
        hand.turn(ahead=ahead)
        assert hand.begun[name].prepared.agent_instance_id == expected.id
        hand.finish(name)


def test_after_repeated_faults_nothing_goes_to_the_agent_but_one_trial_at_a_time(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    settings.MGX_AGENT_FAULTS_UNTIL_OPEN = 2
    settings.MGX_AGENT_PROBE_SECONDS = 100
    worker = scene.agent(places=5)
    fault(scene, hand, 2)
    runs = [scene.run(agent(f"s{n}")) for n in range(3)]
    hand.turn()
    assert not hand.begun, "open"
    hand.turn(ahead=90)
    assert not hand.begun, "still open"
    hand.turn(ahead=101)
    [name] = hand.begun
    hand.turn(ahead=103)
    assert set(hand.begun) == {name}, "one trial at a time"
    hand.turn(hand.result(name, FAULT), ahead=104)
    hand.turn(ahead=110)
    assert not hand.begun, "open again"
    hand.turn(ahead=205)
    [name] = hand.begun
    hand.turn(hand.result(name), ahead=206)
    assert (again(worker).status, again(worker).faults) == ("idle", 0)
    hand.turn(ahead=208)
    assert len(hand.begun) == 2, "closed"
    hand.finish(*hand.begun)
    assert "completed" in {row(run).status for run in runs}


@pytest.mark.django_db(transaction=True)
def test_claimants_at_once_never_let_two_trials_through(
    scene: Scene, launch: Callable[[], Driver], settings: Any
) -> None:
    settings.MGX_AGENT_PROBE_SECONDS = 0.01
    now, most, failed = [0], [0], []

    @temporary("test.trial")
    async def trial() -> None:
        now[0] += 1
        if len(failed) < 3:
            most[0] = max(most[0], now[0])
        await asyncio.sleep(0.05)
        now[0] -= 1
        if len(failed) < 3:
            failed.append(True)
            raise ConnectionResetError("down")

    worker = scene.agent(places=10, config={"task": "test.trial"}, status="error", faults=9)
    with trial:
        workflow = scene.workflow(agent("s", config=AT_ONCE, max_retries=10))
        runs = [scene.start(workflow) for _ in range(10)]
        for _ in range(3):
            launch()
        for run in runs:
            assert ended(run, 60).status == "completed"
    assert most[0] == 1
    assert again(worker).status == "idle"


def test_an_agent_that_fails_at_one_step_and_succeeds_at_another_in_one_turn_is_in_service(
    scene: Scene, hand: DriverByHand
) -> None:
    worker = scene.agent(places=2)
    scene.run(agent("bad", max_retries=0), agent("good"))
    hand.turn()
    down = Failed("http_503", "It is down", elsewhere=True)
    hand.turn(hand.result("bad", down), hand.result("good"))
    assert (again(worker).status, again(worker).faults) == ("idle", 0)
