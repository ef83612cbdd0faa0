"""``manage.py verify``: what it says of a database in which all is well, and of each fault."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents.models import AgentBudgetAnswer, AgentMemoryEntry, AgentReservation
from approvals.models import WorkflowStepApproval
from approvals.services.delegations import delegate, revoke_delegation
from mgx.verify import find_violations, one_moment
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, gate, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.core.ids import step_execution_id, uuid7
from workflows.models import (
    EngineDriver,
    Event,
    EventStream,
    WorkflowExecution,
    WorkflowStepExecution,
    Workspace,
)
from workflows.services.definitions import delete_workflow

STEPS = "workflows_workflowstepexecution"
RUNS = "workflows_workflowexecution"


def ask(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def change(sql: str, *values: Any) -> None:
    """Change rows behind the product's back."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [value.hex if _is_uuid_in_sqlite(value) else value for value in values])
        assert cursor.rowcount > 0, "nothing was broken"


def _is_uuid_in_sqlite(value: Any) -> bool:
    return connection.vendor == "sqlite" and hasattr(value, "hex") and not isinstance(value, float)


def violations(**options: Any) -> list[str]:
    return list(find_violations(ask, **options))


def build(workspace: Workspace, users: dict[str, Any]) -> "Done":
    """Two runs: one that has ended, of agent, task and gate, and one that waits at its gate."""
    scene, hand = Scene(workspace, users), DriverByHand()
    scene.agent()
    steps = (agent("plan"), gate(after=["plan"]), task("act", after=["gate"]))
    ended = scene.run(*steps)
    hand.work()
    scene.decide(ended)
    hand.work()
    waiting = scene.run(*steps)
    hand.work()
    return Done(scene, hand, ended, waiting)


class Done:
    """What ``build`` has made."""

    def __init__(self, scene: Scene, hand: DriverByHand, ended: Any, waiting: Any) -> None:
        self.scene = scene
        self.hand = hand
        self.ended: WorkflowExecution = ended
        self.waiting: WorkflowExecution = waiting

    def step(self, name: str) -> WorkflowStepExecution:
        """Return a step of the run that has ended."""
        return WorkflowStepExecution.objects.get(execution=self.ended, name=name)

    def tell(self, event_type: str, **about: Any) -> None:
        """Append an event that nobody else would have written."""
        stream = EventStream.objects.get(workspace=self.scene.workspace)
        stream.last_seq += 1
        stream.save()
        values = {"actor": "system", "timestamp": database_now(), **about}
        Event.objects.create(
            workspace=self.scene.workspace, seq=stream.last_seq, event_type=event_type, **values
        )

    def nested(self, parent: str, **fields: Any) -> WorkflowStepExecution:
        """Add the row of a step that stands in ``parent``."""
        values = {"name": "act", "revision": 2, "status": "completed", **fields}
        now = database_now()
        return WorkflowStepExecution.objects.create(
            id=step_execution_id(self.ended.id, values["name"], values["revision"]),
            execution=self.ended,
            parent=parent,
            step_type="task",
            started_at=now,
            completed_at=now if values["status"] == "completed" else None,
            **values,
        )


@pytest.fixture
def done(db: None, workspace: Workspace, users: dict[str, Any]) -> Done:
    return build(workspace, users)


def only(text: str, *others: str) -> None:
    """Each violation says one of these, and each of these is said."""
    found = violations()
    for wanted in (text, *others):
        assert any(wanted in line for line in found), (wanted, found)
    assert all(any(wanted in line for wanted in (text, *others)) for line in found), found


def test_nothing_is_wrong_with_what_the_engine_does(done: Done) -> None:
    assert violations(longest_silence_seconds=60) == []


def test_i1_a_step_that_ended_twice(done: Done) -> None:
    step = done.step("act")
    about = {"workflow_execution_id": done.ended.id, "workflow_step_id": step.id}
    done.tell("step_completed", **about)
    only(f"I1: the step {ask_id(step.id)} ended 2 times", "after its end", "I9: act of")


def test_i2_a_step_that_started_before_what_it_waits_for(done: Done) -> None:
    before = done.step("plan").completed_at - timedelta(seconds=1)
    change(f"UPDATE {STEPS} SET started_at = %s WHERE id = %s", before, done.step("act").id)
    only("act started when only [] of ['gate'] had ended")


def test_i2_a_step_that_started_before_the_one_before_it_in_a_sequence(done: Done) -> None:
    steps = [task("later", step_order=2), task("first", step_order=1)]
    block = {"name": "s", "step_type": "sequential", "config": {"steps": steps}}
    run = done.scene.run(block)
    done.hand.work()
    assert violations() == []
    rows = WorkflowStepExecution.objects.filter(execution=run)
    began = rows.get(name="first").started_at
    change(f"UPDATE {STEPS} SET started_at = %s WHERE id = %s", began, rows.get(name="later").id)
    only("later started before first had ended")


def test_i2_a_step_that_is_not_in_the_definition(done: Done) -> None:
    change(f"UPDATE {STEPS} SET name = 'ghost' WHERE id = %s", done.step("act").id)
    only("ghost is no step of the run's version")


def test_i2_a_step_whose_block_is_not_there(done: Done) -> None:
    change(f"UPDATE {STEPS} SET parent = 'block' WHERE id = %s", done.step("act").id)
    only("stands in block, which has no row")


def test_i2_a_step_that_started_before_its_block(done: Done) -> None:
    change(f"UPDATE {STEPS} SET parent = 'act' WHERE id = %s", done.step("plan").id)
    only("the step plan of", "started before its block act")


def test_i3_a_step_that_is_open_in_a_block_that_has_ended(done: Done) -> None:
    change(f"UPDATE {STEPS} SET parent = 'plan', status = 'waiting', completed_at = NULL"
           " WHERE id = %s", done.step("act").id)  # fmt: skip
    only("the block plan of", "its step act is waiting", "I9: act of")


def test_i3_a_revision_that_began_before_the_one_before_had_ended(done: Done) -> None:
    step = done.step("act")
    WorkflowStepExecution.objects.create(
        id=step_execution_id(done.ended.id, "act", 2),
        execution=done.ended,
        name="act",
        revision=2,
        step_type="task",
        status="cancelled",
        started_at=step.completed_at - timedelta(seconds=1),
        completed_at=step.completed_at,
    )
    only("revision 2 of act", "I2: in")


def test_i2_a_step_that_started_although_the_gate_before_it_was_to_ask_again(done: Done) -> None:
    """The gate's second revision was asked for before the step began, and began after that."""
    gate, act = done.step("gate"), done.step("act")
    WorkflowStepExecution.objects.create(
        id=step_execution_id(done.ended.id, "gate", 2),
        execution=done.ended,
        name="gate",
        revision=2,
        step_type="approval",
        status="completed",
        revised_at=gate.completed_at,
        started_at=act.completed_at,
        completed_at=act.completed_at,
    )
    only("act started when only [] of ['gate'] had ended", "I9: gate of")


def test_i3_a_revision_that_follows_none(done: Done) -> None:
    change(f"UPDATE {STEPS} SET revision = 2 WHERE id = %s", done.step("act").id)
    only("revision 2 of act in", "follows none")


def test_i3_an_event_after_the_end(done: Done) -> None:
    done.tell("agent_activity", workflow_execution_id=done.ended.id)
    only(f"agent_activity of the run {ask_id(done.ended.id)} after its end")


def test_i3_a_run_that_goes_on_says_so(done: Done) -> None:
    done.tell("workflow_retried", workflow_execution_id=done.ended.id)
    done.tell("agent_activity", workflow_execution_id=done.ended.id)
    done.tell("workflow_completed", workflow_execution_id=done.ended.id)
    assert violations() == []


def test_i3_an_open_step_of_a_run_that_has_ended(done: Done) -> None:
    change(f"UPDATE {STEPS} SET status = 'waiting', completed_at = NULL WHERE id = %s",
           done.step("act").id)  # fmt: skip
    only("has ended, but its step act is waiting", "I9: act of")


def test_i3_a_step_that_starts_while_its_run_is_paused(done: Done) -> None:
    about = {"workflow_execution_id": done.waiting.id}
    done.tell("workflow_paused", **about)
    done.tell("step_started", workflow_step_id=uuid7(), **about)
    done.tell("workflow_resumed", **about)
    done.tell("step_started", workflow_step_id=uuid7(), **about)
    (found,) = violations()
    assert "started while the run" in found


def test_a_delegation_may_be_taken_back_after_the_end(done: Done, make_member: Any) -> None:
    make_member("deputy", done.scene.workspace, "approver")
    approval = WorkflowStepApproval.objects.get(status="pending")
    approver = done.scene.users["approver"]
    delegation = delegate(approval.pk, to="deputy", user=approver)
    done.scene.decide(done.waiting)
    done.hand.work()
    done.waiting.refresh_from_db()
    assert done.waiting.status == "completed"
    revoke_delegation(delegation.pk, user=approver)
    assert violations() == []


def test_a_workflow_may_be_deleted_whose_runs_ran_others(done: Done) -> None:
    child = done.scene.workflow(task("inner"))
    parent = done.scene.run(
        {"name": "sub", "step_type": "workflow", "config": {"workflow": child.name}}
    )
    for _ in range(3):
        done.hand.work()
        WorkflowExecution.objects.filter(completed_at=None).update(wake_at=database_now())
    inner = WorkflowExecution.objects.get(workflow=child)
    assert (inner.status, inner.parent_step_id is None) == ("completed", False)
    delete_workflow(parent.workflow, user=done.scene.users["editor"])
    inner.refresh_from_db()
    assert (inner.status, inner.parent_step_id) == ("completed", None)
    assert violations() == []


def test_i3_a_run_that_belongs_to_no_step(done: Done) -> None:
    change(f"UPDATE {RUNS} SET parent_step_id = %s WHERE id = %s", uuid7(), done.ended.id)
    only("belongs to a step that runs no workflow")


def test_i3_a_run_that_goes_on_after_its_step(done: Done) -> None:
    step = done.step("act")
    change(f"UPDATE {STEPS} SET step_type = 'workflow' WHERE id = %s", step.id)
    change(f"UPDATE {RUNS} SET parent_step_id = %s WHERE id = %s", step.id, done.waiting.id)
    only("does not stand below the run of its step act", "the step act is completed, and its run")


def test_i4_a_request_without_its_decision(done: Done) -> None:
    change("UPDATE workflow_step_approvals SET status = 'rejected' WHERE status = 'approved'")
    only("is rejected, decided approved", "is rejected, told was approval_granted")


def test_i4_an_open_request_of_a_step_that_does_not_wait(done: Done) -> None:
    change(f"UPDATE {STEPS} SET status = 'retrying' WHERE status = 'waiting'")
    only("is open, its step retrying", "nothing will ever wake it")


def test_i4_a_step_that_waits_for_nobody(done: Done) -> None:
    change("UPDATE workflow_step_approvals SET step_execution_id = NULL WHERE status = 'pending'")
    only("the step gate of", "waits for nobody", "is decided, and nothing will ever wake it")


def test_i5_an_agent_with_more_work_than_places(done: Done) -> None:
    change("UPDATE agents_agentreservation SET released_at = NULL")
    change("UPDATE agents_agentinstance SET max_concurrency = 1")
    only("holds 2 places of 1", "is completed and still holds a place")


def test_places_are_judged_by_what_there_was_when_the_last_one_was_taken(
    done: Done, api: Any
) -> None:
    busy = done.scene.agent("busy", places=2)
    done.scene.run(agent("one", "busy"), agent("two", "busy"), agent("three", "busy"))
    done.hand.turn()
    assert AgentReservation.objects.filter(released_at=None, agent_instance=busy).count() == 2
    answer = api("admin").patch(f"/api/v1/agents/{busy.pk}/", {"max_concurrency": 1}, format="json")
    assert answer.status_code == 200
    assert violations() == []
    change("UPDATE agents_agentreservation SET reason = %s", json.dumps({"places": 1}))
    only("holds 2 places of 1")


def test_i5_a_workspace_that_spends_more_than_its_budget(done: Done) -> None:
    settings = json.dumps({"monthly_agent_tokens": 2_000, "monthly_agent_cost": 0.02})
    change("UPDATE workflows_workspace SET settings = %s", settings)
    change(
        "UPDATE agents_agentreservation SET tokens_reserved = 1000, input_tokens = 5000,"
        " cost_reserved_micros = 10000, cost_micros = 50000"
    )
    change("UPDATE agents_agentusage SET input_tokens = 10000, cost_micros = 100000")
    assert violations() == [], "what an attempt takes beyond its place was not let in"
    last = "(SELECT max(id::text)::uuid FROM agents_agentreservation)"
    if connection.vendor == "sqlite":
        last = "(SELECT max(id) FROM agents_agentreservation)"
    change(
        "UPDATE agents_agentreservation SET released_at = NULL, tokens_reserved = 1001,"
        f" cost_reserved_micros = 10001 WHERE id = {last}"
    )
    only(
        "holds a place",
        "spent 1000 and reserved 1001 of 2000 (tokens)",
        "spent 10000 and reserved 10001 of 20000 (cost_micros)",
    )
    AgentBudgetAnswer.objects.create(
        workspace=done.waiting.workspace,
        month=database_now().date().replace(day=1),
        step_execution_id=uuid7(),
        asked_at=database_now(),
        answered_at=database_now(),
        tokens=1,
        cost_micros=1,
    )
    only("holds a place")


def test_i5_spending_that_is_not_counted(done: Done) -> None:
    change("UPDATE agents_agentreservation SET input_tokens = 10, output_tokens = 1")
    only("add up to [0, 0, 0], its attempts to [20, 2, 0]")


def test_i6_a_gap_in_the_events(done: Done) -> None:
    change(
        "DELETE FROM workflows_event WHERE event_type = 'approval_required' AND seq ="
        " (SELECT min(seq) FROM workflows_event WHERE event_type = 'approval_required')"
    )
    only("I6: ")


def test_i7_a_driver_that_is_gone(done: Done) -> None:
    change(f"UPDATE {RUNS} SET driver_id = %s WHERE id = %s",
           done.hand.holdings.driver_id, done.waiting.id)  # fmt: skip
    change("UPDATE workflows_enginedriver SET fenced_at = %s", database_now())
    only("belongs to a driver that is gone")


def test_i7_a_driver_that_is_silent(done: Done) -> None:
    change(f"UPDATE {RUNS} SET driver_id = %s WHERE id = %s",
           done.hand.holdings.driver_id, done.waiting.id)  # fmt: skip
    EngineDriver.objects.update(heartbeat_at=database_now() - timedelta(seconds=65))
    assert violations() == []
    assert violations(longest_silence_seconds=90) == []
    (found,) = violations(longest_silence_seconds=60)
    assert "holds 1 runs and has been silent for 6" in found


def test_i7_a_step_that_runs_without_a_driver(done: Done) -> None:
    change(f"UPDATE {STEPS} SET status = 'running', step_type = 'task' WHERE status = 'waiting'")
    only("counts as running, with no driver", "is open, its step running", "nothing will ever wake")


def test_i7_a_run_whose_moment_was_lost(done: Done) -> None:
    change(f"UPDATE {STEPS} SET due_at = %s, step_type = 'wait' WHERE status = 'waiting'",
           database_now())  # fmt: skip
    change(f"UPDATE {RUNS} SET wake_at = NULL WHERE id = %s", done.waiting.id)
    only("has a moment to go on, and the run has none")


def test_i7_a_run_that_waits_for_a_run_that_is_over(done: Done) -> None:
    change(f"UPDATE {STEPS} SET step_type = 'workflow' WHERE status = 'waiting'")
    change(f"UPDATE {RUNS} SET wake_at = NULL WHERE id = %s", done.waiting.id)
    only("waits for a run that is over")


def test_i8_an_entry_that_is_not_as_large_as_it_says(done: Done) -> None:
    now = database_now()
    data = {"text": "grün", "number": 1.5}
    instance = done.scene.agent("other")
    entry = AgentMemoryEntry.objects.create(
        workspace=done.scene.workspace,
        agent_instance=instance,
        memory_key="k",
        memory_data=data,
        size_bytes=len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()),
        created_at=now,
        updated_at=now,
        used_at=now,
    )
    assert violations() == []
    change("UPDATE agents_agentmemoryentry SET size_bytes = size_bytes + 1 WHERE memory_key = 'k'")
    only(f"has {entry.size_bytes} bytes, not {entry.size_bytes + 1}")


@pytest.mark.parametrize(
    ("event_type", "said"),
    [
        ("step_started", "has 1 attempts, 0 of them were told"),
        ("step_completed", "is completed, told was None"),
        ("workflow_started", "told to have started 0 times"),
        ("workflow_completed", "is completed, told last was workflow_started"),
    ],
)
def test_i9_a_move_that_was_not_told(done: Done, event_type: str, said: str) -> None:
    change("UPDATE workflows_event SET event_type = 'agent_activity'"
           " WHERE event_type = %s AND workflow_execution_id = %s",
           event_type, done.ended.id)  # fmt: skip
    assert any(said in line for line in violations())


def test_i9_a_move_of_nobody(done: Done) -> None:
    change("UPDATE workflows_event SET actor = '' WHERE seq = 1")
    only("nobody is named for the event 1 of")


def test_what_was_pruned_is_not_missed(done: Done) -> None:
    change("DELETE FROM workflows_event WHERE seq <= 3")
    change("UPDATE workflows_eventstream SET pruned_seq = 3")
    assert violations() == []


def ask_id(value: Any) -> str:
    """Return an identifier as a query of this database gives it."""
    return value.hex if connection.vendor == "sqlite" else str(value)


@pytest.mark.django_db(transaction=True)
class TestCommand:
    def test_it_says_what_it_looked_at(self, workspace: Workspace, users: Any) -> None:
        build(workspace, users)
        out = StringIO()
        call_command("verify", stdout=out)
        assert "ok: " in out.getvalue()
        assert "2 runs, 5 steps, 2 requests" in out.getvalue()

    def test_it_tells_each_violation_and_fails(self, workspace: Workspace, users: Any) -> None:
        build(workspace, users)
        change("UPDATE workflows_event SET actor = '' WHERE seq <= 2")
        out = StringIO()
        with pytest.raises(CommandError, match="2 violations") as failure:
            call_command("verify", stdout=out)
        assert failure.value.returncode == 1
        lines = out.getvalue().splitlines()
        assert len(lines) == 2
        assert all(line.startswith("I9: nobody is named") for line in lines)

    def test_it_sees_one_moment(self, workspace: Workspace, users: Any) -> None:
        """What commits while it asks is not seen by half, and need not wait for it."""
        scene = build(workspace, users).scene
        with one_moment() as query:
            [(before,)] = query("SELECT count(*) FROM workflows_event")
            at_once(1, lambda _: scene.run(task("more")))
            [(after,)] = query("SELECT count(*) FROM workflows_event")
            assert list(find_violations(query)) == []
        assert (before, after) == (before, before)
        assert len(ask("SELECT 1 FROM workflows_event")) > before
