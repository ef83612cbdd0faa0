"""What the inbox shows: what waits for the reader, and what waits for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.db.models import F, OuterRef, Subquery

from approvals.models import WorkflowStepApproval
from approvals.pages.rows import NEAR, Row, rows_of
from approvals.pages.search import (
    SILENCE,
    asked_since,
    due_before,
    matching,
    read_id,
    read_moment,
)
from approvals.rights import may_decide
from workflows.models import Project, Timer, Workflow
from workflows.pages import Listing, Reader, take_page

TABS: Final = {"": "Waiting for you", "others": "Waiting for others"}
SHOWN_AT_MOST: Final = 100
#: Requests of one page.
PAGE: Final = 25
#: A list ends here, and no count goes further: its filters lead to what is behind.
LISTED_AT_MOST: Final = 1_000
#: What silence ends first comes first; what waits without end comes last.
BY_DEADLINE: Final = (F("due_at").asc(nulls_last=True), "requested_at", "pk")
_FILTERS: Final = ("q", "workflow", "project", "deadline", "asked", "risk")


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
        return f"{LISTED_AT_MOST:,}+" if self.count > LISTED_AT_MOST else f"{self.count:,}"


class Inbox:
    """The requests of the reader's workspace that wait, by tab and filters.

    Who may decide is asked once, of what could wait for the reader; everything else works on the
    identifiers that this gave.

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
        self.since = read_moment(asked.get("since")) or now
        self._shown = _identifiers(asked.get("shown"))
        # The page has just found the reader to be a member; asked of every row again, it would
        # cost more than all the rest.
        self._pending = WorkflowStepApproval.objects.filter(workspace=reader.workspace).pending()

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the tab narrows the list."""
        return any(self.asked.get(name) for name in _FILTERS)

    @cached_property
    def tabs(self) -> list[Tab]:
        """The lists with their counts."""
        pending = self._pending[: LISTED_AT_MOST + 1].count()
        is_more = pending > LISTED_AT_MOST
        others = pending if is_more else max(0, pending - self.mine)
        counts = {"": self.mine, "others": others}
        return [Tab(key, label, counts[key]) for key, label in TABS.items()]

    @property
    def mine(self) -> int:
        """How many wait for the reader."""
        return len(self._waiting)

    @property
    def others(self) -> Tab:
        """The list of what waits for other people."""
        return self.tabs[1]

    @cached_property
    def near(self) -> int:
        """How many of the reader's own are due within the hour."""
        until = self.now + NEAR
        return sum(due is not None and due <= until for due in self._waiting.values())

    @cached_property
    def new(self) -> int:
        """How many have come since the list was rendered, and wait to be shown."""
        if not self._shown:
            return 0
        later = self._narrowed.filter(requested_at__gt=self.since).exclude(pk__in=self._shown)
        count: int = later[: LISTED_AT_MOST + 1].count()
        return count

    @property
    def listed_at_most(self) -> str:
        return f"{LISTED_AT_MOST:,}"

    @cached_property
    def is_cut(self) -> bool:
        """Whether the list ends before all that it is about."""
        return not self._shown and len(self._listed) >= LISTED_AT_MOST

    @cached_property
    def listing(self) -> Listing[Row]:
        """The rows of this page; a list that refreshes itself keeps its rows and their order."""
        if self._shown:
            return Listing(self._rows(self._shown), 1, 0, 0)
        taken = take_page(self._listed, self.asked.get("page"), PAGE)
        return Listing(self._rows(taken.rows), taken.number, taken.previous, taken.next)

    @property
    def rows(self) -> list[Row]:
        return self.listing.rows

    def _rows(self, ids: Sequence[UUID]) -> list[Row]:
        return rows_of(self.reader, ids, self.now)

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
    def _waiting(self) -> dict[UUID, datetime | None]:
        """What waits for the reader and when silence acts on it, by deadline."""
        return waiting_for(self.reader)

    @cached_property
    def _listed(self) -> list[UUID]:
        """The identifiers of the list, in its order."""
        if self.tab == "" and not self.is_filtered:
            return list(self._waiting)
        if self.tab == "" and self._knows_all:
            found = set(self._narrowed.values_list("pk", flat=True))
            return [pk for pk in self._waiting if pk in found]
        # Only the order of the index is cheap among very many; the few that it gives are put
        # into that of their deadlines.
        first = self._narrowed.order_by(F("expires_at").asc(nulls_last=True), "pk")
        few = list(first.values_list("pk", flat=True)[:LISTED_AT_MOST])
        return list(_by_deadline(WorkflowStepApproval.objects.filter(pk__in=few)))

    @cached_property
    def _narrowed(self) -> Any:
        """The requests of this tab that the filters let through."""
        found = self._own if self.tab == "" else self._of_others
        found = matching(found, self.asked, self.reader)
        found = asked_since(found, self.asked, self.now)
        return due_before(found, self.asked, self.now)

    @property
    def _knows_all(self) -> bool:
        return len(self._waiting) <= LISTED_AT_MOST

    @property
    def _own(self) -> Any:
        if self._knows_all:
            return self._pending.filter(pk__in=list(self._waiting))
        return _decidable(self.reader)

    @property
    def _of_others(self) -> Any:
        if self._knows_all:
            return self._pending.exclude(pk__in=list(self._waiting))
        return self._pending.exclude(may_decide(self.reader.user))


def waiting_for(reader: Reader) -> dict[UUID, datetime | None]:
    """Return what waits for the reader and when silence acts on it, the earliest first.

    One more than a list holds is the most.
    """
    return _by_deadline(_decidable(reader))


def next_to(reader: Reader, approval_id: UUID) -> tuple[list[UUID], int]:
    """The identifiers of what waits for the reader, and where one of them is (-1: nowhere)."""
    found = list(waiting_for(reader))[:SHOWN_AT_MOST]
    return found, found.index(approval_id) if approval_id in found else -1


def _decidable(reader: Reader) -> Any:
    return WorkflowStepApproval.objects.decidable_by(reader.user).filter(workspace=reader.workspace)


def _by_deadline(found: Any) -> dict[UUID, datetime | None]:
    timers = Timer.objects.filter(subject_id=OuterRef("pk"), kind__in=SILENCE).order_by("due_at")
    found = found.annotate(due_at=Subquery(timers.values("due_at")[:1])).order_by(*BY_DEADLINE)
    return dict(found.values_list("pk", "due_at")[: LISTED_AT_MOST + 1])


def _identifiers(text: str | None) -> list[UUID]:
    parts = (text or "").split(",", SHOWN_AT_MOST)[:SHOWN_AT_MOST]
    return [found for part in parts if (found := read_id(part))]
