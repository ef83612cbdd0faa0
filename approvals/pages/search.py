"""What narrows a list of requests, as it stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from approvals.models import Risk
from approvals.services.clock import AUTO_APPROVE, EXPIRY
from workflows.clock import in_utc
from workflows.models import Timer, User, Workflow
from workflows.pages import Reader, read_words

DEADLINES: Final = {"hour": "Within the hour", "today": "Today", "week": "Within a week"}
ASKED: Final = {"hour": "In the last hour", "day": "In the last day", "week": "In the last week"}
_AGES: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}
#: What acts on a request when nobody decides; other timers only remind.
SILENCE: Final = (AUTO_APPROVE, EXPIRY)
#: Names that a word is looked for in; more workflows or people than this share no word.
_NAMES_AT_MOST: Final = 200


def matching(found: Any, asked: Mapping[str, str], reader: Reader) -> Any:
    """Narrow requests by `q`, `workflow`, `project` and `risk`."""
    if words := read_words(asked.get("q")):
        found = found.filter(_mentions(words, reader))
    if workflow_id := read_id(asked.get("workflow")):
        found = found.filter(workflow_execution__workflow_id=workflow_id)
    if project_id := read_id(asked.get("project")):
        found = found.filter(project_id=project_id)
    if asked.get("risk") in Risk.values:
        found = found.filter(risk=asked["risk"])
    return found


def asked_since(found: Any, asked: Mapping[str, str], now: datetime) -> Any:
    """Narrow requests by `asked`: how long ago they were made."""
    if age := _AGES.get(asked.get("asked", "")):
        return found.filter(requested_at__gte=now - age)
    return found


def due_before(found: Any, asked: Mapping[str, str], now: datetime) -> Any:
    """Narrow pending requests by `deadline`: when silence acts, by the timer that will."""
    until = _deadline(asked.get("deadline"), now)
    if until is None:
        return found
    due = Timer.objects.filter(kind__in=SILENCE, due_at__lte=until)
    return found.filter(pk__in=due.values("subject_id"))


def _mentions(words: str, reader: Reader) -> Q:
    """The condition that a title, a workflow's name or the requester's holds the words.

    Workflows and people are few: they are looked up first, so that the many requests are compared
    with their keys.
    """
    workflows = Workflow.objects.filter(workspace=reader.workspace, name__icontains=words)
    people = User.objects.filter(
        Q(username__icontains=words) | _full_name(words), memberships__workspace=reader.workspace
    )
    found = Q(title__icontains=words)
    if ids := _keys(workflows):
        found |= Q(workflow_execution__workflow_id__in=ids)
    if ids := _keys(people):
        found |= Q(requested_by_id__in=ids)
    return found


def _full_name(words: str) -> Q:
    first, _, last = words.partition(" ")
    if last.strip():
        return Q(first_name__iendswith=first, last_name__istartswith=last.strip())
    return Q(first_name__icontains=words) | Q(last_name__icontains=words)


def _keys(found: QuerySet[Any]) -> list[Any]:
    return list(found.values_list("pk", flat=True)[:_NAMES_AT_MOST])


def _deadline(word: str | None, now: datetime) -> datetime | None:
    match word:
        case "hour":
            return now + _AGES["hour"]
        case "today":
            tomorrow = timezone.localtime(now) + timedelta(days=1)
            return tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)
        case "week":
            return now + _AGES["week"]
    return None


def read_moment(text: str | None) -> datetime | None:
    """A moment of an address, with its zone; None for anything else."""
    try:
        moment = parse_datetime(text) if text else None
        return in_utc(moment) if moment else None
    except ValueError:
        return None


def read_id(text: str | None) -> UUID | None:
    """An identifier of an address; None for anything else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
