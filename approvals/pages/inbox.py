"""What the inbox shows: what waits for the reader, for others, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from approvals.models import Risk, WorkflowStepApproval
from approvals.pages.following import Following, Silence, silence_of
from approvals.pages.people import say_needed
from workflows.models import Project, Timer, Workflow, WorkflowVersion
from workflows.pages import Listing, Reader, read_words, take_page

TABS: Final = {"": "Waiting for you", "others": "Waiting for others", "decided": "Decided"}
SHOWN_AT_MOST: Final = 100
COUNT_AT_MOST: Final = 1_000
NEAR: Final = timedelta(hours=1)
#: What silence ends first comes first; what waits without end comes last.
BY_DEADLINE: Final = (F("due_at").asc(nulls_last=True), "requested_at", "pk")
DEADLINES: Final = {"hour": "Within the hour", "today": "Today", "week": "Within a week"}
ASKED: Final = {"hour": "In the last hour", "day": "In the last day", "week": "In the last week"}
_AGES: Final = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One request in the list."""

    approval: WorkflowStepApproval
    starts: SafeString
    needed: str
    silence: Silence
    share_left: float
    is_near: bool
    is_decidable: bool
    group: str

    @property
    def is_decided(self) -> bool:
        """Whether it only stays so that nothing moves under the reader."""
        return self.approval.status != "pending"


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the lists, with how many are in it; None where nobody should count."""

    key: str
    label: str
    count: int | None

    @property
    def words(self) -> str:
        """The count as it is shown."""
        if self.count is None:
            return ""
        return f"{COUNT_AT_MOST:,}+" if self.count > COUNT_AT_MOST else f"{self.count:,}"


class Inbox:
    """The requests of the reader's workspace, by tab and filters.

    Args:
        asked: the query of the address: `tab`, `q`, `workflow`, `project`, `deadline`, `asked`,
            `risk`, `page`; and from a list that refreshes itself, `shown` (the identifiers of its
            rows) and `since` (when it was first rendered).
    """

    def __init__(self, reader: Reader, asked: Mapping[str, str], now: datetime) -> None:
        self.reader = reader
        self.now = now
        self.asked = asked
        self.tab = asked.get("tab", "") if asked.get("tab", "") in TABS else ""
        self.since = parse_since(asked.get("since")) or now
        self._shown = _identifiers(asked.get("shown"))
        self._visible = WorkflowStepApproval.objects.visible_to(reader.user).filter(
            workspace=reader.workspace
        )
        self._mine = WorkflowStepApproval.objects.decidable_by(reader.user).filter(
            workspace=reader.workspace
        )

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the tab narrows the list."""
        names = ("q", "workflow", "project", "deadline", "asked", "risk")
        return any(self.asked.get(name) for name in names)

    @cached_property
    def tabs(self) -> list[Tab]:
        """The three lists with their counts; what was ever decided is not counted."""
        mine, pending = _count(self._mine), _count(self._visible.pending())
        counts = {"": mine, "others": max(0, pending - mine), "decided": None}
        return [Tab(key, label, counts[key]) for key, label in TABS.items()]

    @property
    def mine(self) -> int:
        """How many wait for the reader."""
        return self.tabs[0].count or 0

    @property
    def others(self) -> int:
        """How many wait for other people."""
        return self.tabs[1].count or 0

    @cached_property
    def near(self) -> int:
        """How many of the reader's own are due within the hour."""
        return _count(_with_due(self._mine).filter(due_at__lte=self.now + NEAR))

    @cached_property
    def new(self) -> int:
        """How many have come since the list was rendered, and wait to be shown."""
        if not self._shown or self.tab == "decided":
            return 0
        later = self._filtered.filter(requested_at__gt=self.since)
        return _count(later.exclude(pk__in=self._shown))

    @cached_property
    def listing(self) -> Listing[WorkflowStepApproval]:
        """The requests of this page; a list that refreshes itself keeps its rows and order."""
        if not self._shown:
            return take_page(_loaded(self._filtered), self.asked.get("page"))
        kept = {each.pk: each for each in _loaded(self._visible.filter(pk__in=self._shown))}
        return Listing([kept[pk] for pk in self._shown if pk in kept], 1, 0, 0)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows with what each of them starts."""
        found = self.listing.rows
        versions = {a.workflow_execution.version_id for a in found if a.workflow_execution}
        definitions = {
            version.pk: version.definition
            for version in WorkflowVersion.objects.filter(pk__in=versions).only("definition")
        }
        mine = set(self._mine.filter(pk__in=[a.pk for a in found]).values_list("pk", flat=True))
        return [self._row(a, definitions, is_decidable=a.pk in mine) for a in found]

    def _row(
        self, approval: WorkflowStepApproval, definitions: Mapping[UUID, Any], *, is_decidable: bool
    ) -> Row:
        run = approval.workflow_execution
        following = Following(approval, definitions.get(run.version_id) if run else None)
        silence = silence_of(approval)
        left = (silence.at - self.now) if silence.at else None
        whole = (silence.at - approval.requested_at) if silence.at else None
        return Row(
            approval=approval,
            starts=following.starts(),
            needed=say_needed(approval, self.reader.user),
            silence=silence,
            share_left=left / whole if left and whole else 1.0,
            is_near=left is not None and left <= NEAR,
            is_decidable=is_decidable,
            group=self._group(approval, silence),
        )

    def _group(self, approval: WorkflowStepApproval, silence: Silence) -> str:
        today = timezone.localdate(self.now)
        if self.tab == "decided":
            moment = approval.responded_at or approval.requested_at
            return "Today" if timezone.localdate(moment) == today else "Earlier"
        if silence.at is None:
            return "Later"
        if silence.at <= self.now + NEAR:
            return "Within the hour"
        return "Today" if timezone.localdate(silence.at) == today else "Later"

    @cached_property
    def workflows(self) -> list[Workflow]:
        """The workflows to filter by."""
        visible = Workflow.objects.visible_to(self.reader.user)
        return list(visible.filter(workspace=self.reader.workspace).only("id", "name"))

    @cached_property
    def projects(self) -> list[Project]:
        """The projects to filter by."""
        return list(Project.objects.filter(workspace=self.reader.workspace))

    @cached_property
    def _filtered(self) -> Any:
        """The rows of this tab and these filters, in the order of the list."""
        if self.tab == "decided":
            found = self._filter(self._visible.decided())
            return found.order_by("-responded_at", "-pk")
        found = self._mine if self.tab == "" else self._of_others()
        found = self._filter(_with_due(found))
        return found.order_by(*BY_DEADLINE)

    def _of_others(self) -> Any:
        own = self._mine.filter(pk=OuterRef("pk"))
        return self._visible.pending().filter(~Exists(own))

    def _filter(self, found: Any) -> Any:
        asked = self.asked
        if words := read_words(asked.get("q")):
            found = found.filter(title__icontains=words)
        if workflow_id := _identifier(asked.get("workflow")):
            found = found.filter(workflow_execution__workflow_id=workflow_id)
        if project_id := _identifier(asked.get("project")):
            found = found.filter(project_id=project_id)
        if asked.get("risk") in Risk.values:
            found = found.filter(risk=asked["risk"])
        if age := _AGES.get(asked.get("asked", "")):
            found = found.filter(requested_at__gte=self.now - age)
        if self.tab != "decided" and (until := self._deadline()):
            found = found.filter(due_at__lte=until)
        return found

    def _deadline(self) -> datetime | None:
        match self.asked.get("deadline"):
            case "hour":
                return self.now + NEAR
            case "today":
                tomorrow = timezone.localtime(self.now) + timedelta(days=1)
                return tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)
            case "week":
                return self.now + timedelta(days=7)
        return None


def next_to(reader: Reader, approval_id: UUID) -> tuple[list[UUID], int]:
    """The identifiers of what waits for the reader, and where one of them is (-1: nowhere)."""
    mine = WorkflowStepApproval.objects.decidable_by(reader.user).filter(workspace=reader.workspace)
    ordered = _with_due(mine).order_by(*BY_DEADLINE)
    found = list(ordered.values_list("pk", flat=True)[:SHOWN_AT_MOST])
    return found, found.index(approval_id) if approval_id in found else -1


def parse_since(text: str | None) -> datetime | None:
    """The moment that a list says it was rendered at; None for anything else."""
    try:
        moment = parse_datetime(text) if text else None
    except ValueError:
        return None
    return moment if moment is not None and timezone.is_aware(moment) else None


def _with_due(found: Any) -> Any:
    """Add `due_at`: when silence acts, by the timer that will."""
    timers = Timer.objects.filter(subject_id=OuterRef("pk")).order_by("due_at")
    return found.annotate(due_at=Subquery(timers.values("due_at")[:1]))


def _loaded(found: Any) -> QuerySet[WorkflowStepApproval]:
    loaded: QuerySet[WorkflowStepApproval] = (
        found.select_related(
            "step_execution",
            "workflow_execution__workflow",
            "project",
            "requested_by",
            "approved_by",
        )
        .prefetch_related("approvers__user", "approvers__group")
        .defer(
            "approval_data",
            "description",
            "response_data",
            "step_execution__input_data",
            "step_execution__output_data",
            "workflow_execution__input_variables",
            "workflow_execution__output_data",
        )
    )
    return loaded


def _count(found: Any) -> int:
    """How many, without walking far beyond what is said."""
    return int(found[: COUNT_AT_MOST + 1].count())


def _identifier(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _identifiers(text: str | None) -> list[UUID]:
    parts = (text or "").split(",", SHOWN_AT_MOST)[:SHOWN_AT_MOST]
    return [found for part in parts if (found := _identifier(part))]
