"""Workflows that start by the clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from tests.db.engine.scenes import ended, eventually, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.engine import timers
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.events import append_events
from workflows.models import Timer, WorkflowExecution, WorkflowSchedule
from workflows.services.definitions import change_draft, create_workflow, delete_workflow, publish
from workflows.services.schedules import (
    change_schedule,
    create_schedule,
    delete_schedule,
    next_moment,
)

pytestmark = pytest.mark.django_db
DAILY = "0 9 * * *"


@pytest.fixture
def schedule(scene: Any) -> Callable[..., WorkflowSchedule]:
    """Return a function that schedules a workflow, daily unless told otherwise."""

    def make(of: Any = None, role: str = "editor", **fields: Any) -> WorkflowSchedule:
        given = {"name": "Every morning", "cron": DAILY} | fields
        workflow = of or scene.workflow(task("a"))
        return create_schedule(workflow, user=scene.users[role], **given)

    return make


def let_it_be_due(schedule: WorkflowSchedule, ago: float = 0) -> datetime:
    """Move a schedule's moment, and its timer, to now or some seconds ago."""
    moment = database_now() - timedelta(seconds=ago)
    WorkflowSchedule.objects.filter(pk=schedule.pk).update(next_at=moment)
    Timer.objects.filter(subject_id=schedule.pk).update(due_at=moment)
    return moment


def fire(now: datetime | None = None) -> None:
    """Fire what is due, as a driver does."""
    now = now or database_now()
    with transaction.atomic():
        append_events(timers.fire_due(now, 100), now)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        (DAILY, "UTC", "2026-01-01 08:59", "2026-01-01 09:00"),
        (DAILY, "UTC", "2026-01-01 09:00", "2026-01-02 09:00"),
        (DAILY, "Europe/Berlin", "2026-01-01 07:00", "2026-01-01 08:00"),
        (DAILY, "Europe/Berlin", "2026-07-01 06:00", "2026-07-01 07:00"),
        # A range of one value is that value, with a step too, and by whatever name.
        ("0 9-9 * * *", "UTC", "2026-01-01 09:00", "2026-01-02 09:00"),
        ("5-5/7 * * * *", "UTC", "2026-01-01 09:05", "2026-01-01 10:05"),
        ("0 9 15-15 * *", "UTC", "2026-01-01 09:00", "2026-01-15 09:00"),
        ("0 9 31-L * *", "UTC", "2026-01-31 09:00", "2026-03-31 09:00"),
        ("0 9 * mar-3 *", "UTC", "2026-01-01 09:00", "2026-03-01 09:00"),
        ("0 9 * * Mon-mon", "UTC", "2026-01-01 09:00", "2026-01-05 09:00"),
        ("0 9 * * mon-1#2", "UTC", "2026-01-01 09:00", "2026-01-12 09:00"),
        ("0 9 * * 7-07,wed", "UTC", "2026-01-01 09:00", "2026-01-04 09:00"),
        ("0 9 * * sun-7", "UTC", "2026-01-01 09:00", "2026-01-02 09:00"),
        ("0 0 29 2 *", "UTC", "2096-03-01 00:00", "2104-02-29 00:00"),
        # Clocks go forward: 02:30 does not exist on that day, and is kept at 03:30.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 01:30", "2026-03-30 00:30"),
        # Clocks go back: 02:30 comes twice on that day, and counts once …
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 00:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-26 01:30"),
        # … but what is for every hour is for that one too.
        ("30 * * * *", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 01:30"),
        ("*/15 * * * *", "Europe/Berlin", "2026-10-25 00:50", "2026-10-25 01:00"),
        ("*/15 * * * *", "Europe/Berlin", "2026-10-25 01:50", "2026-10-25 02:00"),
    ],
)
def test_moments_are_those_of_the_time_zone(cron, zone, after, expected) -> None:
    assert next_moment(cron, zone, utc(after)) == utc(expected)


def test_an_hourly_schedule_keeps_its_distance_all_year() -> None:
    moment = utc("2026-01-01 00:00")
    for _ in range(24 * 365):
        following = next_moment("0 * * * *", "Europe/Berlin", moment)
        assert following == moment + timedelta(hours=1)
        moment = following


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("cron", "* * * *", "invalid_cron"),
        ("cron", "* * * * * *", "invalid_cron"),
        ("cron", "@daily", "invalid_cron"),
        ("cron", "60 * * * *", "invalid_cron"),
        ("cron", "R * * * *", "invalid_cron"),
        ("cron", "H H * * *", "invalid_cron"),
        ("cron", "0 0 30 2 *", "never"),
        ("cron", "0 0 * * mon-mon#2,tue-tue", "never"),
        ("cron", "5-5/0 * * * *", "invalid_cron"),
        ("cron", "5-5-5 * * * *", "invalid_cron"),
        ("cron", "１ * * * *", "invalid_cron"),
        ("timezone", "Mars/Olympus", "unknown_timezone"),
        ("timezone", "../../etc/passwd", "unknown_timezone"),
        ("timezone", "", "unknown_timezone"),
        ("timezone", "Europe", "unknown_timezone"),
        ("name", " ", "invalid_name"),
        ("name", "a\u202eb", "invalid_name"),
        ("input_variables", {"unknown": 1}, "undeclared_variable"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is(schedule, field, value, kind) -> None:
    with pytest.raises(InvalidInput) as refusal:
        schedule(**{field: value})
    [problem] = refusal.value.problems
    assert (problem.error_type, problem.path.split("/")[1]) == (kind, field)
    assert not WorkflowSchedule.objects.exists()
    assert not Timer.objects.exists()


def test_editors_schedule_and_nobody_below(scene, schedule, outsider) -> None:
    with pytest.raises(NotPermitted):
        schedule(role="approver")
    kept = schedule()
    with pytest.raises(NotPermitted):
        change_schedule(kept.pk, user=scene.users["approver"], cron="0 1 * * *")
    with pytest.raises(NotPermitted):
        delete_schedule(kept.pk, user=scene.users["approver"])
    with pytest.raises(NotVisible):
        change_schedule(kept.pk, user=outsider, cron="0 1 * * *")


def test_a_name_is_there_once_a_workflow(scene, schedule) -> None:
    workflow = scene.workflow(task("a"))
    schedule(workflow)
    with pytest.raises(Conflict, match="already"):
        schedule(workflow)
    schedule()


def test_its_moment_starts_one_run_and_plans_the_next(scene, schedule) -> None:
    workflow = scene.workflow(task("a"), variables=[{"name": "x", "data_type": "int"}])
    kept = schedule(workflow, input_variables={"x": 7})
    let_it_be_due(kept)
    fire()
    run = WorkflowExecution.objects.get()
    assert (run.started_through, run.started_by) == ("schedule", scene.users["editor"])
    assert run.input_variables == {"x": 7}
    kept.refresh_from_db()
    assert kept.next_at > database_now()
    assert kept.last_started_at is not None
    timer = Timer.objects.get(subject_id=kept.pk)
    assert timer.due_at == kept.next_at


def test_the_same_moment_starts_nothing_twice(schedule) -> None:
    kept = schedule()
    moment = let_it_be_due(kept)
    now = database_now()
    fire(now)
    fire(now)
    # As if a driver had read the timer before another one fired it.
    Timer.objects.filter(subject_id=kept.pk).update(due_at=moment)
    fire(now)
    assert WorkflowExecution.objects.count() == 1


def test_missed_moments_start_one_run_together(schedule) -> None:
    kept = schedule(cron="* * * * *")
    let_it_be_due(kept, ago=3_600)
    fire()
    fire()
    assert WorkflowExecution.objects.count() == 1
    kept.refresh_from_db()
    assert kept.next_at > database_now()


@pytest.mark.django_db(transaction=True)
def test_drivers_that_come_at_once_start_it_once(schedule) -> None:
    for number in range(5):
        let_it_be_due(schedule(name=f"Schedule {number}"))
    now = database_now()
    at_once(4, lambda _: fire(now))
    assert WorkflowExecution.objects.count() == 5
    assert Timer.objects.count() == 5


@pytest.mark.django_db(transaction=True)
def test_an_engine_keeps_the_moment(schedule, engine) -> None:
    let_it_be_due(schedule())
    run = eventually(WorkflowExecution.objects.first, "a run")
    assert ended(run).status == "completed"


def test_who_has_left_starts_nothing_any_more(scene, schedule) -> None:
    kept = schedule()
    scene.users["editor"].is_active = False
    scene.users["editor"].save()
    let_it_be_due(kept)
    fire()
    kept.refresh_from_db()
    assert (kept.is_active, kept.next_at) == (False, None)
    assert "may no longer start" in kept.last_error
    assert not WorkflowExecution.objects.exists()
    assert not Timer.objects.exists()
    change_schedule(kept.pk, user=scene.users["admin"], is_active=True)
    let_it_be_due(kept)
    fire()
    assert WorkflowExecution.objects.get().started_by == scene.users["admin"]


def test_what_cannot_start_says_why_and_is_tried_at_the_next_moment(scene, schedule) -> None:
    document = {"name": "Draft", "steps": [task("a")]}
    draft = create_workflow(
        workspace=scene.workspace, document=document, user=scene.users["editor"], publish=False
    )
    let_it_be_due(schedule(draft))
    needs = scene.workflow(
        task("a"), variables=[{"name": "x", "data_type": "int", "is_required": True}]
    )
    optional = WorkflowSchedule.objects.create(
        workflow=needs, name="Old", cron=DAILY, created_by=scene.users["editor"]
    )
    change_schedule(optional.pk, user=scene.users["editor"], input_variables={"x": 1})
    WorkflowSchedule.objects.filter(pk=optional.pk).update(input_variables={})
    let_it_be_due(optional)
    fire()
    said = dict(WorkflowSchedule.objects.values_list("workflow__name", "last_error"))
    assert "has not been published" in said["Draft"]
    assert "“x” is required" in said[needs.name]
    assert not WorkflowExecution.objects.exists()
    assert Timer.objects.filter(due_at__gt=database_now()).count() == 2


def test_one_whose_inputs_no_longer_fit_can_be_switched_off_but_not_on(scene, schedule) -> None:
    editor = scene.users["editor"]
    kept = schedule()
    needed = [{"name": "x", "data_type": "int", "is_required": True}]
    change_draft(kept.workflow, {"variables": needed}, user=editor)
    publish(kept.workflow, user=editor)
    change_schedule(kept.pk, user=editor, is_active=False)
    assert not Timer.objects.exists()
    change_schedule(kept.pk, user=editor, name="Every evening", cron="0 18 * * *")
    for given in ({"is_active": True}, {"cron": "99 * * * *"}, {"input_variables": {"y": 1}}):
        with pytest.raises(InvalidInput):
            change_schedule(kept.pk, user=editor, **given)
    on = change_schedule(kept.pk, user=editor, is_active=True, input_variables={"x": 1})
    assert Timer.objects.get().due_at == on.next_at


def test_changing_it_moves_its_timer(scene, schedule) -> None:
    kept = schedule()
    changed = change_schedule(kept.pk, user=scene.users["editor"], cron="0 3 * * *")
    assert changed.next_at.hour == 3
    assert Timer.objects.get().due_at == changed.next_at
    change_schedule(kept.pk, user=scene.users["editor"], is_active=False)
    assert not Timer.objects.exists()


def test_deleting_it_deletes_its_timer(scene, schedule) -> None:
    kept = schedule()
    delete_schedule(kept.pk, user=scene.users["editor"])
    assert not WorkflowSchedule.objects.exists()
    assert not Timer.objects.exists()


def test_a_timer_outlives_its_workflow_harmlessly(scene, schedule) -> None:
    kept = schedule()
    let_it_be_due(kept)
    delete_workflow(kept.workflow, user=scene.users["editor"])
    fire()
    assert not Timer.objects.exists()
