"""What is deleted when, and what never is."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule

from approvals.models import ApprovalDecision, Door, WorkflowStepApproval
from approvals.services.grants import give_grant
from approvals.services.retraction import retract
from mgx.verify import find_violations
from tests.db.engine.conftest import ask
from tests.db.engine.passing import fire
from tests.db.engine.scenes import events_of, gate, task
from workflows import housekeeping
from workflows.clock import database_now
from workflows.models import (
    EngineDriver,
    Event,
    EventStream,
    IdempotencyKey,
    WebhookDelivery,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services import retention
from workflows.services.definitions import delete_workflow
from workflows.services.executions import cancel_execution
from workflows.services.retention import prune

pytestmark = pytest.mark.django_db


def later(days: float) -> datetime:
    """Return the moment that it will be in so many days."""
    return database_now() + timedelta(days=days)


def keep(scene: Any, days: Any) -> None:
    scene.workspace.settings = {"retention_days": days}
    scene.workspace.save()


def test_by_default_runs_are_kept_for_ever(scene, hand) -> None:
    scene.run(task("a"))
    hand.work()
    found = prune(later(10_000))
    assert (found.executions, found.events) == (0, 0)


def test_an_old_run_goes_with_its_steps_requests_and_events(scene, hand) -> None:
    keep(scene, 30)
    run = scene.run(task("a"), gate(after=["a"], title="?"))
    hand.work()
    scene.decide(run)
    hand.work()
    told = Event.objects.count()
    assert prune(later(29)).executions == 0
    found = prune(later(31))
    assert (found.executions, found.events) == (1, told)
    for model in (WorkflowExecution, WorkflowStepExecution, WorkflowStepApproval, ApprovalDecision):
        assert not model.objects.exists(), model
    stream = EventStream.objects.get(workspace=scene.workspace)
    assert stream.pruned_seq == stream.last_seq == told


def test_decisions_taken_back_and_given_ahead_go_with_their_run_and_workflow(scene, hand) -> None:
    keep(scene, 30)
    workflow = scene.workflow(gate(title="?", min_approvals=2))
    approver, editor = scene.users["approver"], scene.users["editor"]
    give_grant(workflow, user=approver, max_uses=9, expires_at=later(1))
    for leave in (prune_later, lambda: delete_workflow(workflow, user=editor)):
        run = scene.start(workflow)
        hand.turn()
        fire()
        scene.decide(run, role="editor")
        approval = WorkflowStepApproval.objects.get()
        retract(approval.id, user=editor, door=Door.API)
        cancel_execution(run.id, user=editor)
        leave()
        assert not ApprovalDecision.objects.exists()


def prune_later() -> None:
    assert prune(later(31)).executions == 1


def test_a_live_run_is_kept_however_old(scene, hand) -> None:
    keep(scene, 1)
    run = scene.run(gate(title="?"))
    hand.turn()
    assert prune(later(1_000)).executions == 0
    scene.decide(run)
    hand.turn()
    run.refresh_from_db()
    assert run.status == "completed"


def test_the_setting_of_the_installation_is_the_default(scene, hand, settings) -> None:
    settings.MGX_RETENTION_DAYS = 30
    scene.run(task("a"))
    hand.work()
    for own in (0, 60):
        keep(scene, own)
        assert prune(later(31)).executions == 0
    for nonsense in (None, -1, "30", True, [1]):
        keep(scene, nonsense)
        assert prune(later(29)).executions == 0
    assert prune(later(31)).executions == 1


def test_less_than_no_days_is_for_ever(scene, hand, settings) -> None:
    settings.MGX_RETENTION_DAYS = -1
    scene.run(task("a"))
    hand.work()
    found = prune(later(10_000))
    assert (found.executions, found.events) == (0, 0)


def test_only_the_workspace_that_wants_it_forgets(scene, hand, other_workspace, settings) -> None:
    settings.MGX_RETENTION_DAYS = 30
    keep(scene, 0)
    scene.run(task("a"))
    hand.work()
    assert prune(later(1_000)).executions == 0
    assert Event.objects.filter(workspace=scene.workspace).exists()


def test_events_are_pruned_up_to_the_first_that_is_kept(scene, hand) -> None:
    keep(scene, 30)
    scene.run(task("a"))
    hand.work()
    old = Event.objects.count()
    WorkflowExecution.objects.update(completed_at=database_now() - timedelta(days=40))
    Event.objects.update(timestamp=database_now() - timedelta(days=40))
    scene.run(task("b"))
    hand.work()
    found = prune(database_now())
    assert (found.executions, found.events) == (1, old)
    kept = Event.objects.order_by("seq")
    assert kept[0].seq == EventStream.objects.get(workspace=scene.workspace).pruned_seq + 1
    assert list(find_violations(ask)) == []


def test_small_batches_delete_the_same(scene, hand) -> None:
    keep(scene, 30)
    for _ in range(4):
        scene.run(task("a"), task("b"), task("c"))
        hand.work()
    events = Event.objects.count()
    found = prune(later(31), batch=5)
    assert (found.executions, found.events) == (4, events)
    assert prune(later(31), batch=5).executions == 0


def test_a_sub_workflow_is_kept_until_its_step_has_heard_of_its_end(scene, hand) -> None:
    keep(scene, 1)
    child = scene.workflow(task("inner"))
    sub = {"name": "sub", "step_type": "workflow", "config": {"workflow": child.name}}
    parent = scene.run(sub)
    hand.turn()
    inner = WorkflowExecution.objects.get(workflow=child)
    hand.turn()
    hand.finish("inner")
    inner.refresh_from_db()
    parent.refresh_from_db()
    assert (inner.status, parent.status) == ("completed", "waiting")
    assert prune(later(100)).executions == 0
    WorkflowExecution.objects.filter(pk=parent.pk).update(wake_at=database_now())
    hand.work()
    parent.refresh_from_db()
    assert parent.status == "completed"
    assert prune(later(100)).executions == 2


def test_a_run_goes_after_those_that_it_ran(scene, hand, monkeypatch) -> None:
    """It may be stopped between two batches: what is left is whole."""
    keep(scene, 30)
    child = scene.workflow(task("inner"))
    scene.run({"name": "sub", "step_type": "workflow", "config": {"workflow": child.name}})
    for _ in range(3):
        hand.work()
        WorkflowExecution.objects.filter(completed_at=None).update(wake_at=database_now())
    look = retention._old_executions
    left = []

    def look_first(*given: Any) -> Any:
        assert list(find_violations(ask)) == []
        left.append(WorkflowExecution.objects.count())
        return look(*given)

    monkeypatch.setattr(retention, "_old_executions", look_first)
    assert prune(later(31), batch=1).executions == 2
    assert left == [2, 1, 0]


def test_what_was_told_of_a_run_is_kept_as_long_as_it_is(scene, hand, api) -> None:
    keep(scene, 30)
    scene.run(task("a"))
    run = scene.run(task("b"), gate(after=["b"], title="?"))
    scene.run(task("c"))
    hand.work()
    told = list(events_of(run.id))
    others = Event.objects.count() - len(told)
    for _ in range(2):
        found = prune(later(31), batch=3)
        assert found.events == others
        others = 0
        assert list(events_of(run.id)) == told
        assert list(find_violations(ask)) == []
    stream = EventStream.objects.get(workspace=scene.workspace)
    assert stream.pruned_seq == stream.last_seq
    # What the workspace's readers get from its beginning has no gap.
    assert api("viewer").get("/api/v1/events/").json()["results"] == []
    page = api("viewer").get(f"/api/v1/executions/{run.id}/events/?limit=1").json()
    assert page["results"][0]["event_type"] == "workflow_started"
    rest = api("viewer").get(page["next"]).json()["results"]
    assert [event["seq"] for event in rest] == [event.seq for event in told[1:]][:1]
    scene.decide(run)
    hand.work()
    after = Event.objects.count()
    assert prune(later(31), batch=3).events == after
    assert not Event.objects.exists()


def test_answers_to_posts_are_kept_a_week(scene) -> None:
    IdempotencyKey.objects.create(user=scene.users["operator"], key="k", request_digest="0" * 64)
    assert prune(later(6)).idempotency_keys == 0
    assert prune(later(8)).idempotency_keys == 1


def test_the_record_of_a_call_is_kept_a_month_once_it_was_made(scene) -> None:
    def call(**columns) -> None:
        WebhookDelivery.objects.create(
            workspace=scene.workspace, event_type="x", created_at=later(0), **columns
        )

    call(status="delivered")
    call(due_at=later(0))
    assert prune(later(29)).deliveries == 0
    assert prune(later(31)).deliveries == 1
    assert WebhookDelivery.objects.get().due_at


def test_it_is_arranged_for_every_night_once(db: None) -> None:
    housekeeping.call_daily()
    housekeeping.call_daily()
    [schedule] = Schedule.objects.filter(name=housekeeping.SCHEDULE)
    assert schedule.func == f"{housekeeping.run.__module__}.run"
    assert schedule.schedule_type == Schedule.DAILY


def test_the_command_says_what_it_deleted(scene, capsys) -> None:
    long_ago = database_now() - timedelta(days=3)
    EngineDriver.objects.create(
        host="x", pid=1, started_at=long_ago, heartbeat_at=long_ago, stopped_at=long_ago
    )
    call_command("prune")
    assert "Deleted 0 runs, 0 events, 0 idempotency keys." in capsys.readouterr().out
    assert not EngineDriver.objects.filter(host="x").exists()
    with pytest.raises(CommandError):
        call_command("prune", batch=0)
