"""How far attempts are is told while they run: seldom, and only of those that still count."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.db.agents.contexts import context_of
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.deaths import Crash, Death
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    agent,
    ended,
    events_of,
    eventually,
    task,
    temporary,
)
from workflows.clock import database_now
from workflows.core.outcomes import Failed
from workflows.engine import leases
from workflows.engine.driver import Driver
from workflows.engine.holdings import Holdings
from workflows.engine.progress import MAX_MESSAGE, Progress, Told
from workflows.handlers import StepContext
from workflows.models import Event, WebhookEndpoint, WorkflowExecution
from workflows.services.executions import cancel_execution
from workflows.webhooks.reading import EndpointReader

pytestmark = pytest.mark.django_db


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def woken() -> list[int]:
    return []


@pytest.fixture
def progress(clock: Clock, woken: list[int]) -> Progress:
    return Progress(lambda: woken.append(1), clock)


@pytest.fixture
def context(progress: Progress) -> StepContext:
    made = context_of("python", {})
    progress.open(made)
    return made


def messages(told: list[Told]) -> list[str]:
    return [each.message for each in told]


def key(context: StepContext) -> Any:
    return context.execution_id, context.step_execution_id, context.attempt


# --- what waits, without an engine ----------------------------------------------------------


def test_the_first_message_is_due_at_once_and_the_next_a_second_later(
    progress: Progress, context: StepContext, clock: Clock, woken: list[int]
) -> None:
    assert progress.seconds_left() is None
    context.tell("1 of 9", done=1)
    assert (progress.seconds_left(), len(woken)) == (0, 1)
    [told] = progress.take()
    assert (told.attempt, told.message, told.data) == (key(context), "1 of 9", {"done": 1})
    for number in range(2, 9):
        context.tell(f"{number} of 9")
    assert (progress.take(), len(woken)) == ([], 2)
    assert progress.seconds_left() == 1
    clock.now += 0.999
    assert progress.take() == []
    clock.now += 0.001
    assert messages(progress.take()) == ["8 of 9"]
    assert progress.take() == []
    assert progress.seconds_left() is None


def test_who_runs_for_long_is_told_of_less_often(
    progress: Progress, context: StepContext, clock: Clock
) -> None:
    times = []
    for tick in range(20 * 3_600):
        clock.now = 1_000 + tick / 20
        context.tell("On")
        times += [clock.now for _ in progress.take()]
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 1
    assert max(gaps) < 65
    assert len(times) < 320


def test_of_each_attempt_one_message_waits_and_none_of_what_is_over(
    progress: Progress, context: StepContext
) -> None:
    for number in range(10_000):
        context.tell(str(number))
    assert messages(progress.take()) == ["9999"]
    context.tell("One more")
    progress.close(key(context))
    context.tell("Too late")
    assert progress.seconds_left() is None
    assert (progress._places, progress._waiting) == ({}, {})


def test_a_message_is_bounded_and_can_be_stored(progress: Progress, context: StepContext) -> None:
    given: dict[str, Any] = {"n": 10**400, "nan": float("nan"), "of": object(), "list": [1]}
    context.tell("\0\ud800" + "x" * 100_000, text="y" * 100_000, ok=True, share=0.5, **given)
    [told] = progress.take()
    assert told.message == "�?" + "x" * (MAX_MESSAGE - 2)
    assert told.data == {"text": "y" * 300, "ok": True, "share": 0.5}
    context.tell("", **{str(number): number for number in range(100)})
    progress._places[key(context)].due = 0
    progress._rests_until = 0
    assert len(progress.take()[0].data) == 10


def test_a_thousand_attempts_share_turns(progress: Progress, clock: Clock) -> None:
    contexts = [context_of("python", {}, attempt=number) for number in range(1, 1_001)]
    for each in contexts:
        progress.open(each)
        each.tell("Here")
    assert len(progress.take()) == 500
    assert progress.take() == []
    assert progress.seconds_left() == pytest.approx(0.1)
    clock.now += 0.1
    assert len(progress.take()) == 500


def test_threads_may_tell(progress: Progress, context: StepContext) -> None:
    threads = [threading.Thread(target=context.tell, args=(str(n),)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(progress.take()) == 1


def test_nobody_has_to_listen() -> None:
    context_of("python", {}).tell("Hello?")


# --- what is written ------------------------------------------------------------------------


def told_of(context: StepContext, message: str = "Half", **data: Any) -> Told:
    return Told(key(context), context.name, message, data)


def written(execution: WorkflowExecution) -> list[Event]:
    return [e for e in events_of(execution.id) if e.data.get("activity") == "progress"]


def tell(hand: DriverByHand, *told: Told, results: Any = ()) -> None:
    hand.turn(*results, told=told)  # type: ignore[arg-type]


def test_an_attempt_that_runs_is_told_of(scene: Scene, hand: DriverByHand) -> None:
    worker = scene.agent()
    execution = scene.run(task("t"), agent("a"))
    hand.turn()
    tell(hand, told_of(hand.begun["t"], done=3), told_of(hand.begun["a"], activity="x", step="x"))
    of_task, of_agent = sorted(written(execution), key=lambda event: event.message, reverse=True)
    assert (of_task.event_type, of_task.message) == ("step_progress", "t: Half")
    assert of_task.data == {"activity": "progress", "step": "t", "attempt": 1, "done": 3}
    assert (of_agent.event_type, of_agent.agent_id) == ("agent_activity", worker.id)
    assert of_agent.workflow_step_id == hand.begun["a"].step_execution_id
    assert of_agent.data == {"activity": "progress", "step": "a", "attempt": 1}


def test_what_has_ended_is_under_way_no_more(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"), task("b", after=["a"]))
    hand.turn()
    context = hand.begun["a"]
    tell(hand, told_of(context), results=[hand.result("a")])
    tell(hand, told_of(context))
    assert written(execution) == []


def test_an_attempt_that_another_one_has_followed_tells_nothing(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("a", config=AT_ONCE))
    hand.turn()
    first = hand.begun["a"]
    hand.turn(hand.result("a", Failed("timeout", "too slow", is_timeout=True)))
    tell(hand, told_of(first))
    tell(hand, told_of(first))
    assert written(execution) == []
    tell(hand, told_of(hand.begun["a"], "Second"))
    assert [event.data["attempt"] for event in written(execution)] == [2]


def test_who_lost_the_run_to_another_driver_tells_nothing(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    context = hand.begun["a"]
    WorkflowExecution.objects.update(driver=None, wake_at=database_now())
    other = DriverByHand()
    other.turn()
    tell(hand, told_of(context))
    assert written(execution) == []
    tell(other, told_of(other.begun["a"]))
    assert len(written(execution)) == 1


def test_a_run_that_was_cancelled_tells_nothing(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    context = hand.begun["a"]
    cancel_execution(execution.id, user=scene.users["operator"])
    tell(hand, told_of(context))
    assert written(execution) == []


def test_of_a_run_that_is_not_here_nothing_is_told(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    context = hand.begun["a"]
    stranger = Holdings(leases.register())
    stranger.take_turn(
        [],
        told=[told_of(context)],
        about=database_now(),
        drivers=2,
        has_hint=False,
        is_inventory=False,
        is_draining=False,
    )
    assert written(execution) == []


@pytest.mark.parametrize(
    ("event_types", "heard"),
    [
        ([], ["step_started"]),
        (["step_progress"], ["step_progress"]),
        (["step_started", "agent_activity"], ["step_started"]),
    ],
)
def test_webhooks_hear_of_it_only_where_they_name_it(
    scene: Scene, hand: DriverByHand, event_types: list[str], heard: list[str]
) -> None:
    WebhookEndpoint.objects.create(
        workspace=scene.workspace,
        url="https://hooks.example/",
        event_types=event_types,
        created_by=scene.users["admin"],
        created_at=database_now(),
    )
    execution = scene.run(task("a"))
    hand.turn()
    tell(hand, told_of(hand.begun["a"]))
    reader = EndpointReader()
    wanted = reader.wanted(scene.workspace.id)
    events = [e for e in events_of(execution.id) if e.event_type in wanted]
    rows = reader.rows(scene.workspace.id, events, database_now())
    assert [row.event_type for row in rows if row.event_type.startswith("step_")] == heard


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("at", "is_written"), [(1, False), (2, True)])
def test_a_process_that_dies_meanwhile_tells_all_or_nothing_and_the_run_goes_on(
    scene: Scene, hand: DriverByHand, at: int, is_written: bool
) -> None:
    execution = scene.run(task("a"))
    hand.turn()
    with pytest.raises(Crash), Death(at).at_commits():
        tell(hand, told_of(hand.begun["a"]))
    assert bool(written(execution)) is is_written
    WorkflowExecution.objects.update(driver=None, wake_at=database_now())
    DriverByHand().work()
    assert ended(execution).status == "completed"


# --- with an engine -------------------------------------------------------------------------


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_the_engine_writes_it_while_the_step_runs(
    scene: Scene, engine: Driver, go_on: threading.Event, kind: str
) -> None:
    def sync(context: StepContext) -> None:
        context.tell("Half", done=1)
        go_on.wait(20)

    async def on_the_loop(context: StepContext) -> None:
        context.tell("Half", done=1)
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    with temporary("test.tells")(sync if kind == "sync" else on_the_loop):
        execution = scene.run(task("a", "test.tells"))
        [event] = eventually(lambda: written(execution), "progress")
        assert event.message == "a: Half"
        go_on.set()
        assert ended(execution).status == "completed"
    writer = engine._writer
    eventually(lambda: not writer.progress._places, "nothing that is left open")


@pytest.mark.django_db(transaction=True)
def test_the_engine_writes_no_more_than_it_should_and_results_at_once(
    scene: Scene, engine: Driver
) -> None:
    async def chatters(context: StepContext) -> None:
        for number in range(5_000):
            context.tell(str(number))

    with temporary("test.chatters")(chatters):
        execution = scene.run(task("a", "test.chatters"))
        assert ended(execution).status == "completed"
    assert len(written(execution)) <= 1


@pytest.mark.django_db(transaction=True)
def test_an_isolated_task_runs_without_anybody_to_tell(scene: Scene, engine: Driver) -> None:
    execution = scene.run(task("a", config={"isolated": True}))
    assert ended(execution, 60).status == "completed"
