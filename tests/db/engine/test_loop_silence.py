"""An async body that holds the loop is given up like one that kills, and others go on."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from tests.db.engine.scenes import (
    Scene,
    ended,
    eventually,
    step_is,
    steps_of,
    task,
    temporary,
)
from workflows.engine.driver import Driver
from workflows.engine.silence import LoopWatch
from workflows.models import EngineDriver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """While this is not set, the task ``test.holds`` holds the loop that it runs on."""
    event = threading.Event()

    @temporary("test.holds")
    async def holds() -> None:
        event.wait(30)

    with holds:
        yield event
        event.set()


@pytest.fixture
def mortal() -> Iterator[Driver]:
    """A driver whose process is this one, and ends as far as the database can tell."""

    def die() -> None:
        connection.close()
        raise SystemExit

    driver = Driver(end_process=die)
    driver.launch()
    yield driver
    driver.stop()
    assert driver.join(20)


def is_logged(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in record.getMessage() for record in caplog.records)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_step_that_holds_the_loop_is_given_up_and_others_go_on(
    scene: Scene,
    mortal: Driver,
    launch: Callable[[], Driver],
    released: threading.Event,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.MGX_LOOP_SILENCE_SECONDS = 2
    settings.MGX_MAX_CRASHES = 1
    sick = scene.run(task("s", "test.holds", max_retries=0, timeout_seconds=1))
    step_is(sick, "s", "running")
    eventually(lambda: is_logged(caplog, "nothing begins here"), "the silence")
    healthy = scene.run(task("a"), task("b", after=["a"]))
    eventually(lambda: is_logged(caplog, "This process ends"), "the end")
    [said] = [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL]
    assert f"held by s of {sick.id}, attempt 1, at " in said
    assert "test_loop_silence.py" in said
    EngineDriver.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    launch()
    assert ended(healthy).status == "completed"
    assert ended(sick).error_code == "worker_lost"
    assert steps_of(sick)["s"].crashes == 1


def test_a_driver_whose_loop_is_held_begins_nothing_until_it_is_free(
    scene: Scene,
    mortal: Driver,
    released: threading.Event,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.MGX_LOOP_SILENCE_SECONDS = 60
    run = scene.run(task("s", "test.holds"), task("after", after=["s"]))
    step_is(run, "s", "running")
    settings.MGX_LOOP_SILENCE_SECONDS = 3
    eventually(lambda: is_logged(caplog, "nothing begins here"), "the silence")
    settings.MGX_LOOP_SILENCE_SECONDS = 60 * 60
    late = scene.run(task("late"))
    driver = EngineDriver.objects.get()
    assert not driver.executions.filter(id=late.id).exists()
    released.set()
    for execution in (run, late):
        assert ended(execution).status == "completed"


class Loop:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.time = 0.0

    def watch(self) -> LoopWatch:
        return LoopWatch(self.asked.append, lambda: self.time)

    def let_pass(self, watch: LoopWatch, *seconds: float) -> float:
        for each in seconds:
            self.time += each
            watch.look(30)
        return watch.silence


def test_silence_counts_from_a_question_to_its_answer() -> None:
    loop = Loop()
    watch = loop.watch()
    assert loop.let_pass(watch, 1, 1, 1) == 2
    assert len(loop.asked) == 1
    assert loop.let_pass(watch, 0.5) == 2
    loop.asked[0]()
    assert loop.let_pass(watch, 0.5) == 0
    assert len(loop.asked) == 2


def test_a_process_that_was_stopped_has_not_been_kept_waiting() -> None:
    loop = Loop()
    watch = loop.watch()
    assert loop.let_pass(watch, 1, 3_600) == 2
    loop.asked[0]()
    assert loop.let_pass(watch, 1) == 0


def test_who_looks_at_the_loop_with_a_debugger_may_take_their_time(
    scene: Scene, mortal: Driver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MGX_LOOP_SILENCE_SECONDS = 0.5
    done = threading.Event()

    @temporary("test.debugged")
    async def debugged() -> None:
        sys._getframe().f_trace = lambda *_: None
        done.wait(4)

    with debugged:
        run = scene.run(task("s", "test.debugged"))
        eventually(lambda: is_logged(caplog, "nothing begins here"), "the silence")
        done.wait(2)
        done.set()
        assert ended(run).status == "completed"
    assert not is_logged(caplog, "This process ends")
