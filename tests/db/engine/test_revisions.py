"""Work that is sent back: what is done anew, with what at hand, and what stays as it was."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from agents.models import AgentDefinition, AgentReservation, AgentType
from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from approvals.services.retraction import retract
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent, events_of, gate, request_of, task
from workflows.clock import database_now
from workflows.core.ids import uuid7
from workflows.core.outcomes import Completed, Failed
from workflows.engine import leases
from workflows.engine.inputs import dump_json
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import cancel_execution
from workflows.services.verbs import retry_execution

pytestmark = pytest.mark.django_db


def steps(execution: WorkflowExecution) -> dict[str, str]:
    """Return the statuses of each step, of all its revisions in their order."""
    found: dict[str, str] = {}
    for step in WorkflowStepExecution.objects.filter(execution=execution).order_by("revision"):
        status = f"{step.status} {step.skip_reason}".strip()
        found[step.name] = f"{found.get(step.name, '')}, {status}".removeprefix(", ")
    return found


def status_of(execution: WorkflowExecution) -> str:
    return WorkflowExecution.objects.get(pk=execution.pk).status


def made(hand: DriverByHand, step: str, output: Any) -> None:
    """Let a step that has begun make something."""
    hand.turn(hand.result(step, Completed(output, dump_json(output))))


def send_back(scene: Scene, execution: WorkflowExecution, why: str = "Smaller") -> None:
    scene.decide(execution, "request_changes", why)


def block(kind: str, name: str, *inner: dict[str, Any], after: Any = (), **config: Any) -> Any:
    return {
        "name": name,
        "step_type": kind,
        "depends_on_steps": list(after),
        "config": {"steps": list(inner), **config},
    }


PLAN = task("plan", inputs={"say": "${revision.number}: ${revision.feedback}"})


# --- what is done anew --------------------------------------------------------------------


def test_what_made_the_work_runs_again_with_what_was_said_and_what_it_made(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        task("before"),
        task("plan", after=["before"], inputs={
            "number": "${revision.number}", "said": "${revision.feedback}",
            "was": "${revision.previous}",
        }),
        gate(after=["plan"]),
        task("act", after=["gate"], inputs={"plan": "${steps.plan.stages}"}),
    )  # fmt: skip
    hand.turn()
    hand.finish("before")
    assert hand.begun["plan"].inputs == {"number": 1, "said": "", "was": None}
    made(hand, "plan", {"stages": 1})
    first = request_of(execution)
    for number in (2, 3):
        send_back(scene, execution, f"Not {number - 1}")
        hand.turn()
        again = hand.begun["plan"]
        was = {"stages": number - 1}
        assert again.inputs == {"number": number, "said": f"Not {number - 1}", "was": was}
        assert (again.feedback, again.previous, again.attempt) == (f"Not {number - 1}", was, 1)
        assert again.idempotency_key != first.step_execution_id
        made(hand, "plan", {"stages": number})
        request = request_of(execution)
        assert (request.revision_count, request.parent_approval_id) == (number - 1, first.id)
        assert request.approval_data == {"plan": {"stages": number}}
        first = request
    scene.decide(execution)
    hand.turn()
    assert hand.begun["act"].inputs == {"plan": 3}
    hand.work()
    assert steps(execution) == {
        "before": "completed",
        "plan": "completed, completed, completed",
        "gate": "completed, completed, completed",
        "act": "completed",
    }
    requests = WorkflowStepApproval.objects.order_by("revision_count")
    assert [(r.status, r.feedback) for r in requests] == [
        ("request_changes", "Not 1"), ("request_changes", "Not 2"), ("approved", ""),
    ]  # fmt: skip
    begun = events_of(execution.pk, "step_started")
    made_by = [e.data.get("revision", 1) for e in begun if e.data["step"] == "plan"]
    assert made_by == [1, 2, 3]
    output = WorkflowStepExecution.objects.get(name="gate", revision=2).output_data
    assert (output["status"], output["approved"]) == ("request_changes", False)
    assert output["payload"] == {"plan": {"stages": 2}}
    assert status_of(execution) == "completed"


def test_all_between_the_work_and_the_gate_is_done_anew_and_nothing_else(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        task("beside"), PLAN,
        task("check", after=["plan"], inputs={"of": "${steps.plan.n}"}),
        task("told", after=["plan"]),
        gate(after=["plan", "check", "beside"], revise="plan"),
    )  # fmt: skip
    hand.turn()
    hand.finish("beside")
    made(hand, "plan", {"n": 1})
    hand.finish("check", "told")
    send_back(scene, execution)
    hand.turn()
    assert set(hand.begun) == {"plan"}
    made(hand, "plan", {"n": 2})
    assert {n: c.inputs for n, c in hand.begun.items()} == {"check": {"of": 2}}
    hand.finish("check")
    scene.decide(execution)
    hand.work()
    assert steps(execution) == {
        "beside": "completed",
        "told": "completed",
        "plan": "completed, completed",
        "check": "completed, completed",
        "gate": "completed, completed",
    }
    assert status_of(execution) == "completed"


def test_by_default_it_is_the_nearest_task_or_agent_before_the_gate(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(
        task("far"), agent("near", after=["far"]),
        {"name": "only", "step_type": "condition", "depends_on_steps": ["near"],
         "condition_expression": "1 < 2"},
        gate(after=["only", "far"]), task("other", after=["far"]),
    )  # fmt: skip
    hand.work()
    request = request_of(execution)
    assert request.approval_metadata["revise"] == "near"
    assert request.approval_metadata["max_revisions"] == 5
    send_back(scene, execution)
    hand.turn()
    assert set(hand.begun) == {"near"}
    hand.work()
    found = steps(execution)
    assert (found["far"], found["near"]) == ("completed", "completed, completed")
    assert found["only"] == "completed, completed"


def test_what_was_skipped_is_not_what_is_sent_back(scene: Scene, hand: DriverByHand) -> None:
    polish = task("polish", after=["draft"], condition_expression="false")
    asked = gate(after=["draft", "polish"]) | {"trigger_rule": "none_failed"}
    execution = scene.run(task("draft"), polish, asked)
    hand.work()
    assert request_of(execution).approval_metadata["revise"] == "draft"
    send_back(scene, execution)
    hand.turn()
    assert set(hand.begun) == {"draft"}
    hand.work()
    assert steps(execution) == {
        "draft": "completed, completed",
        "polish": "skipped condition_false, skipped condition_false",
        "gate": "completed, waiting",
    }


def test_with_nothing_to_do_anew_a_request_for_changes_fails_the_gate(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(gate())
    hand.turn()
    assert "max_revisions" not in request_of(execution).approval_metadata
    send_back(scene, execution)
    hand.turn()
    assert steps(execution) == {"gate": "failed"}
    row = WorkflowStepExecution.objects.get()
    assert row.error_code == "changes_requested"


def test_what_runs_beside_the_gate_goes_on_and_sees_the_old_work_until_there_is_new(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        PLAN, gate(after=["plan"]),
        task("slow", after=["plan"], inputs={"n": "${steps.plan.n}"}, config=AT_ONCE),
        task("last", after=["slow", "gate"], inputs={"n": "${steps.plan.n}"}),
    )  # fmt: skip
    hand.turn()
    made(hand, "plan", {"n": 1})
    slow = hand.begun["slow"]
    send_back(scene, execution)
    hand.turn()
    hand.begun["slow"] = slow
    hand.turn(hand.result("slow", Failed("again", "Again")))
    hand.turn(ahead=1)
    assert hand.begun["slow"].inputs == {"n": 1}
    hand.finish("slow")
    assert steps(execution)["plan"] == "completed, running"
    made(hand, "plan", {"n": 2})
    scene.decide(execution)
    hand.turn()
    assert hand.begun["last"].inputs == {"n": 2}


def test_what_was_skipped_because_of_the_work_is_judged_anew(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        PLAN,
        {"name": "which", "step_type": "condition", "depends_on_steps": ["plan"],
         "condition_expression": "steps.plan.kind",
         "config": {"branches": {"big": ["review"], "small": ["note"]}}},
        task("review", after=["which"]), task("note", after=["which"]),
        task("on_error", after=["plan"], trigger_rule="one_failed"),
        gate(after=["which"]),
    )  # fmt: skip
    hand.turn()
    made(hand, "plan", {"kind": "big"})
    hand.finish("review")
    assert steps(execution)["note"] == "skipped branch_not_taken"
    send_back(scene, execution)
    hand.turn()
    made(hand, "plan", {"kind": "small"})
    assert set(hand.begun) == {"note"}
    hand.finish("note")
    scene.decide(execution)
    hand.work()
    assert steps(execution) == {
        "plan": "completed, completed",
        "which": "completed, completed",
        "review": "completed",
        "note": "skipped branch_not_taken, completed",
        "on_error": "skipped trigger_rule_not_met, skipped trigger_rule_not_met",
        "gate": "completed, completed",
    }
    assert status_of(execution) == "completed"


def test_what_was_skipped_for_another_reason_stays_so(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        PLAN, task("broken", max_retries=0),
        task("never", after=["plan", "broken"]),
        task("guarded", after=["never"], trigger_rule="all_done", condition_expression="1 > 2"),
        gate(after=["plan"]),
    )  # fmt: skip
    hand.turn()
    hand.turn(hand.result("broken", Failed("broken", "No")))
    made(hand, "plan", {})
    send_back(scene, execution)
    hand.turn()
    made(hand, "plan", {})
    scene.decide(execution)
    hand.work()
    found = steps(execution)
    assert found["never"] == "skipped upstream_failed"
    assert found["guarded"] == "skipped condition_false"
    assert status_of(execution) == "failed"


def test_a_gate_that_asks_about_the_old_work_asks_again(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(PLAN, gate("a", after=["plan"]), gate("b", after=["plan"]))
    hand.turn()
    made(hand, "plan", {"n": 1})
    pending = WorkflowStepApproval.objects.pending().order_by("step_execution__name")
    a, b = pending
    decide_on(scene, a, "request_changes", "Smaller")
    hand.turn()
    b.refresh_from_db()
    assert b.status == "cancelled"
    made(hand, "plan", {"n": 2})
    again = list(pending.all())
    assert [r.approval_data for r in again] == [{"plan": {"n": 2}}] * 2
    assert [(r.parent_approval_id, r.revision) for r in again] == [(a.id, 2), (b.id, 2)]
    assert steps(execution)["b"] == "cancelled, waiting"


def test_two_gates_that_send_the_same_work_back_at_once_are_both_answered(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.run(PLAN, gate("a", after=["plan"]), gate("b", after=["plan"]))
    hand.turn()
    made(hand, "plan", {"n": 1})
    for request in WorkflowStepApproval.objects.order_by("step_execution__name"):
        decide_on(scene, request, "request_changes", f"Not so {request.title}")
    hand.turn()
    assert hand.begun["plan"].feedback == "Not so a\n\nNot so b"
    assert hand.begun["plan"].revision == 2
    made(hand, "plan", {"n": 2})
    again = WorkflowStepApproval.objects.pending()
    assert sorted((r.title, r.revision_count) for r in again) == [("a", 1), ("b", 1)]


def decide_on(scene: Scene, request: WorkflowStepApproval, outcome: str, why: str) -> None:
    decide(Decision(request.id, outcome, why), user=scene.users["approver"], door=Door.API)


def test_a_revision_that_fails_leaves_nothing_of_the_old_work(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        task("plan", max_retries=0, config={"continue_on_error": True}),
        gate(after=["plan"], max_revisions=1),
        task("act", after=["gate"], inputs={"n": "${steps.plan.n}"}, max_retries=0),
    )
    hand.turn()
    made(hand, "plan", {"n": 1})
    send_back(scene, execution)
    hand.turn()
    hand.turn(hand.result("plan", Failed("broken", "No", is_final=True)))
    assert request_of(execution).approval_data == {"plan": None}
    scene.decide(execution)
    hand.turn()
    act = WorkflowStepExecution.objects.get(execution=execution, name="act")
    assert (act.status, act.error_code) == ("failed", "expression_error")


def test_work_that_is_done_anew_may_wait_for_an_agent_as_long_as_at_first(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(agent("plan", timeout_seconds=30), gate(after=["plan"]))
    hand.turn()
    hand.finish("plan")
    hour_ago = F("started_at") - timedelta(hours=1)
    WorkflowExecution.objects.update(started_at=hour_ago)
    scene.run(agent("other"))
    hand.turn()
    send_back(scene, execution)
    hand.turn()
    assert steps(execution)["plan"] == "completed, pending"
    hand.finish("other")
    hand.turn(ahead=2)
    assert set(hand.begun) == {"plan"}


def test_what_waits_its_turn_for_an_agent_begins_once_though_work_is_sent_back(
    scene: Scene, hand: DriverByHand
) -> None:
    worker = scene.agent()
    execution = scene.run(PLAN, gate(after=["plan"]), agent("beside"))
    hand.turn()
    hand.finish("plan")
    hand.holdings.hand_back_all()
    now = database_now()
    taken = AgentReservation.objects.create(
        workspace=scene.workspace,
        agent_instance=worker,
        step_execution_id=uuid7(),
        attempt=1,
        reserved_at=now,
        expires_at=now + timedelta(hours=1),
    )
    another = DriverByHand()
    another.turn()
    taken.delete()
    send_back(scene, execution)
    for ahead in (0, 2, 4):
        another.turn(ahead=ahead)
    begun = [e.data["step"] for e in events_of(execution.id, "step_started")]
    assert begun.count("beside") == 2
    another.finish("beside")
    assert steps(execution)["beside"] == "completed"


def test_a_decision_that_was_taken_back_does_not_count(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(PLAN, gate(after=["plan"]))
    hand.turn()
    hand.finish("plan")
    request = scene.decide(execution, "request_changes", "No").approval
    retract(request.id, user=scene.users["approver"], door=Door.API)
    hand.turn()
    assert steps(execution) == {"plan": "completed", "gate": "waiting"}
    scene.decide(execution, "request_changes", "But this")
    hand.turn()
    assert hand.begun["plan"].feedback == "But this"
    hand.finish("plan")
    again = request_of(execution)
    assert (again.revision_count, again.parent_approval.feedback) == (1, "But this")


# --- blocks -------------------------------------------------------------------------------


def test_a_block_is_done_anew_with_all_that_stands_in_it(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        PLAN,
        block(
            "parallel", "each", after=["plan"], for_each="${steps.plan.of}",
        ) | {"config": {"for_each": "${steps.plan.of}", "steps": [
            task("do", inputs={"was": "${revision.previous}", "said": "${revision.feedback}"}),
        ]}},
        gate(after=["each"], revise="plan"),
    )  # fmt: skip
    hand.turn()
    made(hand, "plan", {"of": [1, 2, 3]})
    for index in range(3):
        made(hand, f"do[{index}]", {"n": index})
    send_back(scene, execution, "Fewer")
    another = take_over(hand)
    made(another, "plan", {"of": [1, 2]})
    assert another.begun["do[1]"].inputs == {"was": {"n": 1}, "said": "Fewer"}
    another = take_over(another)
    another.finish("do[0]")
    made(another, "do[1]", {"n": 7})
    assert request_of(execution).approval_data == {
        "each": [{"do": {"by": "do[0]"}}, {"do": {"n": 7}}]
    }
    scene.decide(execution)
    another.work()
    found = steps(execution)
    assert found["each"] == "completed, completed"
    assert [found[f"do[{n}]"] for n in range(3)] == ["completed, completed"] * 2 + ["completed"]
    assert status_of(execution) == "completed"


def take_over(hand: DriverByHand) -> DriverByHand:
    """Let another driver go on with all that this one has."""
    hand.turn()
    hand.holdings.hand_back_all()
    another = DriverByHand()
    another.turn()
    return another


def test_a_gate_in_a_block_sends_back_what_is_in_its_own_round(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        block(
            "parallel", "each",
            task("do", inputs={"was": "${revision.previous}"}),
            gate("ok", after=["do"]),
            task("act", after=["ok"], inputs={"n": "${steps.do.n}"}),
            for_each=[1, 2],
        )
    )  # fmt: skip
    hand.turn()
    made(hand, "do[0]", {"n": 0})
    made(hand, "do[1]", {"n": 1})
    second = WorkflowStepApproval.objects.get(step_execution__name="ok[1]")
    decide_on(scene, second, "request_changes", "More")
    hand = take_over(hand)
    assert {n: c.inputs for n, c in hand.begun.items()} == {"do[1]": {"was": {"n": 1}}}
    hand = take_over(hand)
    made(hand, "do[1]", {"n": 9})
    for request in WorkflowStepApproval.objects.pending():
        decide_on(scene, request, "approved", "")
    hand.turn()
    assert {n: c.inputs for n, c in hand.begun.items()} == {"act[0]": {"n": 0}, "act[1]": {"n": 9}}
    hand.work()
    assert steps(execution)["ok[1]"] == "completed, completed"
    assert status_of(execution) == "completed"


def test_what_stands_deep_in_a_block_has_its_own_output_at_hand_too(
    scene: Scene, hand: DriverByHand
) -> None:
    do = task("do", inputs={"was": "${revision.previous}"})
    inner = block("sequential", "inner", task("first"), do)
    execution = scene.run(
        PLAN, block("parallel", "outer", inner, after=["plan"]),
        gate(after=["outer"], revise="plan"),
    )  # fmt: skip
    hand.turn()
    hand.finish("plan")
    hand.finish("first")
    made(hand, "do", {"n": 1})
    send_back(scene, execution)
    hand = take_over(hand)
    hand.finish("plan")
    hand = take_over(hand)
    assert hand.begun["first"].previous == {"by": "first"}
    hand.finish("first")
    assert hand.begun["do"].inputs == {"was": {"n": 1}}
    hand.finish("do")
    assert request_of(execution).revision == 2


def test_a_loop_that_is_done_anew_counts_its_rounds_from_the_first(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        PLAN,
        block("sequential", "loop", task("turn"), after=["plan"],
              repeat_until="steps.turn.done", max_iterations=2),
        gate(after=["loop"], revise="plan"),
    )  # fmt: skip
    hand.turn()
    hand.finish("plan")
    made(hand, "turn[0]", {"done": False})
    made(hand, "turn[1]", {"done": True})
    send_back(scene, execution)
    hand = take_over(hand)
    hand.finish("plan")
    hand = take_over(hand)
    assert set(hand.begun) == {"turn[0]"}
    made(hand, "turn[0]", {"done": True})
    scene.decide(execution)
    hand.turn()
    found = steps(execution)
    assert (found["turn[0]"], found["turn[1]"]) == ("completed, completed", "completed")
    assert status_of(execution) == "completed"


def test_a_step_that_had_not_begun_when_its_block_was_sent_back_again_skips_no_revision(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent()
    execution = scene.run(
        block("parallel", "each", agent("one"), agent("two")),
        gate(after=["each"], revise="each") | {"trigger_rule": "always"},
    )
    hand.turn()
    hand.finish("one")
    hand.turn(ahead=2)
    hand.finish("two")
    for why in ("Smaller", "Still smaller"):
        send_back(scene, execution, why)
        hand.turn()
    hand.finish("one")
    hand.turn(ahead=4)
    assert (hand.begun["two"].revision, hand.begun["two"].feedback) == (2, "Still smaller")
    assert hand.begun["two"].previous == {"by": "two"}


def test_a_gate_that_does_not_wait_for_a_block_stops_what_runs_in_it(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        PLAN,
        block("parallel", "each", task("do"), gate("inner"), after=["plan"]),
        gate(after=["plan", "each"], revise="plan") | {"trigger_rule": "one_success"},
    )  # fmt: skip
    hand.turn()
    hand.finish("plan")
    late = hand.begun.pop("do")
    outer = WorkflowStepApproval.objects.get(title="gate")
    decide_on(scene, outer, "request_changes", "No")
    hand.turn()
    assert set(hand.begun) == {"plan"}
    assert len(hand.stopped) == 1
    assert WorkflowStepApproval.objects.get(title="inner").status == "cancelled"
    hand.begun["late"] = late
    hand.turn(hand.result("late"))
    hand.finish("plan")
    assert steps(execution)["do"] == "cancelled, running"
    assert hand.begun["do"].revision == 2


def test_a_result_that_comes_after_its_block_was_sent_back_and_its_run_taken_away_is_refused(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        PLAN,
        block("parallel", "each", task("do"), after=["plan"]),
        gate(after=["plan", "each"], revise="plan") | {"trigger_rule": "one_success"},
    )  # fmt: skip
    hand.turn()
    hand.finish("plan")
    late = hand.begun.pop("do")
    send_back(scene, execution, "No")
    hand.turn()
    leases.fence(hand.holdings.driver_id, database_now())
    other = DriverByHand()
    other.turn()
    cancel_execution(execution.id, user=scene.users["operator"])
    other.begun["late"] = late
    other.turn(other.result("late"))
    assert [e.data["step"] for e in events_of(execution.id, "step_result_refused")] == ["do"]


# --- with the other verbs -----------------------------------------------------------------


def test_a_revision_that_fails_can_be_retried_with_the_same_words(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(task("plan", max_retries=0), gate(after=["plan"], max_revisions=1))
    hand.turn()
    made(hand, "plan", {"n": 1})
    first = request_of(execution)
    send_back(scene, execution)
    hand.turn()
    hand.turn(hand.result("plan", Failed("broken", "No")))
    assert steps(execution)["gate"] == "completed, skipped upstream_failed"
    retry_execution(execution.pk, user=None)
    hand.turn()
    again = hand.begun["plan"]
    assert (again.revision, again.feedback, again.previous) == (3, "Smaller", {"n": 1})
    hand.finish("plan")
    request = request_of(execution)
    assert (request.revision_count, request.parent_approval_id) == (1, first.id)


def test_a_gate_that_is_retried_asks_about_the_same_revision(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(PLAN, gate(after=["plan"]))
    hand.turn()
    hand.finish("plan")
    scene.decide(execution, "rejected", "No")
    hand.turn()
    retry_execution(execution.pk, user=None)
    hand.turn()
    request = request_of(execution)
    assert (request.revision_count, request.parent_approval.status) == (0, "rejected")
    assert ApprovalDecision.objects.count() == 1


def test_a_retry_leaves_alone_what_is_of_an_earlier_time(scene: Scene, hand: DriverByHand) -> None:
    """The block has fewer items the second time; what failed in it before does not come again."""
    execution = scene.run(
        PLAN,
        block("parallel", "each", task("do", max_retries=0, config={"continue_on_error": True}),
              after=["plan"], for_each="${steps.plan.of}"),
        gate(after=["each"], revise="plan"),
        task("act", after=["gate"], max_retries=0),
    )  # fmt: skip
    hand.turn()
    made(hand, "plan", {"of": [1, 2]})
    hand.turn(hand.result("do[0]", Failed("x", "x")), hand.result("do[1]", Failed("x", "x")))
    send_back(scene, execution)
    hand.turn()
    made(hand, "plan", {"of": [1]})
    hand.turn(hand.result("do[0]", Failed("x", "x")))
    scene.decide(execution)
    hand.turn()
    hand.turn(hand.result("act", Failed("x", "x")))
    retry_execution(execution.pk, user=None)
    hand.turn()
    hand.finish("act")
    assert status_of(execution) == "completed"
    assert steps(execution)["do[1]"] == "failed"


# --- agents -------------------------------------------------------------------------------


def test_the_demos_planner_heeds_what_is_said(scene: Scene, hand: DriverByHand) -> None:
    scene.agent("planner")
    AgentDefinition.objects.update(
        agent_type=AgentType.DEMO, config={"part": "planner", "seconds": 0}
    )
    execution = scene.run(agent("plan", "planner"), gate(after=["plan"]))
    hand.work()
    plans = [request_of(execution).approval_data["plan"]]
    for words in ("Canary first\nat 5 %", "Smaller still"):
        send_back(scene, execution, words)
        hand.work()
        plans.append(request_of(execution).approval_data["plan"])
    assert [plan["stages"][0]["share_percent"] for plan in plans] == [10, 5, 2]
    assert [plan["stages"][0]["wait_minutes"] for plan in plans] == [15, 30, 60]
    assert [plan["stages"][1:] for plan in plans] == [plans[0]["stages"][1:]] * 3
    place = "/stages/0/share_percent"
    assert plans[1]["answers"] == [
        {"feedback": "Canary first", "path": place}, {"feedback": "at 5 %", "path": place},
    ]  # fmt: skip
