"""Schedules: workflows that start by the clock, and how their moments are found.

A schedule that is active has one timer. The engine fires it in the transaction that starts the
run and plans the next moment, so a moment starts one run and no more; moments that passed while
no engine was running start one together.
"""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from django.db import transaction
from pydantic import TypeAdapter, ValidationError

from workflows.bulk import wake_engine
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.core.names import Name
from workflows.errors import Conflict, InvalidInput, MgxError, NotVisible
from workflows.events import EventDraft
from workflows.models import Membership, Role, Timer, User, Workflow, WorkflowSchedule
from workflows.services.access import require_role
from workflows.services.executions import check_inputs, start_scheduled

TIMER_KIND = "schedule"
MAX_CRON = 100
_FIELDS = ("name", "cron", "timezone", "input_variables")
#: The 29th of February comes again within so many years, also around 2100.
_YEARS_AHEAD = 9
#: How far clocks are set back or forward at most.
_LONGEST_SHIFT = timedelta(hours=3)
# Fields that croniter fills in at random or by a hash, differently each time it is asked.
_UNSTEADY = re.compile(r"(?i)(?<![a-z])[rh](?![a-z])")
# A range, with a step or without.
_RANGE = re.compile(r"(\w+)-(\w+)(?:/\d+)?")
# Of days and months; L is the last day.
_NUMBER_OF = {name: number for names in croniter.ALPHACONV for name, number in names.items()}
_NUMBER_OF["l"] = 31
_name: TypeAdapter[str] = TypeAdapter(Name)


def create_schedule(
    workflow: Workflow,
    *,
    user: User,
    name: str,
    cron: str,
    timezone: str = "UTC",
    input_variables: dict[str, Any] | None = None,
    is_active: bool = True,
) -> WorkflowSchedule:
    """Let a workflow start by the clock, in the name of ``user``, and return the schedule.

    Raises NotVisible, NotPermitted, InvalidInput with a pointer for each wrong value, and
    Conflict ``name_taken``.
    """
    require_role(user, workflow.workspace_id, Role.EDITOR)
    schedule = WorkflowSchedule(
        workflow=workflow,
        name=name,
        cron=cron,
        timezone=timezone,
        input_variables=input_variables or {},
        is_active=is_active,
        created_by=user,
    )
    with transaction.atomic():
        _check(schedule, _FIELDS)
        _save(schedule, database_now())
    return schedule


def change_schedule(schedule_id: UUID, *, user: User, **changes: Any) -> WorkflowSchedule:
    """Set some of ``name``, ``cron``, ``timezone``, ``input_variables`` and ``is_active``.

    Whoever switches a schedule on answers for its runs from then on. One that is off then may
    say what does not fit any more, in what is not changed. Raises as ``create_schedule`` does.
    """
    with transaction.atomic():
        schedule = _take(schedule_id, user)
        if changes.get("is_active") and not schedule.is_active:
            schedule.created_by = user
            schedule.last_error = ""
        for field, value in changes.items():
            setattr(schedule, field, value)
        _check(schedule, _FIELDS if schedule.is_active else changes)
        _save(schedule, database_now())
    return schedule


def delete_schedule(schedule_id: UUID, *, user: User) -> None:
    """Let a workflow start no more by this clock. Raises NotVisible and NotPermitted."""
    with transaction.atomic():
        schedule = _take(schedule_id, user)
        Timer.objects.filter(kind=TIMER_KIND, subject_id=schedule.pk).delete()
        schedule.delete()


def next_moment(cron: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first moment of a schedule after ``after``, in UTC; None if there is none.

    A time that the clocks leave out in spring is kept that much later. Of an hour that they show
    twice in autumn the first one counts, unless the schedule is for every hour.
    """
    zone = ZoneInfo(timezone)
    is_hourly = cron.split()[1].startswith("*")
    local = after.astimezone(zone).replace(tzinfo=None) - _LONGEST_SHIFT
    second_time: list[datetime] = []
    try:
        read = _RANGE.sub(_single_value, cron)
        steps = croniter(read, local, max_years_between_matches=_YEARS_AHEAD)
        while True:
            wall: datetime = steps.get_next(datetime).replace(tzinfo=zone)
            first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
            if is_hourly and second > max(first, after):
                second_time.append(second)
            if first > after:
                return min([first, *second_time])
    except (CroniterError, OverflowError):
        return min(second_time, default=None)


def _single_value(part: re.Match[str]) -> str:
    """Return a range of one value as that value: croniter takes it for all that there are."""
    low, high = (
        int(end) if end.isdecimal() else _NUMBER_OF.get(end.lower()) for end in part.groups()
    )
    return part[1] if low == high else part[0]


def start_due(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Start a run for each schedule whose moment has come, and plan its next one (a handler of
    timers)."""
    due = WorkflowSchedule.objects.filter(id__in=subject_ids, is_active=True, next_at__lte=now)
    # Each start locks its workflow's row, and whoever deletes a workflow its schedules after it.
    workflows = due.order_by("workflow_id").values_list("workflow_id", flat=True)
    locked = Workflow.objects.filter(id__in=list(workflows)).order_by("id")
    list(locked.select_for_update().values_list("id", flat=True))
    schedules = due.order_by("workflow_id", "id").select_for_update(of=("self",))
    events = []
    for schedule in schedules.select_related("workflow", "created_by"):
        events += _start(schedule, now)
        _plan(schedule, now)
        schedule.save()
    return events


def _start(schedule: WorkflowSchedule, now: datetime) -> list[EventDraft]:
    starter = schedule.created_by
    if starter is None or not _may_start(starter, schedule):
        schedule.is_active = False
        schedule.last_error = (
            "Whoever set this up may no longer start the workflow. Switch it on again to answer"
            " for its runs yourself."
        )
        return []
    try:
        _, event = start_scheduled(schedule.workflow, schedule.input_variables, started_by=starter)
    except MgxError as error:
        schedule.last_error = _say(error)
        return []
    schedule.last_started_at = now
    schedule.last_error = ""
    return [event]


def _may_start(user: User, schedule: WorkflowSchedule) -> bool:
    return Membership.objects.filter(
        user=user,
        user__is_active=True,
        workspace_id=schedule.workflow.workspace_id,
        role__in=Role.from_(Role.OPERATOR),
    ).exists()


def _say(error: MgxError) -> str:
    problems = error.problems if isinstance(error, InvalidInput) else []
    return " ".join([f"{error.message}.", *(f"{p.message}." for p in problems)])[:2_000]


def _take(schedule_id: UUID, user: User) -> WorkflowSchedule:
    """Lock a schedule that the user may change."""
    visible = WorkflowSchedule.objects.visible_to(user).filter(id=schedule_id)
    schedule: WorkflowSchedule | None = (
        visible.select_for_update(of=("self",)).select_related("workflow").first()
    )
    if schedule is None:
        raise NotVisible("There is no such schedule")
    require_role(user, schedule.workflow.workspace_id, Role.EDITOR)
    return schedule


def _check(schedule: WorkflowSchedule, fields: Collection[str]) -> None:
    """Refuse what is wrong with these fields of a schedule, all of it at once."""
    problems = []
    try:
        _name.validate_python(schedule.name)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        problems.append(Problem("", "invalid_name", f"The name {said}", "/name"))
    has_zone = _is_timezone(schedule.timezone)
    if not has_zone:
        message = "A time zone is named like Europe/Berlin"
        problems.append(Problem("", "unknown_timezone", message, "/timezone"))
    if said := _refuse_cron(schedule.cron):
        problems.append(Problem("", "invalid_cron", said, "/cron"))
    elif has_zone and not next_moment(schedule.cron, schedule.timezone, database_now()):
        problems.append(Problem("", "never", "This moment never comes", "/cron"))
    problems += check_inputs(schedule.workflow, schedule.input_variables)
    problems = [problem for problem in problems if problem.path.split("/")[1] in fields]
    if problems:
        raise InvalidInput("The schedule cannot be kept like this", problems)
    same = WorkflowSchedule.objects.filter(workflow=schedule.workflow, name=schedule.name)
    if same.exclude(id=schedule.id).exists():
        raise Conflict(f"The workflow has a schedule “{schedule.name}” already", code="name_taken")


def _refuse_cron(cron: str) -> str:
    """Return what is wrong with an expression, "" if nothing is."""
    if len(cron) > MAX_CRON or len(cron.split()) != 5 or not cron.isascii():
        return "Five fields: minute, hour, day of the month, month, day of the week"
    if _UNSTEADY.search(cron) or not croniter.is_valid(cron):
        return f"“{cron}” is no cron expression, as “30 9 * * mon-fri” is"
    return ""


def _is_timezone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True


def _save(schedule: WorkflowSchedule, now: datetime) -> None:
    _plan(schedule, now)
    schedule.save()
    wake_engine()


def _plan(schedule: WorkflowSchedule, now: datetime) -> None:
    """Set the next moment of a schedule and its timer; a new one, for a fired one is deleted."""
    is_on = schedule.is_active
    schedule.next_at = next_moment(schedule.cron, schedule.timezone, now) if is_on else None
    Timer.objects.filter(kind=TIMER_KIND, subject_id=schedule.pk).delete()
    if schedule.next_at is not None:
        Timer.objects.create(
            workspace_id=schedule.workflow.workspace_id,
            kind=TIMER_KIND,
            subject_id=schedule.pk,
            due_at=schedule.next_at,
        )
