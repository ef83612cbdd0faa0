"""What can be done with a run besides starting and cancelling it: what is written, what refused."""

from datetime import timedelta

import pytest

from tests.db.engine.blocks import parallel, sequential
from tests.db.engine.scenes import task
from workflows.clock import database_now
from workflows.core.ids import step_execution_id
from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.models import (
    EngineDriver,
    Event,
    Project,
    Signal,
    WorkflowExecution,
    WorkflowStepExecution,
)
from workflows.services import executions, verbs
from workflows.services.definitions import create_workflow, publish, replace_draft
from workflows.services.executions import cancel_execution, start_execution
from workflows.services.verbs import (
    pause_execution,
    rerun_execution,
    resume_execution,
    retry_execution,
    signal_execution,
)

pytestmark = pytest.mark.django_db

INPUTS = {"task_description": "Ship it"}
VERBS = {
    "pause": pause_execution,
    "resume": resume_execution,
    "retry": retry_execution,
    "rerun": lambda run, user: rerun_execution(run, user=user, door="api"),
    "signal": lambda run, user: signal_execution(run, name="paid", user=user),
}


@pytest.fixture
def operator(users):
    return users["operator"]


@pytest.fixture
def run(workflow, operator):
    return start_execution(workflow, input_variables=INPUTS, user=operator, door="api")


def stand(run, status, **columns):
    """Let a run stand as an engine would have left it."""
    live = status in ("pending", "running", "waiting", "paused")
    columns |= {"completed_at": None if live else database_now(), "wake_at": None}
    WorkflowExecution.objects.filter(pk=run.pk).update(status=status, **columns)


def step(run, name, status, *, revision=1, parent="", step_type="task", **columns):
    has_ended = status in TERMINAL_STEP_STATUSES
    return WorkflowStepExecution.objects.create(
        id=step_execution_id(run.pk, name, revision),
        execution=run,
        name=name,
        parent=parent,
        step_type=step_type,
        revision=revision,
        status=status,
        completed_at=database_now() if has_ended else None,
        **columns,
    )


def never_ran(run, name, reason="upstream_failed", **columns):
    return step(run, name, "skipped", skip_reason=reason, **columns)


def rows(run):
    """Return (name, revision, status) of every step, by name."""
    steps = WorkflowStepExecution.objects.filter(execution=run)
    return sorted(steps.values_list("name", "revision", "status"))


def anew(run):
    """Return the names of the steps that wait to be done anew."""
    return [name for name, revision, status in rows(run) if status == "pending"]


def last_event(run):
    return Event.objects.filter(workflow_execution_id=run.pk).order_by("seq").last()


def refusal(verb, run, user):
    with pytest.raises(Conflict) as caught:
        VERBS[verb](run.pk, user=user)
    return caught.value.code, caught.value.facts["status"]


@pytest.mark.parametrize("verb", VERBS)
class TestWho:
    def test_a_viewer_may_not(self, run, users, verb):
        before = rows_of(run)
        with pytest.raises(NotPermitted):
            VERBS[verb](run.pk, user=users["viewer"])
        assert rows_of(run) == before

    def test_others_see_no_run(self, run, outsider, verb):
        with pytest.raises(NotVisible):
            VERBS[verb](run.pk, user=outsider)


@pytest.mark.parametrize("verb", ["pause", "resume", "retry", "signal", "cancel"])
def test_a_run_that_is_deleted_meanwhile_is_not_there(run, operator, verb, monkeypatch):
    def delete_it(*given):
        WorkflowExecution.objects.all().delete()

    # Between the look at the run and its lock.
    for module in (verbs, executions):
        monkeypatch.setattr(module, "require_role", delete_it)
    with pytest.raises(NotVisible):
        VERBS.get(verb, cancel_execution)(run.pk, user=operator)


def rows_of(run):
    return list(WorkflowExecution.objects.values()), Event.objects.count(), Signal.objects.count()


@pytest.mark.parametrize("reason", ["a\0b", "\ud800", "x" * 10_001])
@pytest.mark.parametrize("verb", [cancel_execution, pause_execution])
def test_a_reason_that_cannot_be_kept_is_refused(run, operator, verb, reason):
    before = rows_of(run)
    with pytest.raises(InvalidInput) as caught:
        verb(run.pk, user=operator, reason=reason)
    assert [problem.path for problem in caught.value.problems] == ["/reason"]
    assert rows_of(run) == before


class TestPausing:
    def test_the_clock_stands_still_and_the_engine_is_woken(self, run, operator):
        since = database_now() - timedelta(seconds=30)
        stand(run, "running", active_seconds=5, active_since=since)
        paused = pause_execution(run.pk, user=operator, reason="Wrong host")
        assert (paused.status, paused.is_paused, paused.active_since) == ("paused", True, None)
        assert 35 <= paused.active_seconds < 65
        assert paused.wake_at is not None
        event = last_event(run)
        assert (event.event_type, event.actor) == ("workflow_paused", "user:operator")
        assert event.data == {"number": 1, "reason": "Wrong host"}
        stored = WorkflowExecution.objects.values().get(pk=run.pk)
        assert {name: getattr(paused, name) for name in stored} == stored

    def test_a_clock_that_stood_stays_where_it_was(self, run, operator):
        stand(run, "waiting", active_seconds=5)
        assert pause_execution(run.pk, user=operator).active_seconds == 5

    def test_its_driver_keeps_it(self, run, operator):
        driver = EngineDriver.objects.create(
            host="here", pid=1, started_at=database_now(), heartbeat_at=database_now()
        )
        stand(run, "running", driver=driver)
        assert pause_execution(run.pk, user=operator).driver_id == driver.pk

    def test_twice_is_refused(self, run, operator):
        pause_execution(run.pk, user=operator)
        assert refusal("pause", run, operator) == ("already_paused", "paused")

    def test_what_has_ended_is_refused(self, run, operator):
        stand(run, "completed")
        assert refusal("pause", run, operator) == ("already_ended", "completed")

    def test_it_can_be_cancelled(self, run, operator):
        pause_execution(run.pk, user=operator)
        assert cancel_execution(run.pk, user=operator).status == "cancelled"
        assert refusal("resume", run, operator) == ("not_paused", "cancelled")


class TestResuming:
    def test_it_goes_on_where_it_was(self, run, operator):
        pause_execution(run.pk, user=operator)
        stand(run, "paused", active_seconds=5)
        resumed = resume_execution(run.pk, user=operator)
        assert (resumed.status, resumed.is_paused) == ("waiting", False)
        assert resumed.wake_at is not None
        assert resumed.active_seconds == 5
        assert last_event(run).event_type == "workflow_resumed"

    def test_what_is_not_paused_is_refused(self, run, operator):
        assert refusal("resume", run, operator) == ("not_paused", "pending")


class TestRetrying:
    @pytest.mark.parametrize("status", ["failed", "timeout", "cancelled"])
    def test_the_same_run_goes_on_as_if_it_had_never_ended(self, run, operator, status):
        stand(
            run,
            status,
            active_seconds=3600,
            error_code="step_failed",
            error_message="a: boom",
            output_data={"b": 1},
            is_paused=True,
            started_at=database_now(),
        )
        step(run, "a", "failed")
        retried = retry_execution(run.pk, user=operator)
        assert (retried.pk, retried.number, retried.status) == (run.pk, 1, "pending")
        assert (retried.completed_at, retried.output_data) == (None, None)
        assert (retried.error_code, retried.error_message) == ("", "")
        assert (retried.active_seconds, retried.is_paused) == (0, False)
        assert retried.wake_at is not None
        assert retried.started_at is not None
        event = last_event(run)
        assert (event.event_type, event.data) == ("workflow_retried", {"number": 1, "steps": 1})
        stored = WorkflowExecution.objects.values().get(pk=run.pk)
        assert {name: getattr(retried, name) for name in stored} == stored

    @pytest.mark.parametrize("status", ["pending", "running", "waiting", "paused", "completed"])
    def test_what_did_not_fail_is_refused(self, run, operator, status):
        stand(run, status)
        assert refusal("retry", run, operator) == ("not_failed", status)

    def test_only_what_failed_and_what_it_held_up_is_done_anew(self, run, operator):
        stand(run, "failed")
        step(run, "done", "completed")
        step(run, "broken", "failed", attempts=3, error_code="boom")
        step(run, "late", "timeout")
        never_ran(run, "behind")
        never_ran(run, "other", "condition_false")
        never_ran(run, "cleared", "trigger_rule_not_met")
        before = WorkflowStepExecution.objects.filter(execution=run).values()
        before = {row["name"]: row for row in before}
        retry_execution(run.pk, user=operator)
        assert anew(run) == ["behind", "broken", "late"]
        for row in WorkflowStepExecution.objects.filter(execution=run, revision=1).values():
            assert row == before[row["name"]]
        new = WorkflowStepExecution.objects.get(execution=run, name="broken", revision=2)
        assert new.pk == step_execution_id(run.pk, "broken", 2)
        assert (new.attempts, new.error_code, new.completed_at) == (0, "", None)

    def test_the_latest_revision_counts(self, run, operator):
        stand(run, "failed")
        step(run, "a", "failed")
        step(run, "a", "completed", revision=2)
        step(run, "b", "failed")
        step(run, "b", "failed", revision=2)
        retry_execution(run.pk, user=operator)
        assert [row for row in rows(run) if row[2] == "pending"] == [("b", 3, "pending")]

    def test_a_run_that_was_cancelled_does_anew_what_was_open(self, run, operator):
        stand(run, "waiting")
        step(run, "a", "completed")
        step(run, "b", "running")
        step(run, "gate", "waiting", step_type="approval")
        cancel_execution(run.pk, user=operator)
        retry_execution(run.pk, user=operator)
        assert anew(run) == ["b", "gate"]

    def test_a_run_that_never_began_begins(self, run, operator):
        cancel_execution(run.pk, user=operator)
        assert retry_execution(run.pk, user=operator).status == "pending"
        assert rows(run) == []

    def test_it_can_be_cancelled_and_retried_again(self, run, operator):
        stand(run, "failed")
        step(run, "a", "failed")
        for revision in (2, 3):
            retry_execution(run.pk, user=operator)
            assert rows(run)[-1] == ("a", revision, "pending")
            cancel_execution(run.pk, user=operator)
            assert rows(run)[-1] == ("a", revision, "cancelled")

    def test_of_a_failed_block_only_what_failed_is_done_anew(self, workspace, users, operator):
        inner = sequential("inner", task("deep"), after=("report",))
        report = task("report", after=["check"])
        each = parallel("each", task("check"), report, inner, for_each=[1, 2])
        document = {"name": "Mapped", "steps": [each]}
        workflow = create_workflow(workspace=workspace, document=document, user=users["editor"])
        run = start_execution(workflow, input_variables={}, user=operator, door="api")
        stand(run, "failed")
        step(run, "each", "failed", step_type="parallel")
        step(run, "check[0]", "completed", parent="each")
        step(run, "check[1]", "failed", parent="each")
        never_ran(run, "report[1]", parent="each")
        step(run, "inner[1]", "failed", parent="each", step_type="sequential")
        step(run, "deep[1]", "cancelled", parent="inner[1]")
        retry_execution(run.pk, user=operator)
        assert anew(run) == ["check[1]", "deep[1]", "each", "inner[1]", "report[1]"]
        new = WorkflowStepExecution.objects.get(execution=run, name="check[1]", revision=2)
        assert (new.parent, new.step_type) == ("each", "task")

    def test_a_block_that_completed_is_left_alone_with_all_that_it_holds(self, run, operator):
        stand(run, "failed")
        step(run, "each", "completed", step_type="parallel")
        step(run, "check", "failed", parent="each")
        step(run, "inner", "failed", parent="each", step_type="sequential")
        step(run, "deep", "failed", parent="inner")
        step(run, "last", "failed")
        retry_execution(run.pk, user=operator)
        assert anew(run) == ["last"]

    def test_work_may_wait_for_an_agent_as_long_as_the_first_time(self, run, operator):
        stand(run, "failed")
        step(run, "a", "failed", step_type="agent")
        step(run, "gate", "failed", step_type="approval")
        never_ran(run, "b", step_type="agent")
        retry_execution(run.pk, user=operator)
        due = WorkflowStepExecution.objects.filter(status="pending", due_at__isnull=False)
        assert list(due.values_list("name", flat=True)) == ["a"]


class TestRetryingASubworkflow:
    @pytest.fixture
    def child(self, workflow, operator, run):
        stand(run, "waiting")
        awaiting = step(run, "sub", "waiting", step_type="workflow")
        child = start_execution(workflow, input_variables=INPUTS, user=operator, door="api")
        stand(child, "failed", parent_step_id=awaiting.pk, depth=1)
        step(child, "a", "failed")
        return child

    def test_it_goes_on_while_its_parent_waits(self, child, operator):
        assert retry_execution(child.pk, user=operator).status == "pending"

    def test_nobody_would_hear_of_it_once_the_parent_has_gone_on(self, child, operator):
        WorkflowStepExecution.objects.filter(name="sub").update(
            status="failed", completed_at=database_now()
        )
        assert refusal("retry", child, operator) == ("belongs_to_ended_run", "failed")
        assert anew(child) == []

    def test_nobody_would_hear_of_it_once_the_parent_is_gone(self, child, run, operator):
        WorkflowStepExecution.objects.filter(execution=run).delete()
        assert refusal("retry", child, operator) == ("belongs_to_ended_run", "failed")


class TestRerunning:
    def test_a_new_run_has_the_old_inputs(self, run, users):
        stand(run, "failed")
        new = rerun_execution(run.pk, user=users["admin"], door="page")
        assert (new.number, new.status, new.input_variables) == (2, "pending", INPUTS)
        assert (new.rerun_of, new.started_by, new.started_through) == (run, users["admin"], "page")
        event = last_event(new)
        assert event.event_type == "workflow_started"
        assert event.data["rerun_of"] == str(run.pk)
        run.refresh_from_db()
        assert run.status == "failed"

    def test_it_may_have_others(self, run, operator):
        other = {"task_description": "Ship that"}
        new = rerun_execution(run.pk, input_variables=other, user=operator, door="api")
        assert new.input_variables == other

    def test_those_are_checked(self, run, operator):
        with pytest.raises(InvalidInput) as caught:
            rerun_execution(run.pk, input_variables={}, user=operator, door="api")
        assert caught.value.problems[0].path == "/input_variables/task_description"
        assert WorkflowExecution.objects.count() == 1

    def test_it_runs_the_version_that_is_published_now(self, run, workflow, users, operator):
        document = {
            "name": "Deploy",
            "variables": [],
            "steps": [{"name": "a", "step_type": "task", "config": {"task": "transform"}}],
        }
        replace_draft(workflow, document, user=users["editor"])
        publish(workflow, user=users["editor"])
        with pytest.raises(InvalidInput):  # the old inputs do not fit any more
            rerun_execution(run.pk, user=operator, door="api")
        new = rerun_execution(run.pk, input_variables={}, user=operator, door="api")
        assert new.version.number == 2

    def test_it_stays_in_its_project_and_stands_alone(self, run, workspace, operator):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        stand(run, "failed", project=project, parent_step_id=run.pk, depth=1)
        new = rerun_execution(run.pk, user=operator, door="api")
        assert (new.project, new.parent_step_id, new.depth) == (project, None, 0)


class TestSignalling:
    def test_it_is_kept_and_the_run_is_woken(self, run, operator):
        stand(run, "waiting")
        signal = signal_execution(run.pk, name="Paid in full", data={"sum": 5}, user=operator)
        stored = Signal.objects.get()
        assert (stored.pk, stored.execution_id) == (signal.pk, run.pk)
        assert (stored.name, stored.data) == ("Paid in full", {"sum": 5})
        assert (stored.sent_by, stored.taken_by_step_id) == (operator, None)
        run.refresh_from_db()
        assert (run.wake_at, run.status) == (stored.received_at, "waiting")
        event = last_event(run)
        assert event.event_type == "signal_received"
        assert event.data == {"number": 1, "signal": "Paid in full"}

    @pytest.mark.parametrize("data", [None, 0, "", [], {"a": [1, 2.5, None]}, "näh"])
    def test_any_json_may_come_with_it(self, run, operator, data):
        signal_execution(run.pk, name="paid", data=data, user=operator)
        assert Signal.objects.get().data == data

    @pytest.mark.parametrize(
        "name", ["", " ", " a", "a\n", "a\x00", "a\u202eb", "a\u200b", "x" * 201, "\ud800", 5]
    )
    def test_a_name_can_be_seen(self, run, operator, name):
        with pytest.raises(InvalidInput) as caught:
            signal_execution(run.pk, name=name, user=operator)
        assert [problem.path for problem in caught.value.problems] == ["/name"]
        assert not Signal.objects.exists()

    @pytest.mark.parametrize(
        ("data", "path"),
        [
            ({"a": "\x00"}, "/data/a"),
            ({"a": float("nan")}, "/data/a"),
            ("x" * 1024 * 1024, "/data"),
        ],
    )
    def test_what_cannot_be_stored_is_refused(self, run, operator, data, path):
        with pytest.raises(InvalidInput) as caught:
            signal_execution(run.pk, name="paid", data=data, user=operator)
        assert [problem.path for problem in caught.value.problems] == [path]

    def test_what_has_ended_hears_nothing(self, run, operator):
        stand(run, "failed")
        assert refusal("signal", run, operator) == ("already_ended", "failed")
        assert not Signal.objects.exists()
