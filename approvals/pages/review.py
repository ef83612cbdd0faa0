"""Several requests decided at once: what is asked, what was not read, what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

from django.http import QueryDict
from django.utils import timezone

from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.pages.inbox import Inbox
from approvals.pages.refusals import explain
from approvals.pages.request import read_ids, read_revision
from approvals.pages.rows import Row
from approvals.services.decisions import Decision, DecisionResult
from workflows.errors import MgxError
from workflows.pages import Reader
from workflows.wording import say_short_moment

AT_MOST: Final = 50
VERBS: Final = {
    "approved": "Approve",
    "request_changes": "Request changes to",
    "rejected": "Reject",
}


@dataclass(frozen=True, slots=True)
class Review:
    """What was chosen: which requests, which outcome, and what each reader saw of them.

    Attributes:
        seals: revision and digest as they stood in the form, by identifier.
    """

    ids: list[UUID]
    outcome: str
    feedback: str
    seals: Mapping[UUID, tuple[int, str]]

    def decisions(self) -> list[Decision]:
        """One decision for each request, on exactly what the form showed."""
        unseen = (0, "")
        return [
            Decision(
                approval_id=pk,
                outcome=self.outcome,
                feedback=self.feedback.strip().replace("\r\n", "\n"),
                revision=self.seals.get(pk, unseen)[0],
                digest=self.seals.get(pk, unseen)[1],
            )
            for pk in self.ids
        ]


@dataclass(frozen=True, slots=True)
class Line:
    """One request on the page, and what became of it.

    Attributes:
        asks_for_more: approving it needs a form to be filled in, which is on its own page.
        word: who decided it and when, for the badge of its status.
    """

    row: Row
    is_opened: bool
    asks_for_more: bool
    refusal: str
    is_recorded: bool
    word: str

    @property
    def is_decidable(self) -> bool:
        """Whether it can be decided on this page."""
        return self.row.is_decidable and not self.asks_for_more


class ReviewPage:
    """The page before and after several decisions.

    Args:
        opened: the revision that the reader has opened of each request, by identifier.
    """

    def __init__(
        self, reader: Reader, asked: Review, now: datetime, opened: Mapping[str, int]
    ) -> None:
        self.asked = asked
        self._reader = reader
        self._now = now
        self._opened = opened
        self.results: Sequence[DecisionResult | MgxError] | None = None
        self.is_posted = bool(asked.seals)

    @property
    def verb(self) -> str:
        return VERBS.get(self.asked.outcome, "Decide on")

    @property
    def needs_comment(self) -> bool:
        return self.asked.outcome in ("rejected", "request_changes")

    @property
    def error(self) -> str:
        """What keeps the decisions from being recorded; empty before anything is posted."""
        if not self.is_posted:
            return ""
        if self.asked.outcome not in VERBS:
            return "Choose what you decide."
        if self.needs_comment and not self.asked.feedback.strip():
            is_rejection = self.asked.outcome == "rejected"
            return "Write why you reject them." if is_rejection else "Write what should change."
        return ""

    @cached_property
    def lines(self) -> list[Line]:
        """The requests as they are now, each with what became of it."""
        shown = ",".join(map(str, self.asked.ids))
        rows = Inbox(self._reader, {"shown": shown}, self._now).rows if shown else []
        results = dict(zip(self.asked.ids, self.results or (), strict=False))
        return [self._line(row, results.get(row.approval.pk)) for row in rows]

    @property
    def count(self) -> int:
        return sum(line.is_decidable for line in self.lines)

    @property
    def whom(self) -> str:
        """Those that a comment is for."""
        return {1: "it", 2: "both"}.get(self.count, f"all {self.count}")

    @property
    def unopened(self) -> int:
        """How many the reader would decide on without having read them."""
        return sum(not line.is_opened for line in self.lines if line.is_decidable)

    @property
    def warning(self) -> str:
        """What has not been read, in words."""
        if self.unopened == self.count:
            return "You have opened none of them." if self.count > 1 else "You have not opened it."
        one = self.unopened == 1
        return f"You have not opened {'one' if one else self.unopened} of them."

    def _line(self, row: Row, result: DecisionResult | MgxError | None) -> Line:
        approval: WorkflowStepApproval = row.approval
        refusal = ""
        if isinstance(result, MgxError):
            refusal = explain(result, approval, self.asked.outcome)[1]
        required = (approval.approval_metadata.get("form_schema") or {}).get("required")
        return Line(
            row=row,
            is_opened=self._opened.get(str(approval.pk)) == approval.revision,
            asks_for_more=self.asked.outcome == "approved" and bool(required),
            refusal=refusal,
            is_recorded=isinstance(result, DecisionResult),
            word=self._say_decided(approval),
        )

    def _say_decided(self, approval: WorkflowStepApproval) -> str:
        if approval.status == "pending" or approval.responded_at is None:
            return ""
        label = ApprovalStatus(approval.status).label
        by = approval.approved_by
        if by is not None and by.pk == self._reader.user.pk:
            return f"{label} by you"
        who = (by.get_full_name() or by.get_username()) if by else "MGX"
        moment = timezone.localtime(approval.responded_at)
        return f"{label} by {who}, {say_short_moment(moment, self._now)}"


def read_review(sent: QueryDict) -> Review:
    """Read what a list or the page itself sent: `id`s, an outcome, a comment, and seals.

    A seal is `ID:REVISION:DIGEST`: what the page showed of a request.
    """
    seals = {}
    for text in sent.getlist("seal")[:AT_MOST]:
        identifier, _, rest = text.partition(":")
        revision, _, digest = rest.partition(":")
        for pk in read_ids([identifier], 1):
            seals[pk] = (read_revision(revision), digest)
    outcome = sent.get("outcome", "")
    return Review(
        ids=read_ids(sent.getlist("id"), AT_MOST),
        outcome=outcome if outcome in VERBS else "",
        feedback=sent.get("feedback", ""),
        seals=seals,
    )
