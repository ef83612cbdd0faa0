"""Why a run does not go on: one reason for each thing that it waits for."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agents.models import AgentInstance
from approvals.services.questions import answer, ask
from tests.db.engine.scenes import agent, gate, request_of, steps_of, task
from workflows.clock import database_now
from workflows.core.outcomes import Failed
from workflows.models import (
    EngineDriver,
    QueueLimit,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services.executions import cancel_execution
from workflows.services.explain import Reason, explain_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def why(scene: Any) -> Any:
    """Return a function from a run to the reasons that a viewer is told, by their code."""

    def ask(execution: Any, role: str = "viewer") -> dict[str, Reason]:
        run = WorkflowExecution.objects.get(pk=execution.pk)
        reasons = explain_execution(run, scene.users[role])
        found = {reason.code: reason for reason in reasons}
        assert len(found) == len(reasons)
        return found

    return ask


def silence(seconds: float) -> None:
    """Let the heartbeats of all drivers be so old."""
    EngineDriver.objects.update(heartbeat_at=database_now() - timedelta(seconds=seconds))


def test_a_run_that_has_ended_waits_for_nothing(scene, hand, why) -> None:
    run = scene.run(task("a"))
    hand.work()
    assert why(run) == {}


def test_a_gate_says_who_may_decide_and_what_silence_leads_to(scene, hand, why) -> None:
    run = scene.run(
        gate(title="Ship it?", required_approvers=["user123"], auto_approve_after_seconds=60)
    )
    hand.turn()
    reason = why(run)["waiting_for_approval"]
    assert "“Ship it?” waits for a decision. Needed: user123" in reason.message
    assert "approves it by itself" in reason.message
    assert reason.step == "gate"
    assert reason.until - reason.since == timedelta(seconds=60)
    assert reason.facts["can_decide"] is False
    assert why(run, "approver")["waiting_for_approval"].facts["can_decide"] is True


@pytest.mark.parametrize(
    ("on_timeout", "effect"),
    [("fail", "fails"), ("continue", "continues"), ("approve", "approves")],
)
def test_a_gate_says_what_its_expiry_does(scene, hand, why, on_timeout, effect) -> None:
    run = scene.run(gate(title="?", on_timeout=on_timeout, expires_after_seconds=600))
    hand.turn()
    assert why(run)["waiting_for_approval"].facts["if_nobody_decides"] == effect


def test_a_question_without_an_answer_keeps_a_gate_from_its_end(scene, hand, api) -> None:
    run = scene.run(gate(title="Ship it?", auto_approve_after_seconds=60))
    hand.turn()
    question = ask(request_of(run).pk, user=scene.users["approver"], body="Why?")

    def told() -> Any:
        [reason] = api("viewer").get(f"/api/v1/executions/{run.pk}/why/").json()["reasons"]
        return reason

    assert "A question by user123 waits for an answer from operator or any" in told()["message"]
    assert "by itself" not in told()["message"]
    assert told()["until"] is None
    assert told()["facts"]["if_nobody_decides"] == "nothing"
    answer(question.pk, user=scene.users["operator"], body="It is Friday")
    assert "approves it by itself" in told()["message"]
    assert told()["until"]


def test_a_step_waits_for_a_busy_agent(scene, hand, why) -> None:
    worker = scene.agent(places=1)
    first, second = scene.run(agent("one")), scene.run(agent("two"))
    hand.turn()
    waiting = first if "one" not in hand.begun else second
    reason = why(waiting)["no_free_agent"]
    assert "Busy: Worker (1 of 1 places)" in reason.message
    assert [known["id"] for known in reason.facts["agents"]] == [str(worker.pk)]
    busy = second if waiting is first else first
    assert "no_free_agent" not in why(busy)
    assert why(busy)["step_running"].step in ("one", "two")


def test_a_step_waits_for_the_limit_of_the_workspace(scene, hand, why) -> None:
    scene.workspace.settings = {"max_agent_steps": 1}
    scene.workspace.save()
    scene.agent(places=5)
    runs = [scene.run(agent("s")) for _ in range(2)]
    hand.turn()
    [reason] = [reason for run in runs if (reason := why(run).get("agent_quota"))]
    assert "have 1 step, its limit" in reason.message
    assert reason.facts["max_running"] == 1


def test_a_step_waits_for_people_to_grant_more_than_the_budget(scene, hand, why) -> None:
    scene.workspace.settings = {"monthly_agent_tokens": 1_500}
    scene.workspace.save()
    scene.agent(places=5, config={"max_tokens": 1_000})
    scene.agent("free", places=5)
    scene.run(agent("a"))
    hand.turn()
    asking = scene.run(agent("b"))
    hand.turn()
    waiting = scene.run(agent("c"))
    hand.turn()
    reason = why(waiting)["agent_budget"]
    assert f"asked for more by b of {asking.workflow.name}" in reason.message
    assert reason.facts["asked_by_execution_id"] == str(asking.pk)
    assert "waiting_for_approval" in why(asking)
    assert "agent_budget" not in why(scene.run(agent("d", "free")))


def test_a_step_waits_for_an_agent_that_failed_too_often(scene, hand, why) -> None:
    worker = scene.agent(places=5, status="error", faults=3)
    worker.probe_at = database_now() + timedelta(seconds=60)
    worker.save()
    run = scene.run(agent("one"))
    hand.turn()
    assert "it failed 3 times" in why(run)["no_free_agent"].message


def test_a_step_waits_for_an_agent_that_is_gone(scene, hand, why) -> None:
    worker = scene.agent()
    run = scene.run(agent("one"))
    worker.is_enabled = False
    worker.save()
    assert "none is left" in why(run)["no_free_agent"].message


def test_a_failed_attempt_says_when_it_is_tried_again(scene, hand, why) -> None:
    run = scene.run(task("a", config={"retry": {"initial_seconds": 100, "jitter": 0}}))
    hand.turn()
    hand.turn(hand.result("a", Failed("teapot", "no")))
    reason = why(run)["retry_due"]
    assert "teapot" in reason.message
    assert reason.until > database_now() + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("make", "code"),
    [(partial(task, config={"queue": "gpu"}), "queue_full"), (agent, "no_free_agent")],
)
def test_a_step_whose_pause_is_over_waits_for_a_place(scene, hand, why, make, code) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.agent(places=1)
    run = scene.run(make("again", max_retries=1))
    hand.turn()
    scene.run(make("other"))
    hand.turn(hand.result("again", Failed("teapot", "no")))
    hand.turn(ahead=0.5)
    assert list(hand.begun) == ["other"]
    assert list(why(run)) == ["retry_due"]
    WorkflowStepExecution.objects.filter(execution=run).update(due_at=database_now())
    assert list(why(run)) == [code]


def test_a_step_waits_for_the_agents_that_may_take_it_over(scene, hand, why) -> None:
    for slug in ("one", "two"):
        scene.agent(slug, definition="worker")
    first, second = scene.run(agent("a")), scene.run(agent("b"))
    hand.turn()
    hand.turn(hand.result("a", Failed("agent_unreachable", "No answer", elsewhere=True)))
    reason = why(first)["no_free_agent"]
    slug = AgentInstance.objects.get(pk=steps_of(second)["b"].agent_instance_id).slug
    assert [known["slug"] for known in reason.facts["agents"]] == [slug]


def test_a_step_waits_for_the_agent_that_is_its_fallback(scene, hand, why) -> None:
    scene.agent(places=5)
    spare = scene.agent("spare")
    scene.run(agent("hold", "spare"))
    fallback = {"fallback": {"agent_definition_id": "spare"}}
    run = scene.run(agent("a", max_retries=0, config=fallback))
    hand.turn()
    hand.turn(hand.result("a", Failed("teapot", "no")))
    [known] = why(run)["no_free_agent"].facts["agents"]
    assert known["id"] == str(spare.pk)


def test_after_a_failure_that_halts_the_run_it_waits_for_what_is_under_way(
    scene, hand, why
) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.run(task("hog", config={"queue": "gpu"}))
    hand.turn()
    run = scene.run(
        task("long"),
        task("bad", max_retries=0),
        task("never", config={"queue": "gpu"}),
        task("report", after=["bad"], trigger_rule="one_failed", config={"queue": "gpu"}),
        config={"fail_fast": True},
    )
    hand.turn()
    hand.turn(hand.result("bad", Failed("teapot", "no")))
    found = why(run)  # it finds no code twice: `never` waits for no place any more
    assert "bad failed: nothing new starts" in found["halted"].message
    assert "Under way: long." in found["halted"].message
    assert found["queue_full"].step == "report"


@pytest.mark.parametrize("is_tolerated", [False, True])
def test_a_failure_inside_a_block_halts_the_run_unless_the_block_tolerates_it(
    scene, hand, why, is_tolerated
) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.run(task("hog", config={"queue": "gpu"}))
    hand.turn()
    inner = [task("bad"), task("slow")]
    config = {"steps": inner, "continue_on_error": is_tolerated}
    run = scene.run(
        {"name": "block", "step_type": "parallel", "config": config},
        task("outside", config={"queue": "gpu"}),
        config={"fail_fast": True},
        max_retries=0,
    )
    hand.turn()
    hand.turn(hand.result("bad", Failed("teapot", "no")))
    found = why(run)
    assert ("queue_full" in found, "halted" in found) == (is_tolerated, not is_tolerated)


def test_a_running_step_says_since_when_and_until_when(scene, hand, why) -> None:
    run = scene.run(task("a", timeout_seconds=60))
    hand.turn()
    found = why(run)
    reason = found["step_running"]
    assert reason.until - reason.since == timedelta(seconds=60)
    assert "last heard of 0 s ago" in found["held"].message
    assert list(found) == ["step_running", "held"]


def test_a_silent_driver_is_named(scene, hand, why) -> None:
    run = scene.run(task("a"))
    hand.turn()
    silence(100)
    reason = why(run)["driver_silent"]
    assert reason.facts["heartbeat_seconds_ago"] == pytest.approx(100, abs=2)
    assert "start one" in reason.message


def test_without_an_engine_it_says_so(scene, why) -> None:
    run = scene.run(task("a"))
    assert list(why(run)) == ["no_engine"]


def test_with_an_engine_it_waits_to_be_taken(scene, hand, why) -> None:
    run = scene.run(task("a"))
    assert list(why(run)) == ["claimable"]


def test_a_gate_needs_no_engine_to_be_the_reason(scene, hand, why) -> None:
    run = scene.run(gate(title="?"))
    hand.turn()
    assert list(why(run)) == ["waiting_for_approval"]
    silence(100)
    assert list(why(run)) == ["waiting_for_approval", "no_engine"]


def test_a_paused_run_says_so_first(scene, hand, why) -> None:
    run = scene.run(gate(title="?"))
    hand.turn()
    WorkflowExecution.objects.update(is_paused=True, status="paused")
    assert list(why(run)) == ["paused", "waiting_for_approval"]
    WorkflowExecution.objects.update(is_paused=False, status="waiting")


def test_a_step_waits_for_a_place_in_its_queue(scene, hand, why) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.run(task("first", config={"queue": "gpu"}))
    hand.turn()
    waiting = scene.run(task("second", config={"queue": "gpu"}), task("free"))
    reason = why(waiting)["queue_full"]
    assert (reason.step, reason.facts["running"]) == ("second", 1)
    assert "1 step of the queue “gpu” may" in reason.message


def test_a_workspace_may_be_full_too(scene, hand, why) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="", max_running=2)
    scene.run(task("a"), task("b"))
    hand.turn()
    waiting = scene.run(task("c"))
    assert why(waiting)["queue_full"].facts == {"queue": "", "max_running": 2, "running": 2}


def test_waits_for_signals_times_and_other_runs(scene, hand, why) -> None:
    child = scene.workflow(gate(title="?"))
    run = scene.run(
        {"name": "event", "step_type": "wait", "config": {"event": "paid"}},
        {"name": "pause", "step_type": "wait", "config": {"seconds": 60}},
        {"name": "sub", "step_type": "workflow", "config": {"workflow": child.name}},
    )
    hand.turn()
    hand.turn()
    found = why(run)
    assert found["waiting_for_signal"].facts == {"signal": "paid"}
    assert found["timer"].until - found["timer"].since == timedelta(seconds=60)
    inner = WorkflowExecution.objects.get(workflow=child)
    assert found["sub_workflow"].facts["execution_id"] == str(inner.pk)
    assert f"{child.name}, run 1, which is " in found["sub_workflow"].message


def test_of_an_event_whose_name_refers_to_the_run_what_it_is_called_is_told(
    scene, hand, why
) -> None:
    steps = [{"name": "w", "step_type": "wait", "config": {"event": "paid-${item}"}}]
    config = {"for_each": ["a", "b"], "steps": steps}
    run = scene.run({"name": "each", "step_type": "sequential", "config": config})
    hand.turn()
    found = why(run)["waiting_for_signal"]
    assert (found.step, found.facts) == ("w[0]", {"signal": "paid-a"})
    assert "“paid-a”" in found.message


def test_the_steps_of_a_block_stand_for_it(scene, hand, why) -> None:
    QueueLimit.objects.create(workspace=scene.workspace, queue="gpu", max_running=1)
    scene.run(task("hog", config={"queue": "gpu"}))
    inner = [task("check"), task("report", after=["check"], config={"queue": "gpu"})]
    config = {"for_each": [1, 2], "steps": inner}
    run = scene.run({"name": "each", "step_type": "parallel", "config": config})
    hand.turn()
    hand.finish("check[0]")
    found = why(run)
    assert found["step_running"].step == "check[1]"
    assert found["queue_full"].step == "report[0]"


def test_a_run_that_nothing_would_wake_is_an_error(scene, hand, why) -> None:
    run = scene.run(task("a"))
    WorkflowExecution.objects.update(wake_at=None)
    assert list(why(run)) == ["nothing_wakes_it"]
    cancel_execution(run.pk, user=None)


def test_it_asks_as_often_for_many_steps(scene, hand, why, django_assert_max_num_queries) -> None:
    run = scene.run(*[gate(f"gate {number}", title="?") for number in range(150)])
    hand.turn()
    run = WorkflowExecution.objects.select_related("version", "driver").get(pk=run.pk)
    with django_assert_max_num_queries(8):
        reasons = explain_execution(run, scene.users["viewer"])
    assert len(reasons) == 100


def test_the_api_tells_it(scene, hand, api) -> None:
    run = scene.run(gate(title="Ship it?"))
    hand.turn()
    document = api("viewer").get(f"/api/v1/executions/{run.pk}/why/").json()
    assert (document["execution_id"], document["status"]) == (str(run.pk), "waiting")
    [reason] = document["reasons"]
    assert reason["code"] == "waiting_for_approval"
    assert "Any approver" in reason["message"]
