"""What was decided: which requests, by whom, through which door, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property
from typing import Any, Final

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date

from approvals.models import (
    ApprovalDecision,
    ApprovalStatus,
    Door,
    Outcome,
    WorkflowStepApproval,
)
from approvals.pages.search import matching
from workflows.models import User, Workflow
from workflows.pages import Reader, Stretch, take_stretch

#: What a request can have ended with, in the order of the filter.
OUTCOMES: Final = [(s.value, s.label) for s in ApprovalStatus if s != ApprovalStatus.PENDING]
#: Who decides when no person does, in the filter.
SYSTEM: Final = "mgx"
_FILTERS: Final = ("q", "outcome", "by", "workflow", "risk", "door", "from", "to")
_PEOPLE_AT_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Line:
    """A request that was decided, and the decision that ended it; none if it was withdrawn."""

    approval: WorkflowStepApproval
    final: ApprovalDecision | None
    votes: int
    is_retracted: bool


class History:
    """The decided requests of the reader's workspace, the latest first.

    Args:
        asked: the query of the address: `q`, `outcome`, `by` (a user's id, or `mgx`), `workflow`,
            `risk`, `door`, `from` and `to` (dates, both included), `before` and `after` (the edge
            of another stretch).
    """

    def __init__(self, reader: Reader, asked: Mapping[str, str]) -> None:
        self.reader = reader
        self.asked = asked

    @property
    def is_filtered(self) -> bool:
        """Whether anything narrows the list."""
        return any(self.asked.get(name) for name in _FILTERS)

    @cached_property
    def stretch(self) -> Stretch[Line]:
        """The lines of this page."""
        asked = self.asked
        taken = self.take(before=asked.get("before"), after=asked.get("after"))
        return Stretch([line_of(each) for each in taken.rows], taken.newer, taken.older)

    def take(
        self, *, before: str | None = None, after: str | None = None, size: int = 50
    ) -> Stretch[WorkflowStepApproval]:
        """Return a stretch of the requests, with what a line says of them."""
        return take_stretch(
            _loaded(self._found), "responded_at", before=before, after=after, size=size
        )

    @cached_property
    def workflows(self) -> list[Workflow]:
        """The workflows to filter by."""
        visible = Workflow.objects.visible_to(self.reader.user)
        return list(visible.filter(workspace=self.reader.workspace).only("id", "name"))

    @cached_property
    def people(self) -> list[User]:
        """The people to filter by."""
        members = User.objects.filter(memberships__workspace=self.reader.workspace)
        return list(members.order_by("first_name", "username")[:_PEOPLE_AT_MOST])

    @property
    def _found(self) -> Any:
        asked = self.asked
        found = WorkflowStepApproval.objects.visible_to(self.reader.user)
        found = matching(
            found.filter(workspace=self.reader.workspace).decided(), asked, self.reader
        )
        if asked.get("outcome") in ApprovalStatus.values:
            found = found.filter(status=asked["outcome"])
        if asked.get("door") in Door.values:
            found = found.filter(_has_decision(door=asked["door"], is_final=True))
        by = asked.get("by", "")
        if by == SYSTEM:
            found = found.filter(_has_decision(user__isnull=True))
        elif by.isascii() and by.isdecimal() and len(by) < 19:
            found = found.filter(_has_decision(user_id=int(by)))
        if first := _midnight(asked.get("from")):
            found = found.filter(responded_at__gte=first)
        if last := _midnight(asked.get("to"), days=1):
            found = found.filter(responded_at__lt=last)
        return found


def line_of(approval: WorkflowStepApproval) -> Line:
    """Return the line of a request whose decisions are loaded."""
    decisions = list(approval.decisions.all())
    retracted = {each.retracts_id for each in decisions if each.outcome == Outcome.RETRACTED}
    final = next((each for each in decisions if each.is_final), None)
    return Line(
        approval=approval,
        final=final,
        votes=sum(not each.is_final and each.pk not in retracted for each in decisions),
        is_retracted=final is not None and final.pk in retracted,
    )


def _has_decision(**wanted: Any) -> Exists:
    return Exists(ApprovalDecision.objects.filter(approval=OuterRef("pk"), **wanted))


def _midnight(text: str | None, days: int = 0) -> datetime | None:
    """The beginning of a day of an address, or of the one so many days later."""
    try:
        date = parse_date(text) if text else None
        if date is None:
            return None
        return timezone.make_aware(datetime.combine(date, time()) + timedelta(days=days))
    except (ValueError, OverflowError):
        return None


def _loaded(found: Any) -> QuerySet[WorkflowStepApproval]:
    loaded: QuerySet[WorkflowStepApproval] = (
        found.select_related("workflow_execution__workflow", "requested_by", "approved_by")
        .defer(
            "approval_data",
            "description",
            "response_data",
            "workflow_execution__input_variables",
            "workflow_execution__output_data",
        )
        .prefetch_related("decisions__user", "decisions__on_behalf_of")
    )
    return loaded
