"""The files of a request under review: what a person says of one, and remarks on its lines."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from approvals.files import File, files_of, rolled_up
from approvals.models import ApprovalStatus, FileOutcome, FileReview, LineComment
from approvals.models import WorkflowStepApproval as Approval
from approvals.rights import can_decide
from approvals.services.decisions import MAX_FEEDBACK, already_decided
from approvals.services.records import approval_event
from approvals.services.requests import visible_approval
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import Conflict, InvalidInput, NotPermitted
from workflows.events import EventType, append_events
from workflows.models import User
from workflows.services.texts import check_text

__all__ = ["comment_line", "files_of", "review_file", "rolled_up"]


def review_file(
    approval_id: UUID,
    *,
    path: str,
    outcome: str,
    comment: str = "",
    user: User,
    digest: str | None = None,
) -> FileReview:
    """Record what ``user`` says of one file; saying it anew replaces it. It decides nothing yet.

    ``outcome``: ``approved``, ``rejected`` or ``request_changes``; the latter two need a
    ``comment``, or a remark of the user's on a line of the file. ``digest``: of what the user saw.

    Raises NotVisible, NotPermitted as a decision does, InvalidInput (``invalid_choice``,
    ``feedback_required``, ``unknown_file`` …), and Conflict ``already_decided`` or
    ``stale_digest``.
    """
    if outcome not in FileOutcome.values:
        raise _invalid("invalid_choice", "Approve, reject or request changes.", "/outcome")
    check_text("comment", comment, MAX_FEEDBACK)
    with transaction.atomic():
        now = database_now()
        approval = _open(approval_id, user, digest)
        eligibility = can_decide(user, approval)
        if not eligibility.allowed:
            raise NotPermitted(eligibility.why, code=eligibility.code)
        _file(approval, path)
        if outcome != FileOutcome.APPROVED and not comment.strip():
            remarks = LineComment.objects.filter(approval=approval, author=user, path=path)
            if not remarks.filter(digest=approval.digest).exists():
                what = "why you reject it" if outcome == "rejected" else "what should change"
                raise _invalid("feedback_required", f"Write {what}.", "/comment")
        review, _ = FileReview.objects.update_or_create(
            approval=approval,
            path=path,
            reviewer=user,
            defaults={
                "outcome": outcome,
                "comment": comment,
                "digest": approval.digest,
                "reviewed_at": now,
            },
        )
        _tell(approval, user, "reviewed in part", {"path": path, "outcome": outcome}, now)
    return review


def comment_line(
    approval_id: UUID,
    *,
    path: str,
    side: str,
    line: int,
    body: str,
    user: User,
    digest: str | None = None,
) -> LineComment:
    """Add a remark on a line, counted from 1, of a file before (``old``) or after (``new``).

    Raises NotVisible, InvalidInput (``required``, ``unknown_file``, ``unknown_line`` …), and
    Conflict ``already_decided`` or ``stale_digest``.
    """
    check_text("body", body, MAX_FEEDBACK, is_required=True)
    if side not in ("old", "new"):
        raise _invalid("invalid_choice", "A line is of the old or of the new file.", "/side")
    with transaction.atomic():
        now = database_now()
        approval = _open(approval_id, user, digest)
        count = len(_file(approval, path).lines("old" if side == "old" else "new"))
        if not 1 <= line <= count:
            raise _invalid("unknown_line", f"This side has {count} lines.", "/line")
        remark: LineComment = LineComment.objects.create(
            approval=approval,
            path=path,
            side=side,
            line=line,
            author=user,
            body=body,
            digest=approval.digest,
            created_at=now,
        )
        _tell(approval, user, "remarked on", {"path": path, "line": line, "side": side}, now)
    return remark


def _open(approval_id: UUID, user: User, digest: str | None) -> Approval:
    """Return the request, locked, if it still waits and is what the user saw."""
    approval = visible_approval(approval_id, user)
    Approval.objects.select_for_update().only("id").filter(pk=approval.pk).first()
    approval = visible_approval(approval_id, user)
    if approval.status != ApprovalStatus.PENDING:
        raise already_decided(approval)
    if digest is not None and digest != approval.digest:
        raise Conflict(
            "The content changed while you were reading. Your review was not recorded.",
            code="stale_digest",
            digest=approval.digest,
            revision=approval.revision,
        )
    return approval


def _file(approval: Approval, path: str) -> File:
    for file in files_of(approval):
        if file.path == path:
            return file
    raise _invalid("unknown_file", "This request has no such file.", "/path")


def _invalid(code: str, message: str, pointer: str) -> InvalidInput:
    return InvalidInput(message, [Problem("", code, message, pointer)], code=code)


def _tell(
    approval: Approval, user: User, words: str, facts: dict[str, object], now: datetime
) -> None:
    event = approval_event(approval, EventType.FILE_REVIEWED, words, actor=f"user:{user.username}")
    event.data |= facts
    append_events([event], now)
