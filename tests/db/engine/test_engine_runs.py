"""Runs from their start to their end, on a driver in this process."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from approvals.models import ApprovalDecision
from tests.db.engine.scenes import (
    AT_ONCE,
    Scene,
    ended,
    events_of,
    eventually,
    gate,
    request_of,
    statuses,
    step_is,
    steps_of,
    task,
    temporary,
)
from workflows.engine.driver import Driver
from workflows.models import Workflow, WorkflowExecution, WorkflowVersion

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def test_the_example_runs_as_it_stands(scene: Scene, workflow: Workflow) -> None:
    execution = scene.start(workflow, task_description="Release 2.4")
    request = request_of(execution)
    assert request.title == "Approve Deployment Plan"
    assert "stages" in request.approval_data["generate_plan"]
    assert WorkflowExecution.objects.get(id=execution.id).status == "waiting"
    scene.decide(execution, feedback="Go")
    run = ended(execution)
    assert run.status == "completed"
    steps = steps_of(run)
    assert {step.status for step in steps.values()} == {"completed"}
    assert steps["approval_gate"].output_data["decided_by"] == "user123"
    assert steps["execute_plan"].input_data["plan"] == steps["generate_plan"].output_data
    assert run.output_data == {"execute_plan": steps["execute_plan"].output_data}
    assert [event.event_type for event in events_of(run.id)] == [
        "workflow_started",
        "step_started",
        "step_completed",
        "step_started",
        "approval_required",
        "approval_granted",
        "step_completed",
        "step_started",
        "step_completed",
        "workflow_completed",
    ]


def test_parallel_steps_meet_again(scene: Scene) -> None:
    run = ended(
        scene.run(
            task("a", inputs={"n": 1}),
            task("b", after=["a"], inputs={"n": "${steps.a.n}"}),
            task("c", after=["a"], inputs={"n": "${steps.a.n}"}),
            task("d", after=["b", "c"], inputs={"both": ["${steps.b.n}", "${steps.c.n}"]}),
        )
    )
    assert run.output_data == {"d": {"both": [1, 1]}}


def test_what_was_published_under_names_that_are_refused_by_now_still_runs(
    scene: Scene, client_for: Any
) -> None:
    workflow = scene.workflow(
        task("first", inputs={"n": 1}),
        task("last", after=["first"], inputs={"n": "${steps['first'].n}"}),
    )
    old = {"first": "fi\u034frst", "last": "\u3164"}
    text = json.dumps(workflow.published_version.definition)
    for now, before in old.items():
        text = text.replace(now, before.encode("unicode_escape").decode())
        workflow.steps.filter(name=now).update(name=before)
    workflow.steps.filter(name=old["last"]).update(
        depends_on_steps=[old["first"]],
        config={"task": "transform", "inputs": {"n": f"${{steps['{old['first']}'].n}}"}},
    )
    WorkflowVersion.objects.filter(workflow=workflow).update(definition=json.loads(text))
    run = ended(scene.start(workflow))
    assert run.output_data == {old["last"]: {"n": 1}}
    client = client_for("editor")
    for page in (f"/executions/{run.id}/", f"/workflows/{workflow.id}/"):
        assert client.get(page).status_code == 200


def test_a_step_that_fails_is_tried_again_after_its_pause(scene: Scene) -> None:
    calls = []

    @temporary("test.flaky")
    async def flaky(context: Any) -> dict[str, Any]:
        calls.append((context.attempt, context.idempotency_key))
        if len(calls) < 3:
            raise ConnectionError("not yet")
        return {"calls": len(calls)}

    retry = {"initial_seconds": 0.2, "jitter": 0}
    with flaky:
        run = ended(scene.run(task("s", "test.flaky", config={"retry": retry}, max_retries=2)))
    assert run.output_data == {"s": {"calls": 3}}
    assert [attempt for attempt, _ in calls] == [1, 2, 3]
    assert len({key for _, key in calls}) == 1
    assert steps_of(run)["s"].error_code == ""
    told = events_of(run.id, "step_started", "step_retrying")
    assert [event.data.get("delay_seconds") for event in told] == [None, 0.2, None, 0.4, None]
    pauses = [later.timestamp - event.timestamp for event, later in itertools.pairwise(told)]
    assert 0.2 <= pauses[1].total_seconds() < 1.4
    assert 0.4 <= pauses[3].total_seconds() < 1.6


@pytest.mark.parametrize(("code", "attempts"), [("busy", 3), ("wrong", 1)])
def test_only_what_is_worth_it_is_tried_again(scene: Scene, code: str, attempts: int) -> None:
    config = {"retry": {"initial_seconds": 0, "no_retry_on": ["wrong"]}}
    failing = task("s", "fail", inputs={"code": code}, config=config, max_retries=2)
    run = ended(scene.run(failing))
    assert (run.status, run.error_code) == ("failed", code)
    assert steps_of(run)["s"].attempts == attempts


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_an_attempt_that_takes_too_long_times_out(scene: Scene, kind: str) -> None:
    released = threading.Event()

    async def slow_async() -> None:
        await asyncio.sleep(60)

    def slow_sync() -> None:
        released.wait(60)

    with temporary("test.slow")(slow_async if kind == "async" else slow_sync):
        run = ended(
            scene.run(
                task("s", "test.slow", timeout_seconds=1, max_retries=0), task("t", after=["s"])
            )
        )
        released.set()
    step = steps_of(run)["s"]
    assert (step.status, step.error_code) == ("timeout", "timeout")
    assert (run.status, run.error_code) == ("failed", "timeout")
    assert statuses(run)["t"] == "skipped upstream_failed"


def test_a_timed_out_attempt_is_tried_again(scene: Scene) -> None:
    attempts = []

    @temporary("test.slow_once")
    async def slow_once(context: Any) -> int:
        attempts.append(context.attempt)
        if context.attempt == 1:
            await asyncio.sleep(60)
        return context.attempt

    with slow_once:
        step = task("s", "test.slow_once", timeout_seconds=1, max_retries=1, config=AT_ONCE)
        run = ended(scene.run(step))
    assert run.output_data == {"s": 2}
    assert events_of(run.id, "step_retrying")[0].data["error_code"] == "timeout"


def test_a_run_has_a_time_limit_of_its_own(scene: Scene) -> None:
    run = ended(
        scene.run(
            task("s", "sleep", inputs={"seconds": 60}),
            gate("g"),
            task("t", after=["s"]),
            timeout_seconds=1,
        )
    )
    assert (run.status, run.error_code) == ("timeout", "execution_timeout")
    assert statuses(run) == {"s": "cancelled", "g": "cancelled"}
    assert [e.event_type for e in events_of(run.id)[-2:]] == [
        "approval_cancelled",
        "workflow_failed",
    ]


def test_waiting_for_people_does_not_count_as_running(scene: Scene) -> None:
    execution = scene.run(gate("g"), task("t", after=["g"]), timeout_seconds=1)
    request_of(execution)
    stopped = WorkflowExecution.objects.filter(
        id=execution.id, status="waiting", active_since=None, driver=None, wake_at=None
    )
    eventually(stopped.exists, "its clock standing still")
    assert stopped.get().active_seconds < 1
    long_ago = stopped.get().created_at.replace(year=2020)
    stopped.update(created_at=long_ago, started_at=long_ago)
    scene.decide(execution)
    assert ended(execution).status == "completed"


def test_skips_say_why(scene: Scene) -> None:
    variables = [{"name": "yes", "data_type": "bool", "default_value": False}]
    run = ended(
        scene.run(
            task("condition_false", condition_expression="yes"),
            task("upstream_skipped", after=["condition_false"]),
            task("fails", "fail", max_retries=0),
            task("upstream_failed", after=["fails"]),
            task("further", after=["upstream_failed"]),
            task("not_met", after=["fails"], trigger_rule="all_skipped"),
            variables=variables,
        )
    )
    assert statuses(run) == {
        "condition_false": "skipped condition_false",
        "upstream_skipped": "skipped upstream_skipped",
        "fails": "failed",
        "upstream_failed": "skipped upstream_failed",
        "further": "skipped upstream_failed",
        "not_met": "skipped trigger_rule_not_met",
    }
    assert (run.status, run.error_code) == ("failed", "error")


def test_a_condition_completes_or_skips(scene: Scene) -> None:
    def condition(name: str, expression: str) -> dict[str, Any]:
        return {"name": name, "step_type": "condition", "condition_expression": expression}

    run = ended(
        scene.run(
            condition("true", "n > 1"),
            condition("false", "n > 2"),
            task("after_true", after=["true"]),
            task("after_false", after=["false"]),
            variables=[{"name": "n", "data_type": "int", "default_value": 2}],
        )
    )
    assert statuses(run) == {
        "true": "completed",
        "false": "skipped condition_false",
        "after_true": "completed",
        "after_false": "skipped upstream_skipped",
    }
    assert run.status == "completed"


def test_a_tolerated_failure_does_not_fail_the_run(scene: Scene) -> None:
    tolerated = {"continue_on_error": True}
    run = ended(
        scene.run(task("s", "fail", config=tolerated, max_retries=0), task("t", after=["s"]))
    )
    assert run.status == "completed"
    assert statuses(run) == {"s": "failed", "t": "completed"}


def test_a_failure_lets_the_other_branches_end_first(scene: Scene) -> None:
    run = ended(
        scene.run(
            task("fails", "fail", max_retries=0),
            task("a", "sleep", inputs={"seconds": 0.1}),
            task("b", after=["a"]),
        )
    )
    assert run.status == "failed"
    assert statuses(run)["b"] == "completed"


def test_fail_fast_starts_nothing_more_but_what_accepts_failures(scene: Scene) -> None:
    run = ended(
        scene.run(
            task("fails", "fail", max_retries=0),
            task("a", "sleep", inputs={"seconds": 0.1}),
            task("b", after=["a"]),
            task("clean_up", after=["a", "fails"], trigger_rule="all_done"),
            config={"fail_fast": True},
        )
    )
    assert run.status == "failed"
    assert statuses(run) == {
        "fails": "failed",
        "a": "completed",
        "b": "skipped upstream_failed",
        "clean_up": "completed",
    }


def test_a_task_that_is_not_registered_fails_its_step_at_once(scene: Scene) -> None:
    @temporary("test.gone")
    async def gone() -> None:
        """It is there when the workflow is saved, and gone when it runs."""

    with gone:
        workflow = scene.workflow(task("s", "test.gone"))
    run = ended(scene.start(workflow))
    assert run.error_code == "unknown_task"
    assert steps_of(run)["s"].attempts == 1


def test_inputs_that_a_task_does_not_take_fail_its_step_at_once(scene: Scene) -> None:
    variables = [{"name": "pause", "data_type": "string", "default_value": "5"}]
    step = task("s", "sleep", inputs={"seconds": "${pause}"})
    run = ended(scene.run(step, variables=variables))
    assert (run.error_code, steps_of(run)["s"].attempts) == ("invalid_inputs", 1)
    assert "'seconds'" in run.error_message


@pytest.mark.parametrize(
    "step",
    [
        task("s", inputs={"x": "${data.missing}"}),
        task("s", inputs={"x": "${data + 1}"}),
        task("s", condition_expression="data.missing"),
        task("s", condition_expression="data.word"),
    ],
    ids=["missing key", "wrong type", "condition without value", "condition of no bool"],
)
def test_an_expression_without_a_value_fails_its_step(scene: Scene, step: dict[str, Any]) -> None:
    variables = [{"name": "data", "data_type": "json", "default_value": {"word": "x"}}]
    run = ended(scene.run(step, variables=variables))
    assert (run.status, run.error_code) == ("failed", "expression_error")
    assert (steps_of(run)["s"].attempts, steps_of(run)["s"].started_at) == (0, None)


def test_a_decision_of_a_run_that_nobody_holds_goes_on_at_once(scene: Scene) -> None:
    """The wake-up is the commit's own; the scan of every second is not waited for."""
    execution = scene.run(gate("g"), task("t", after=["g"]))
    request_of(execution)
    result = scene.decide(execution)
    started = step_is(execution, "t", "completed").started_at
    assert started is not None
    assert result.approval.responded_at is not None
    assert (started - result.approval.responded_at).total_seconds() < 0.5
    assert ApprovalDecision.objects.filter(approval=result.approval).count() == 1


@pytest.mark.promise("P21 a driver that stops under short and long steps")
def test_a_driver_that_stops_ends_what_is_short_and_hands_back_what_is_long(
    scene: Scene, engine: Driver, launch: Callable[[], Driver], settings: Any
) -> None:
    settings.MGX_DRAIN_SECONDS = 2
    is_stopping = threading.Event()
    began: list[str] = []

    @temporary("test.short")
    async def short() -> None:
        began.append("short")
        while not is_stopping.is_set():
            await asyncio.sleep(0.01)

    @temporary("test.long")
    async def long() -> None:
        began.append("long")
        if began.count("long") == 1:
            await asyncio.sleep(600)

    with short, long:
        execution = scene.run(task("s", "test.short"), task("l", "test.long"))
        eventually(lambda: len(began) == 2, "both")
        engine.stop()
        is_stopping.set()
        assert engine.join(10)
        steps = steps_of(execution)
        assert {n: (s.status, s.attempts) for n, s in steps.items()} == {
            "s": ("completed", 1),
            "l": ("retrying", 0),
        }
        launch()
        assert ended(execution).status == "completed"
    assert sorted(began) == ["long", "long", "short"]
    assert {(s.attempts, s.crashes) for s in steps_of(execution).values()} == {(1, 0)}


def test_a_driver_stops_and_says_so(engine: Driver) -> None:
    engine.stop()
    assert engine.join(5)
