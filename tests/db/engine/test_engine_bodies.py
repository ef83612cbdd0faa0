"""Whatever a step's body does, its attempt comes to an end and the driver lives."""

import asyncio
import logging
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.db.engine.scenes import (
    Scene,
    agent,
    ended,
    events_of,
    eventually,
    gate,
    statuses,
    step_is,
    steps_of,
    task,
    temporary,
)
from workflows.logs import StepContextFilter
from workflows.models import WorkflowExecution
from workflows.services.executions import cancel_execution

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


class Hostile(dict[str, Any]):
    """A dict whose methods raise."""

    def items(self) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"bytes",
        lambda: {1, 2},
        lambda: math.nan,
        lambda: [math.inf],
        lambda: object(),
        lambda: "a\0b",
        lambda: "\ud800",
        lambda: {1: "key"},
        lambda: "x" * 5_000_000,
        lambda: 10**5_000,
        lambda: deep(100_000),
        cyclic,
        lambda: Hostile(a=1),
    ],
    ids=[
        "bytes", "set", "NaN", "infinity", "object", "NUL", "lone surrogate", "key of a number",
        "5 MB", "5,000 digits", "100,000 deep", "cycle", "hostile dict",
    ],
)  # fmt: skip
def test_what_cannot_be_stored_fails_its_step_only(scene: Scene, make: Callable[[], Any]) -> None:
    attempts = []

    @temporary("test.returns")
    def returns() -> Any:
        attempts.append(1)
        return make()

    with returns:
        run = ended(scene.run(task("bad", "test.returns", max_retries=0), task("good")))
    step = steps_of(run)["bad"]
    assert statuses(run) == {"bad": "failed", "good": "completed"}
    assert step.error_code == ("error" if make().__class__ is Hostile else "unstorable_output")
    assert step.output_data is None
    assert len(step.error_message) <= 2_100
    assert ended(scene.run(task("s"))).status == "completed"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Endless(Exception):
    def __str__(self) -> str:
        return "x" * 10_000_000


class Worse(Exception):
    @property
    def code(self) -> str:
        raise RuntimeError("no")


class Coded(Exception):
    code = "no code\0at all" * 100


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "error",
    [
        Unreadable(), Endless(), Worse("x"), Coded("\0\ud800"), RecursionError(), MemoryError(),
        SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1),
        StopAsyncIteration(), asyncio.CancelledError(), TimeoutError("its own"),
        BaseExceptionGroup("group", [SystemExit(1)]),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_is_raised_fails_the_attempt_only(
    scene: Scene, error: BaseException, kind: str
) -> None:
    def raises() -> None:
        raise error

    async def araises() -> None:
        raise error

    with temporary("test.raises")(raises if kind == "sync" else araises):
        run = ended(scene.run(task("bad", "test.raises", max_retries=0), task("good")))
    step = steps_of(run)["bad"]
    assert statuses(run) == {"bad": "failed", "good": "completed"}
    assert step.error_code == "error"
    assert 0 < len(step.error_message) <= 2_100
    assert ended(scene.run(task("s"))).status == "completed"


def test_a_task_may_end_by_the_exit_of_a_command(scene: Scene) -> None:
    @temporary("test.exits")
    def exits() -> None:
        sys.exit("usage: …")

    with exits:
        run = ended(scene.run(task("s", "test.exits", max_retries=0)))
    assert "SystemExit" in run.error_message


@pytest.mark.parametrize("run_is", ["under way", "over", "waiting", "cancelled"])
def test_what_a_thread_brings_after_its_time_is_refused_and_told(scene: Scene, run_is: str) -> None:
    """The thread goes on, for nothing can stop it, whatever has become of its run."""
    may_end = {"late": threading.Event(), "beside": threading.Event()}

    def held(name: str) -> str:
        assert may_end[name].wait(20)
        return name

    seconds = None if run_is == "cancelled" else 1
    late = task(
        "late", "test.held", inputs={"name": "late"}, timeout_seconds=seconds, max_retries=0
    )
    others = {
        "under way": [task("beside", "test.held", inputs={"name": "beside"})],
        "waiting": [gate("gate")],
    }
    with temporary("test.held")(held):
        run = scene.run(late, *others.get(run_is, []))
        if run_is == "cancelled":
            step_is(run, "late", "running")
            cancel_execution(run.id, user=None)
        step_is(run, "late", "cancelled" if run_is == "cancelled" else "timeout")
        if run_is in ("over", "waiting"):
            left = WorkflowExecution.objects.filter(id=run.id, driver=None)
            eventually(left.exists, "the run has been left")
        may_end["late"].set()
        [refused] = eventually(lambda: events_of(run.id, "step_result_refused"), "the refusal")
        may_end["beside"].set()
        if run_is == "waiting":
            scene.decide(run)
        ended(run)
    assert refused.data == {"step": "late", "attempt": 1}
    assert steps_of(run)["late"].output_data is None


def test_a_body_that_swallows_its_timeout_has_timed_out(scene: Scene) -> None:
    @temporary("test.deaf")
    async def deaf() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "late"
        return "never"

    with deaf:
        run = ended(scene.run(task("s", "test.deaf", timeout_seconds=1, max_retries=0)))
    assert statuses(run) == {"s": "timeout"}


def test_a_body_may_be_cancelled_from_within_and_is_tried_again(scene: Scene) -> None:
    attempts = []

    @temporary("test.cancels")
    async def cancels(context: Any) -> int:
        attempts.append(context.attempt)
        if context.attempt == 1:
            inner = asyncio.ensure_future(asyncio.sleep(60))
            inner.cancel()
            await inner
        return context.attempt

    with cancels:
        retry = {"retry": {"initial_seconds": 0}}
        run = ended(scene.run(task("s", "test.cancels", config=retry, max_retries=1)))
    assert run.output_data == {"s": 2}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_agent_that_exits_fails_its_attempt_only(scene: Scene, kind: str) -> None:
    def exits() -> None:
        raise StopIteration

    async def aexits() -> None:
        raise SystemExit

    scene.agent("worker", config={"task": "test.exits"})
    with temporary("test.exits")(exits if kind == "sync" else aexits):
        run = ended(scene.run(agent("s", max_retries=0)))
    assert statuses(run) == {"s": "failed"}
    assert ended(scene.run(task("s"))).status == "completed"


def test_a_hundred_bodies_wait_at_the_same_time_in_one_process(scene: Scene) -> None:
    count, together = 100, threading.Event()
    running = []

    @temporary("test.together")
    async def meet() -> None:
        running.append(1)
        if len(running) == count:
            together.set()
        while not together.is_set():
            await asyncio.sleep(0.01)

    with meet:
        run = ended(scene.run(*[task(f"s{n}", "test.together") for n in range(count)]))
    assert run.status == "completed"


def test_outputs_that_are_large_together_are_all_kept(scene: Scene) -> None:
    """Each is within the limit for a step; the run's result holds both."""
    large = "x" * 700_000

    @temporary("test.large")
    async def large_output() -> str:
        return large

    with large_output:
        run = ended(scene.run(task("a", "test.large"), task("b", "test.large")))
    assert (run.status, run.error_code) == ("completed", "")
    assert run.output_data == {"a": large, "b": large}


def test_an_output_as_deep_as_is_allowed_ends_its_run(scene: Scene) -> None:
    @temporary("test.deep")
    async def deep_output() -> Any:
        return deep(32)

    with deep_output:
        run = ended(scene.run(task("s", "test.deep")))
    assert run.status == "completed"
    assert run.output_data == {"s": deep(32)}


@pytest.mark.parametrize("is_async", [True, False])
def test_the_log_lines_of_a_body_name_its_step(
    scene: Scene, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    logger = logging.getLogger("some.task")

    def say() -> None:
        logger.warning("At work")

    async def say_async() -> None:
        say()

    by_step = StepContextFilter()
    caplog.handler.addFilter(by_step)
    with temporary("speak")(say_async if is_async else say):
        run = scene.run(task("loud", "speak"))
        ended(run)
    caplog.handler.removeFilter(by_step)
    [record] = [record for record in caplog.records if record.name == "some.task"]
    about = record.logged_step
    assert (about.execution_id, about.step, about.attempt) == (run.id, "loud", 1)
