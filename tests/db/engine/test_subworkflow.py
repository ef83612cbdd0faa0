"""Sub-workflows: a step of type ``workflow`` starts a run, and ends as that run does."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.conftest import ask
from tests.db.engine.scenes import Scene, ended, events_of, gate, statuses, steps_of, task
from tests.db.engine.test_wait import let_pass
from tests.invariants import assert_invariants
from workflows.clock import database_now
from workflows.core.approval import Approval
from workflows.core.outcomes import Asks
from workflows.core.steps import SubWorkflowStep
from workflows.engine import timers
from workflows.engine.driver import Driver
from workflows.errors import InvalidInput
from workflows.events import append_events
from workflows.handlers import Opening
from workflows.handlers.subworkflow import SubWorkflowGate
from workflows.models import Timer, Workflow, WorkflowExecution
from workflows.services.definitions import publish, replace_draft, validate_document
from workflows.services.executions import cancel_execution
from workflows.services.subworkflows import check_workflows, find_workflows, wake_runs_of
from workflows.services.verbs import pause_execution, resume_execution, retry_execution

pytestmark = pytest.mark.django_db


def call(name: str = "call", *, workflow: str, after: Any = (), **fields: Any) -> dict[str, Any]:
    config = {"workflow": workflow, "inputs": fields.pop("inputs", {})}
    return {
        "name": name,
        "step_type": "workflow",
        "depends_on_steps": list(after),
        "config": config,
        **fields,
    }


def children(execution: WorkflowExecution) -> list[WorkflowExecution]:
    steps = execution.steps.values("id")
    return list(WorkflowExecution.objects.filter(parent_step_id__in=steps).order_by("id"))


def row(execution: WorkflowExecution) -> WorkflowExecution:
    return WorkflowExecution.objects.get(id=execution.id)


def fire() -> None:
    now = database_now()
    append_events(timers.fire_due(now, 500), now)


def settle(hand: DriverByHand) -> None:
    """Do all there is to do: in the runs, in what they start, and in what waits for that."""
    runs, told = WorkflowExecution.objects, Timer.objects.filter(kind="parent_wake")
    while told.exists() or runs.filter(wake_at__lte=database_now()).exists():
        fire()
        hand.work()


def hear(hand: DriverByHand) -> None:
    """Let runs hear of what their children have done, up to the top."""
    hand.turn()
    while Timer.objects.filter(kind="parent_wake").exists():
        fire()
        hand.turn()


def double(scene: Scene, name: str = "Double") -> Workflow:
    variable = {"name": "word", "data_type": "string", "is_required": True}
    step = task("say", inputs={"word": "${word}"})
    return scene.workflow(step, name=name, variables=[variable])


def test_a_child_runs_with_the_inputs_and_its_output_is_the_steps(
    scene: Scene, hand: DriverByHand
) -> None:
    double(scene)
    run = scene.run(
        call(workflow="Double", inputs={"word": "hi"}),
        task("after", after=["call"], inputs={"got": "${steps.call.say}"}),
    )
    hand.work()
    assert row(run).status == "waiting"
    hand.work()
    [child] = children(run)
    assert (child.status, child.depth, child.number) == ("completed", 1, 1)
    assert (child.input_variables, child.started_through) == ({"word": "hi"}, "workflow")
    assert child.started_by_id == run.started_by_id
    settle(hand)
    assert row(run).status == "completed"
    assert steps_of(run)["call"].output_data == {"say": {"word": "hi"}}
    assert row(run).output_data == {"after": {"got": {"word": "hi"}}}
    assert len(events_of(child.id, "workflow_started")) == 1


def test_a_workflow_is_named_by_its_id_too(scene: Scene, hand: DriverByHand) -> None:
    inner = scene.workflow(task("s"))
    run = scene.run(call(workflow=str(inner.id)))
    settle(hand)
    assert row(run).status == "completed"


def test_a_child_that_fails_fails_the_step_with_its_error(scene: Scene, hand: DriverByHand) -> None:
    scene.workflow(
        task("s", "fail", inputs={"message": "out of paint"}, max_retries=0), name="Paint"
    )
    run = scene.run(call(workflow="Paint"))
    settle(hand)
    step = steps_of(run)["call"]
    assert (step.status, step.error_code, step.attempts) == ("failed", "subworkflow_failed", 1)
    assert "Paint, run 1, failed" in step.error_message
    assert "out of paint" in step.error_message
    assert row(run).status == "failed"


def test_a_retried_run_starts_a_child_anew(scene: Scene, hand: DriverByHand) -> None:
    steps = [task("s", "fail", max_retries=0, condition_expression="again")]
    variables = [{"name": "again", "data_type": "bool", "default_value": True}]
    paint = scene.workflow(*steps, name="Paint", variables=variables)
    run = scene.run(call(workflow="Paint"), task("after", after=["call"]))
    settle(hand)
    assert row(run).status == "failed"
    replace_draft(paint, {"name": "Paint", "steps": [task("s")], "variables": variables}, user=None)
    publish(paint, user=None)
    retry_execution(run.id, user=None)
    settle(hand)
    assert row(run).status == "completed"
    assert [child.status for child in children(run)] == ["failed", "completed"]


def test_a_child_whose_result_no_step_may_have_fails_the_step(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    settings.MGX_MAX_OUTPUT_BYTES = 1_000
    steps = [task(name, inputs={"x": "y" * 600}) for name in ("a", "b")]
    scene.workflow(*steps, name="Large")
    run = scene.run(call(workflow="Large"))
    settle(hand)
    step = steps_of(run)["call"]
    assert (step.status, step.error_code) == ("failed", "unstorable_output")
    assert [child.status for child in children(run)] == ["completed"]


def test_a_child_that_is_cancelled_fails_the_step(scene: Scene, hand: DriverByHand) -> None:
    scene.workflow(gate(), name="Ask")
    run = scene.run(call(workflow="Ask"))
    hand.work()
    [child] = children(run)
    cancel_execution(child.id, user=scene.users["operator"], reason="no need")
    settle(hand)
    step = steps_of(run)["call"]
    assert (step.status, step.error_code) == ("failed", "subworkflow_cancelled")
    assert "no need" in step.error_message


def test_a_fallback_that_asks_people_waits_for_them_and_not_for_the_child(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent("spare")
    scene.workflow(task("boom", "fail", max_retries=0), name="Child")
    step = call(workflow="Child")
    step["config"]["fallback"] = {"agent_definition_id": "spare"}
    run = scene.run(step)
    hand.work()
    hand.work()
    fire()
    hand.turn()
    hand.turn(hand.result("call", Asks(Approval(title="May I?"), {"sum": 12})))
    wake_runs_of([steps_of(run)["call"].id], database_now())
    hand.turn()
    assert statuses(run) == {"call": "waiting"}
    assert_invariants(ask)
    scene.decide(run)
    hand.turn()
    assert hand.begun["call"].answer["approved"]
    hand.finish("call")
    assert row(run).status == "completed"


def test_cancelling_a_run_cancels_what_it_started_all_the_way_down(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.workflow(gate(), name="Inner")
    scene.workflow(call(workflow="Inner"), name="Middle")
    run = scene.run(call(workflow="Middle"))
    settle(hand)
    [middle] = children(run)
    [inner] = children(middle)
    cancel_execution(run.id, user=scene.users["operator"])
    assert [row(e).status for e in (run, middle, inner)] == ["cancelled"] * 3
    assert statuses(inner) == {"gate": "cancelled"}
    assert len(events_of(inner.id, "approval_cancelled", "workflow_cancelled")) == 2
    hand.work()
    assert [row(e).status for e in (run, middle, inner)] == ["cancelled"] * 3


def test_a_child_has_no_more_time_than_its_step(scene: Scene, hand: DriverByHand) -> None:
    scene.workflow(gate(), name="Short", timeout_seconds=30)
    scene.workflow(gate(), name="Long", timeout_seconds=3000)
    run = scene.run(*[call(n, workflow=n, timeout_seconds=60) for n in ("Short", "Long")])
    hand.work()
    assert {child.timeout_seconds for child in children(run)} == {30, 60}
    cancel_execution(run.id, user=scene.users["operator"])


def test_a_child_whose_step_has_no_time_left_is_cancelled_whatever_it_waits_for(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.workflow(gate(), name="Ask")
    run = scene.run(call(workflow="Ask", timeout_seconds=60), task("after", after=["call"]))
    settle(hand)
    [child] = children(run)
    step = steps_of(run)["call"]
    assert step.due_at == row(run).wake_at == step.started_at + timedelta(seconds=60)
    let_pass(run, 59)
    settle(hand)
    assert (row(run).status, row(child).status) == ("waiting", "waiting")
    let_pass(run, 2)
    settle(hand)
    step = steps_of(run)["call"]
    assert (step.status, step.error_code) == ("timeout", "subworkflow_timeout")
    assert (row(run).status, row(child).status) == ("failed", "cancelled")
    assert statuses(child) == {"gate": "cancelled"}
    assert len(events_of(child.id, "approval_cancelled", "workflow_cancelled")) == 2


def test_a_child_that_would_go_on_in_the_turn_in_which_it_is_cancelled_does_not(
    scene: Scene, hand: DriverByHand
) -> None:
    """One driver has both runs, and hears of all of it at once."""
    scene.workflow(task("long"), task("next", after=["long"]), name="Long")
    run = scene.run(call(workflow="Long"), timeout_seconds=60)
    hand.turn()
    hand.turn()
    hand.turn(hand.result("long"), ahead=61)
    [child] = children(run)
    assert (row(run).status, row(child).status) == ("timeout", "cancelled")
    assert statuses(child) == {"long": "cancelled"}
    assert not hand.begun
    hand.work()
    assert row(child).status == "cancelled"


def test_a_child_whose_time_is_up_when_its_runs_is_ends_once(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.workflow({"name": "w", "step_type": "wait", "config": {"seconds": 90}}, name="Slow")
    run = scene.run(call(workflow="Slow", timeout_seconds=60), timeout_seconds=60)
    hand.turn()
    hand.turn()
    hand.turn(ahead=70)
    [child] = children(run)
    assert (row(run).status, row(child).status) == ("timeout", "cancelled")


def test_the_time_that_a_child_takes_is_time_of_the_run(scene: Scene, hand: DriverByHand) -> None:
    scene.workflow(task("long"), name="Long")
    run = scene.run(call(workflow="Long"), gate("g"), timeout_seconds=60)
    hand.turn()
    hand.turn()
    assert (row(run).status, set(hand.begun)) == ("waiting", {"long"})
    hand.turn(ahead=61)
    [child] = children(run)
    assert (row(run).error_code, row(child).status) == ("execution_timeout", "cancelled")


def test_the_clocks_of_runs_stand_still_while_a_child_waits_only_for_people(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.workflow(gate(), task("long", after=["gate"]), name="Inner")
    scene.workflow(call(workflow="Inner"), name="Middle")
    run = scene.run(call(workflow="Middle"))
    settle(hand)
    [middle] = children(run)
    [inner] = children(middle)
    for each in (row(run), row(middle), row(inner)):
        assert (each.status, each.active_since, each.wake_at) == ("waiting", None, None)
    scene.decide(inner)
    hand.turn()
    assert set(hand.begun) == {"long"}
    hear(hand)
    assert all(row(each).active_since for each in (run, middle, inner))
    hand.finish("long")
    settle(hand)
    assert row(run).status == "completed"


def test_the_clock_of_a_run_stands_still_while_its_child_is_paused(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.workflow({"name": "w", "step_type": "wait", "config": {"seconds": 90}}, name="Slow")
    run = scene.run(call(workflow="Slow"))
    settle(hand)
    [child] = children(run)
    assert row(run).active_since is not None
    pause_execution(child.id, user=None)
    hear(hand)
    assert row(run).active_since is None
    resume_execution(child.id, user=None)
    hear(hand)
    assert row(run).active_since is not None
    cancel_execution(run.id, user=None)


def test_children_that_end_together_wake_their_parent_once_for_all(
    scene: Scene, hand: DriverByHand
) -> None:
    for name in ("a", "b", "c"):
        scene.workflow(task(f"in {name}"), name=name)
    run = scene.run(*[call(f"call {name}", workflow=name) for name in ("a", "b", "c")])
    hand.work()
    hand.work()
    assert Timer.objects.count() == 3
    fire()
    hand.turn()
    assert row(run).status == "completed"


@pytest.mark.parametrize(
    ("name", "inputs", "depth", "code"),
    [
        ("Nowhere", {}, 0, "unknown_workflow"),
        ("Draft", {}, 0, "not_published"),
        ("Double", {}, 0, "invalid_inputs"),
        ("Double", {"word": 5}, 0, "invalid_inputs"),
        ("Double", {"word": "hi", "other": 1}, 0, "invalid_inputs"),
        ("Double", {"word": "hi"}, 10, "too_deep"),
        ("Foreign", {}, 0, "unknown_workflow"),
    ],
)
def test_what_cannot_be_started_fails_the_step_and_takes_no_number(
    scene: Scene,
    hand: DriverByHand,
    other_workspace: Any,
    name: str,
    inputs: dict[str, Any],
    depth: int,
    code: str,
) -> None:
    workflow = double(scene)
    Workflow.objects.create(workspace=scene.workspace, name="Draft")
    Workflow.objects.create(workspace=other_workspace, name="Foreign")
    scene.run(task("s"))
    hand.turn()
    step = SubWorkflowStep.model_validate(call(workflow=name))
    context = replace(hand.begun["s"], step=step, inputs=inputs, depth=depth)
    opening = Opening(context, {})
    assert SubWorkflowGate().open([opening], database_now()) == []
    assert opening.failed is not None
    assert (opening.failed.code, opening.failed.is_final) == (code, True)
    workflow.refresh_from_db()
    assert workflow.last_run_number == 0
    hand.finish("s")


def test_a_workflow_may_run_itself_but_not_for_ever(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    settings.MGX_MAX_DEPTH = 2
    step = call("again", workflow="Loop", condition_expression="n > 0", inputs={"n": "${n - 1}"})
    variables = [{"name": "n", "data_type": "int", "is_required": True}]
    loop = scene.workflow(step, name="Loop", variables=variables)
    run = scene.start(loop, n=2)
    settle(hand)
    assert row(run).status == "completed"
    assert sorted(WorkflowExecution.objects.values_list("depth", flat=True)) == [0, 1, 2]


def test_a_child_that_cannot_be_started_fails_the_run(scene: Scene, hand: DriverByHand) -> None:
    double(scene)
    run = scene.run(call("bad", workflow="Double"), task("after", after=["bad"]))
    settle(hand)
    assert statuses(run) == {"bad": "failed", "after": "skipped upstream_failed"}
    assert steps_of(run)["bad"].error_code == "invalid_inputs"
    assert row(run).status == "failed"


def test_a_workflow_that_runs_itself_for_ever_ends(
    scene: Scene, hand: DriverByHand, settings: Any
) -> None:
    settings.MGX_MAX_DEPTH = 1
    run = scene.start(scene.workflow(call("again", workflow="Loop"), name="Loop"))
    settle(hand)
    assert row(run).status == "failed"
    [child] = children(run)
    assert steps_of(child)["again"].error_code == "too_deep"


def test_an_unknown_workflow_is_told_at_save(scene: Scene) -> None:
    with pytest.raises(InvalidInput) as caught:
        scene.workflow(task("s"), call(workflow="Nowhere"))
    [problem] = caught.value.problems
    assert (problem.path, problem.error_type) == ("/steps/1/config/workflow", "unknown_workflow")


@pytest.mark.parametrize("name", [None, 5, ["Loop"], {}])
def test_a_document_with_a_name_of_no_kind_is_told_too(scene: Scene, name: Any) -> None:
    document = {"name": name, "steps": [call(workflow="Nowhere")]}
    report = validate_document(document, workspace=scene.workspace)
    assert {"unknown_workflow"} < {problem.error_type for problem in report.errors}


def test_names_are_those_of_the_workspace(
    scene: Scene, other_workspace: Any, users: dict[str, Any]
) -> None:
    mine = double(scene)
    foreign = Workflow.objects.create(workspace=other_workspace, name="Foreign")
    names = {"Double", str(mine.id), "Foreign", str(foreign.id), "nonsense"}
    unknown = {"Foreign", str(foreign.id), "nonsense"}
    assert check_workflows(names, workspace=scene.workspace) == unknown
    assert find_workflows(scene.workspace.id, {"Double"}) == {"Double": mine}


@pytest.mark.django_db(transaction=True)
def test_a_running_engine_passes_the_end_of_a_child_on_at_once(
    scene: Scene, engine: Driver
) -> None:
    double(scene)
    scene.workflow(
        call(workflow="Double", inputs={"word": "deep"}), name="Middle", timeout_seconds=60
    )
    started = time.monotonic()
    run = ended(scene.run(call(workflow="Middle")))
    assert time.monotonic() - started < 3
    assert run.output_data == {"call": {"call": {"say": {"word": "deep"}}}}
