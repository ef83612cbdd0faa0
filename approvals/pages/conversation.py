"""What was said and done about a request, in the order in which it happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from approvals.models import (
    ApprovalComment,
    ApprovalDecision,
    ApprovalQuestion,
    Delegation,
    FileReview,
    WorkflowStepApproval,
)
from approvals.pages.form import DecisionForm
from approvals.services.clock import moment_after
from workflows.events import EventType
from workflows.models import Event, User

_DOORS: Final = {
    "page": "on this page",
    "admin": "in the admin",
    "api": "through the API",
    "link": "by the link in a mail",
    "grant": "by a standing grant",
    "system": "by itself",
}
_REVIEWED: Final = {
    "approved": "approved",
    "rejected": "rejected",
    "request_changes": "to be changed",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of what happened.

    Attributes:
        kind: `asked`, `comment`, `question`, `decision`, `delegation`, `reminder`, `escalation`,
            `grant` or `files`: which template says it.
        about: the row that it is told from.
        words: what was done, where the row does not say it.
        error, kept: what is wrong with an answer to a question, and what was written in it.
    """

    at: datetime
    kind: str
    person: User | None = None
    about: Any = None
    words: str = ""
    error: str = ""
    kept: str = ""


class Conversation:
    """The comments, questions, decisions and rights of one request.

    Args:
        decisions: all that were taken on it, with their users.
        form: what was posted and refused.
        may_answer: whether the reader may answer its questions.
    """

    def __init__(
        self,
        approval: WorkflowStepApproval,
        decisions: Iterable[ApprovalDecision],
        form: DecisionForm,
        *,
        may_answer: bool,
    ) -> None:
        self.approval = approval
        self.may_answer = may_answer
        self._form = form
        self._decisions = list(decisions)
        self.questions = list(
            ApprovalQuestion.objects.filter(approval=approval).select_related(
                "asked_by", "answered_by"
            )
        )

    @property
    def open_questions(self) -> list[ApprovalQuestion]:
        """The questions without an answer."""
        return [each for each in self.questions if each.answered_at is None]

    @property
    def entries(self) -> list[Entry]:
        """Everything in its order."""
        return sorted(self._entries(), key=lambda entry: entry.at)

    def _entries(self) -> Iterator[Entry]:
        approval = self.approval
        yield Entry(approval.requested_at, "asked", approval.requested_by)
        for comment in ApprovalComment.objects.filter(approval=approval).select_related("author"):
            yield Entry(comment.created_at, "comment", comment.author, comment)
        for question in self.questions:
            field = f"answer-{question.pk}"
            error, kept = self._form.errors.get(field, ""), self._form.kept.get(field, "")
            yield Entry(
                question.asked_at, "question", question.asked_by, question, error=error, kept=kept
            )
        for decision in self._decisions:
            words = say_door(decision)
            yield Entry(decision.decided_at, "decision", decision.user, decision, words)
        yield from self._rights()
        yield from self._grants()
        yield from self._reviews()

    def _rights(self) -> Iterator[Entry]:
        """Who was reminded, who came to it, and in whose place."""
        approval = self.approval
        for each in Delegation.objects.filter(approval=approval).select_related(
            "delegator", "delegate"
        ):
            yield Entry(each.created_at, "delegation", each.delegator, each)
            if each.revoked_at:
                yield Entry(each.revoked_at, "delegation", each.delegator, each, "revoked")
        for seconds in approval.approval_metadata.get("reminders", ()):
            if seconds <= approval.reminded_seconds:
                yield Entry(moment_after(approval, seconds), "reminder")
        if approval.escalated_at:
            added = [str(each) for each in approval.approvers.all() if each.is_escalation]
            yield Entry(approval.escalated_at, "escalation", words=", ".join(added))

    def _grants(self) -> Iterator[Entry]:
        """Which grants could not tell whether they count."""
        if self.approval.workflow_execution_id is None:
            return
        told = Event.objects.of_execution(self.approval.workflow_execution_id).filter(
            event_type=EventType.GRANT_NOT_APPLIED, approval_id=self.approval.pk
        )
        for event in told:
            yield Entry(event.timestamp, "grant", about=event)

    def _reviews(self) -> Iterator[Entry]:
        by_person: dict[User, list[FileReview]] = {}
        for review in FileReview.objects.filter(approval=self.approval).select_related("reviewer"):
            by_person.setdefault(review.reviewer, []).append(review)
        for person, reviews in by_person.items():
            counts = Counter(review.outcome for review in reviews)
            words = ", ".join(f"{count} {_REVIEWED[what]}" for what, count in counts.items())
            yield Entry(max(each.reviewed_at for each in reviews), "files", person, words=words)


def say_door(decision: ApprovalDecision) -> str:
    """Through which door a decision came, in words."""
    return _DOORS.get(decision.door, decision.door)
