"""What cannot be written, planned or opened ends alone: the engine goes on with the others."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from approvals import timers as approval_timers
from approvals.gate import ApprovalGate
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    ended,
    eventually,
    gate,
    request_of,
    statuses,
    step_is,
    steps_of,
    task,
    temporary,
)
from tests.db.engine.threads import at_once
from workflows.bulk import settle_in
from workflows.clock import database_now
from workflows.engine import leases, store, timers, turn, writer
from workflows.engine.advance import Advance
from workflows.engine.driver import Driver
from workflows.engine.holdings import AfterCommit, Holdings
from workflows.models import EngineDriver, Timer, WorkflowExecution

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Failed turns are logged with their tracebacks; here they are wanted."""
    caplog.set_level(logging.CRITICAL, "workflows.engine")


def poison(monkeypatch: pytest.MonkeyPatch, method: str, is_poison: Callable[..., bool]) -> None:
    """Let a method of ``Advance`` raise for what is poison."""
    original = getattr(Advance, method)

    def raising(self: Advance, run: Any, *rest: Any, **named: Any) -> Any:
        if is_poison(run, *rest):
            raise ValueError("poison")
        return original(self, run, *rest, **named)

    monkeypatch.setattr(Advance, method, raising)


def test_a_result_that_cannot_be_written_fails_its_attempt_only(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = turn.write_steps

    def write_steps(records: Any) -> None:
        records = list(records)
        if any(r.output_data and "POISON" in r.output_data for _, r in records):
            raise ValueError("invalid byte sequence")
        original(records)

    monkeypatch.setattr(turn, "write_steps", write_steps)
    healthy = [scene.run(task("a"), task("b", after=["a"])) for _ in range(3)]
    sick = scene.run(task("a", inputs={"x": "POISON"}), task("b"), max_retries=0)
    launch()
    run = ended(sick, 30)
    assert (run.status, run.error_code) == ("failed", "engine_error")
    assert statuses(run) == {"a": "failed", "b": "completed"}
    for execution in healthy:
        assert ended(execution).status == "completed"
        assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def test_a_run_that_cannot_be_planned_is_ended_and_the_others_go_on(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = [scene.run(task("a"), task("b", after=["a"])) for _ in range(3)]
    sick = scene.run(task("a"), gate("g"))
    late = scene.run(task("a"), task("b", after=["a"]))
    poison(monkeypatch, "_plan", lambda run: run.id == sick.id)
    launch()
    run = ended(sick, 30)
    assert (run.status, run.error_code) == ("failed", "engine_error")
    assert "ValueError" in run.error_message
    for execution in (*healthy, late):
        assert ended(execution).status == "completed"


def test_a_run_that_becomes_impossible_underway_is_ended(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gate is open, and it stumbles over the decision."""
    sick = scene.run(
        gate("g"), task("a", after=["g"]), task("long", "sleep", inputs={"seconds": 60})
    )
    released: list[bool] = []

    @temporary("test.held")
    async def held() -> None:
        while not released:
            await asyncio.sleep(0.01)

    with held:
        healthy = scene.run(task("a", "test.held"))
        launch()
        request_of(sick)
        step_is(healthy, "a", "running")
        poison(monkeypatch, "_start", lambda run, frame, name: run.id == sick.id and name == "a")
        scene.decide(sick)
        run = ended(sick, 30)
        assert (run.status, run.error_code) == ("failed", "engine_error")
        assert statuses(run) == {"g": "cancelled", "long": "cancelled"}
        released.append(True)
        assert ended(healthy).status == "completed"
    assert {(s.attempts, s.crashes) for s in steps_of(healthy).values()} == {(1, 0)}


def test_a_gate_that_cannot_be_opened_ends_its_run_only(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ApprovalGate.open

    def raising(self: ApprovalGate, openings: Any, now: Any) -> Any:
        if any(opening.texts["title"] == "POISON" for opening in openings):
            raise ValueError("poison")
        return original(self, openings, now)

    monkeypatch.setattr(ApprovalGate, "open", raising)
    healthy = scene.run(gate("g"))
    sick = scene.run(task("a"), gate("g", after=["a"], title="POISON"))
    launch()
    assert ended(sick, 30).error_code == "engine_error"
    scene.decide(healthy)
    assert ended(healthy).status == "completed"


def test_a_timer_that_cannot_be_fired_is_put_off_and_the_others_fire(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = approval_timers.auto_approve
    sick: list[Any] = []

    def raising(subject_ids: Any, now: Any) -> Any:
        if set(subject_ids) & set(sick):
            raise ValueError("poison")
        return original(subject_ids, now)

    timers._handler.cache_clear()
    monkeypatch.setattr(approval_timers, "auto_approve", raising)
    workflow = scene.workflow(gate("g", auto_approve_after_seconds=1))
    executions = [scene.start(workflow) for _ in range(3)]
    launch()
    sick.append(request_of(executions[1]).id)
    for execution in (executions[0], executions[2]):
        assert ended(execution).status == "completed"
    put_off = Timer.objects.filter(subject_id__in=sick, kind="approval_auto_approve")
    eventually(put_off.filter(due_at__gt=database_now() + timedelta(seconds=30)).exists, "later")
    timers._handler.cache_clear()
    assert ended(scene.run(task("a"))).status == "completed"


def test_an_outage_in_the_middle_of_a_turn_loses_and_repeats_nothing(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    failing = {1, 2, 4}
    turns = iter(range(10_000))
    original = turn.append_events

    def append_events(*arguments: Any) -> None:
        if next(turns) in failing:
            raise OperationalError("the connection is gone")
        original(*arguments)

    @temporary("test.counted")
    async def counted(context: Any) -> None:
        calls.append(f"{context.run_number} {context.step.name}")

    monkeypatch.setattr(turn, "append_events", append_events)
    with counted:
        steps = [task("s0", "test.counted")]
        steps += [task(f"s{n}", "test.counted", after=[f"s{n - 1}"]) for n in range(1, 5)]
        workflow = scene.workflow(*steps)
        executions = [scene.start(workflow) for _ in range(10)]
        launch()
        for execution in executions:
            assert ended(execution, 30).status == "completed"
    assert len(calls) == len(set(calls)) == 50
    assert next(turns) > max(failing)


def test_a_run_whose_turns_alone_lose_their_connection_is_ended(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it wants more written than the database takes, which hangs up without a word."""
    original = turn.write_steps

    def write_steps(records: Any) -> None:
        records = list(records)
        if any(run_id == sick.id for run_id, _ in records):
            if connection.vendor == "postgresql":
                connection.connection.close()
            raise OperationalError("the connection is gone")
        original(records)

    healthy = [scene.run(task("a"), task("b", after=["a"])) for _ in range(3)]
    sick = scene.run(task("a"), gate("g"))
    monkeypatch.setattr(turn, "write_steps", write_steps)
    launch()
    run = ended(sick, 30)
    assert (run.status, run.error_code) == ("failed", "engine_error")
    assert "OperationalError" in run.error_message
    for execution in (*healthy, scene.run(task("late"))):
        assert ended(execution).status == "completed"
        assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def deadlock() -> Exception:
    return psycopg.errors.DeadlockDetected()


def locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def no_word() -> Exception:
    return psycopg.OperationalError("the connection is gone")


@pytest.mark.parametrize("cause", [deadlock, locked, no_word])
def test_no_run_is_ended_for_what_the_database_suffers(
    scene: Scene,
    launch: Callable[[], Driver],
    monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[], Exception],
) -> None:
    """What goes without a word is that, as long as another connection is not answered either."""
    turns = iter(range(10_000))
    suffers = threading.Event()
    heartbeat, append_events = leases.heartbeat, turn.append_events

    def suffering(*arguments: Any) -> None:
        if next(turns) < 4:
            suffers.set()
            raise OperationalError from cause()
        suffers.clear()
        append_events(*arguments)

    def unheard(driver_id: Any) -> None:
        if suffers.is_set() and cause is no_word:
            suffers.clear()
            raise OperationalError from cause()
        heartbeat(driver_id)

    monkeypatch.setattr(turn, "append_events", suffering)
    monkeypatch.setattr(leases, "heartbeat", unheard)
    execution = scene.run(task("a"), task("b", after=["a"]))
    launch()
    assert ended(execution, 30).status == "completed"
    assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def test_large_outputs_are_recorded_a_few_in_a_turn(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    count, together = 20, threading.Event()
    begun: list[int] = []
    written: list[int] = []
    take_turn = Holdings.take_turn

    def noted(holdings: Holdings, results: Any, **how: Any) -> AfterCommit:
        written.append(sum(result.size for result in results))
        return take_turn(holdings, results, **how)

    @temporary("test.large")
    async def large() -> str:
        begun.append(1)
        if len(begun) == count:
            together.set()
        while not together.is_set():
            await asyncio.sleep(0.01)
        return "x" * 3_000

    monkeypatch.setattr(writer, "_BYTES_A_TURN", 10_000)
    monkeypatch.setattr(Holdings, "take_turn", noted)
    with large:
        run = scene.run(*[task(f"s{number}", "test.large") for number in range(count)])
        launch()
        assert ended(run).status == "completed"
    assert 3_000 < max(written) <= 10_000


def test_a_fenced_driver_starts_over_as_a_new_one(
    scene: Scene, launch: Callable[[], Driver], settings: Any
) -> None:
    begun: list[int] = []

    @temporary("test.long")
    async def long(context: Any) -> int:
        begun.append(context.attempt)
        if context.attempt == 1:
            await asyncio.sleep(60)
        return context.attempt

    with long:
        execution = scene.run(task("a", "test.long"), task("b", after=["a"]))
        launch()
        eventually(lambda: begun == [1], "the first attempt")
        drivers = EngineDriver.objects.filter(fenced_at=None, stopped_at=None)
        first = drivers.get()
        EngineDriver.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
        launch()
        run = ended(execution)
    assert begun == [1, 2]
    assert run.output_data == {"b": {}}
    assert steps_of(run)["a"].crashes == 1
    eventually(lambda: drivers.exclude(id=first.id).count() == 2, "a new row for the first driver")


def test_a_body_that_ends_the_loop_costs_its_own_step_only(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    """SystemExit in a task of asyncio's, which the body made, goes through asyncio itself."""

    @temporary("test.ends_loop")
    async def ends_loop() -> None:
        async def exits() -> None:
            raise SystemExit

        await asyncio.gather(exits())

    with ends_loop:
        launch()
        healthy = scene.run(
            task("a", "sleep", inputs={"seconds": 0.3}, config=AT_ONCE), task("b", after=["a"])
        )
        step_is(healthy, "a", "running")
        sick = scene.run(task("s", "test.ends_loop", max_retries=0))
        assert ended(sick, 30).error_code in ("worker_lost", "error")
        assert ended(healthy, 30).status == "completed"


def test_what_is_started_while_there_is_no_loop_runs_on_the_next_one(
    scene: Scene, launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_dead, may_live = threading.Event(), threading.Event()
    serve = Driver._serve

    async def serve_later(driver: Driver) -> None:
        if is_dead.is_set():
            assert may_live.wait(20)
        await serve(driver)

    @temporary("test.ends_loop_once")
    async def ends_loop_once(context: Any) -> None:
        async def exits() -> None:
            is_dead.set()
            raise SystemExit

        if context.attempt == 1:
            await asyncio.gather(exits())

    monkeypatch.setattr(Driver, "_serve", serve_later)
    with ends_loop_once:
        launch()
        sick = scene.run(task("s", "test.ends_loop_once"))
        assert is_dead.wait(10)
        late = scene.run(task("a"), task("b", after=["a"]))
        step_is(late, "a", "running")
        may_live.set()
        for execution in (sick, late):
            assert ended(execution).status == "completed"


def test_a_driver_that_cannot_reach_the_database_stops_when_asked(
    launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    def register() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("workflows.engine.leases.register", register)
    driver = launch()
    driver.stop()
    assert driver.join(5)
    assert not WorkflowExecution.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's lock is its process's")
def test_a_driver_that_is_stopped_in_a_transaction_does_not_keep_others_from_taking_over(
    scene: Scene, settings: Any
) -> None:
    settings.MGX_LEASE_SECONDS = 1
    holds, is_over = threading.Event(), threading.Event()

    def stop_in_the_middle(_: int) -> str:
        settle_in()
        driver_id = leases.register()
        nothing_more = store.lock_query(driver_id, [])
        try:
            with transaction.atomic():
                leases.hold(driver_id, nothing_more)
                holds.set()
                assert is_over.wait(20)
                leases.hold(driver_id, nothing_more)
        except DatabaseError:
            return "gone"
        return "still there"

    def take_over(_: int) -> int:
        try:
            assert holds.wait(10)
            eventually(lambda: leases.take_over_from_the_dead() == 1, "the takeover", 10)
        finally:
            is_over.set()
        return 1

    answers = at_once(2, lambda number: (stop_in_the_middle, take_over)[number](number))
    assert answers == ["gone", 1]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such settings")
def test_a_drivers_connection_is_settled_from_its_first_turn_on(
    launch: Callable[[], Driver], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MGX_LEASE_SECONDS = 7
    longest: list[str] = []
    take_turn = Holdings.take_turn

    def note(holdings: Holdings, *results: Any, **how: Any) -> AfterCommit:
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            longest.append(cursor.fetchone()[0])
        return take_turn(holdings, *results, **how)

    monkeypatch.setattr(Holdings, "take_turn", note)
    launch()
    assert eventually(lambda: longest, "the first turn")[0] == "7s"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connections to cut")
def test_connections_that_are_cut_cost_nobody_a_run(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    steps = [task("s0", "sleep", inputs={"seconds": 0.05})]
    steps += [task(f"s{n}", after=[f"s{n - 1}"]) for n in range(1, 8)]
    workflow = scene.workflow(*steps, max_retries=0)
    launch()
    executions = []
    for _ in range(5):
        executions += [scene.start(workflow) for _ in range(5)]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    for execution in executions:
        assert ended(execution, 30).status == "completed"
