"""How a request is decided: the one function behind the page, the admin, the API and the timers.

Everything is judged at that moment, in the transaction that records it: the person's right, the
status, the deadline, and that the content is what the person saw. The status moves by one
conditional update, so of many who decide at once exactly one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.models import (
    ApprovalDecision,
    ApprovalStatus,
    Door,
    WorkflowStepApproval,
)
from approvals.rights import MAY_DECIDE, explain_refusal
from approvals.services.records import (
    decision_events,
    forget_timers,
    wake_executions,
    write_outcomes,
)
from approvals.timers import expire
from workflows.bulk import (
    as_moment,
    as_uuid,
    insert_objects,
    now_sql,
    select,
    select_objects,
    together,
)
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.events import EventDraft, append_events
from workflows.models import User

MAX_FEEDBACK = 10_000


@dataclass(slots=True)
class Decision:
    """What a person says to a request.

    ``outcome``: ``approved``, ``rejected`` or ``request_changes``; the latter two need
    ``feedback``. ``digest`` and ``revision`` are those of what the person saw; where given, they
    must still hold.
    """

    approval_id: UUID
    outcome: str
    feedback: str = ""
    response_data: Any = None
    digest: str | None = None
    revision: int | None = None


@dataclass(slots=True)
class DecisionResult:
    """The request as it is now.

    ``repeated``: this person had decided just this before. ``is_final``: the request has ended; a
    vote that does not yet meet its rule leaves it pending.
    """

    approval: WorkflowStepApproval
    repeated: bool = False
    is_final: bool = True


def decide(decision: Decision, *, user: User, door: Door) -> DecisionResult:
    """Record what ``user`` decides, and wake the engine.

    Raises:
        NotVisible: no such request, or of a foreign workspace.
        NotPermitted: ``not_an_approver``, ``self_approval``.
        InvalidInput: ``feedback_required``, or the outcome or the response is wrong.
        Conflict: ``already_decided`` (with ``status``, ``decided_by``, ``decided_at``),
            ``expired``, ``execution_ended``, ``stale_digest`` (with ``digest``, ``revision``).
    """
    result = decide_many([decision], user=user, door=door)[0]
    if isinstance(result, MgxError):
        raise result
    return result


def decide_many(
    decisions: Sequence[Decision], *, user: User, door: Door
) -> list[DecisionResult | MgxError]:
    """Record several decisions in one transaction; return a result or a refusal for each."""
    results: dict[int, DecisionResult | MgxError] = {}
    for index, decision in enumerate(decisions):
        if (mistake := _malformed(decision)) is not None:
            results[index] = mistake
    with transaction.atomic():
        ids = {d.approval_id for index, d in enumerate(decisions) if index not in results}
        now, live = _lock_executions(ids, user)
        approvals = _lock(ids, user)
        accepted: list[tuple[WorkflowStepApproval, Decision]] = []
        expired: list[WorkflowStepApproval] = []
        for index, decision in enumerate(decisions):
            if index in results:
                continue
            approval = approvals.get(decision.approval_id)
            refusal = _refusal(approval, decision, user, live, now)
            if refusal is None:
                assert approval is not None
                accepted.append((approval, decision))
                _apply(approval, decision, user, now)
                results[index] = DecisionResult(approval)
            elif approval is not None and _repeats(approval, decision, user):
                results[index] = DecisionResult(approval, repeated=True)
            else:
                results[index] = refusal
                if refusal.code == "expired" and approval is not None:
                    expired.append(approval)
        events = expire([approval.id for approval in expired], now)
        with together():
            append_events(_record(accepted, user, door, now) + events, now)
    return [results[index] for index in range(len(decisions))]


def _malformed(decision: Decision) -> InvalidInput | None:
    """Return what is wrong with a decision before any request is looked at."""

    def refuse(code: str, message: str, pointer: str) -> InvalidInput:
        return InvalidInput(message, [Problem("", code, message, pointer)], code=code)

    if decision.outcome not in ("approved", "rejected", "request_changes"):
        return refuse("invalid_choice", "Approve, reject or request changes.", "/outcome")
    if len(decision.feedback) > MAX_FEEDBACK:
        message = f"Write at most {MAX_FEEDBACK} characters."
        return refuse("too_long", message, "/feedback")
    if decision.outcome != "approved" and not decision.feedback.strip():
        what = "why you reject it" if decision.outcome == "rejected" else "what should change"
        return refuse("feedback_required", f"Write {what}.", "/feedback")
    for name in ("feedback", "response_data"):
        try:
            dumps_canonical(getattr(decision, name))
        except UnstorableError as error:
            return refuse(error.reason, error.message, f"/{name}{error.path or ''}")
    return None


def _lock_executions(approval_ids: set[UUID], user: User) -> tuple[datetime, set[UUID]]:
    """Lock the live executions of those requests that ``user`` sees; return the time and their ids.

    Executions come before requests in the lock order, and among themselves by id.
    """
    rows = select(
        "WITH locked AS (SELECT id FROM workflows_workflowexecution"
        " WHERE completed_at IS NULL AND id IN ("
        "SELECT a.workflow_execution_id FROM workflow_step_approvals a"
        " JOIN workflows_membership m ON m.workspace_id = a.workspace_id"
        " WHERE a.id = ANY(%s) AND m.user_id = %s) ORDER BY id FOR UPDATE)"
        f" SELECT {now_sql()}, locked.id FROM (SELECT 1) AS once LEFT JOIN locked ON true",
        list(approval_ids), user.pk,
    )  # fmt: skip
    # The last row's time: the one after all the locks.
    now = as_moment(rows[-1][0]) or database_now()
    return now, {as_uuid(row[1]) for row in rows if row[1]}


def _lock(ids: set[UUID], user: User) -> dict[UUID, WorkflowStepApproval]:
    """Lock the requests that ``user`` sees; each says in ``is_permitted`` whether they may."""
    rows = select_objects(
        WorkflowStepApproval,
        "WHERE id = ANY(%s) AND workspace_id IN ("
        "SELECT m.workspace_id FROM workflows_membership m"
        " JOIN workflows_user u ON u.id = m.user_id WHERE m.user_id = %s AND u.is_active)"
        " ORDER BY id FOR UPDATE",
        user.pk, list(ids), user.pk,
        extra=MAY_DECIDE,
    )  # fmt: skip
    for approval, is_permitted in rows:
        approval.is_permitted = is_permitted
    return {approval.id: approval for approval, _ in rows}


def _refusal(
    approval: Any, decision: Decision, user: User, live: set[UUID], now: datetime
) -> MgxError | None:
    """Return why the decision cannot be taken, or None."""
    if approval is None:
        return NotVisible("There is no such request.")
    if not approval.is_permitted:
        eligibility = explain_refusal(user, approval)
        return NotPermitted(eligibility.why, code=eligibility.code)
    if approval.status != ApprovalStatus.PENDING:
        return already_decided(approval)
    if approval.workflow_execution_id and approval.workflow_execution_id not in live:
        return Conflict("The run has ended; nothing is left to decide.", code="execution_ended")
    if approval.expires_at and approval.expires_at <= now:
        return Conflict(
            "This request has expired. It can no longer be decided.",
            code="expired",
            expired_at=approval.expires_at,
        )
    is_stale = decision.digest is not None and decision.digest != approval.digest
    if is_stale or (decision.revision is not None and decision.revision != approval.revision):
        return Conflict(
            "The content changed while you were reading. Your decision was not recorded.",
            code="stale_digest",
            digest=approval.digest,
            revision=approval.revision,
        )
    return None


def already_decided(approval: WorkflowStepApproval) -> Conflict:
    """Return the refusal that names who decided, what and when."""
    label = ApprovalStatus(approval.status).label.lower()
    who = (
        (approval.approved_by.get_full_name() or approval.approved_by.username)
        if (approval.approved_by)
        else "MGX"
    )
    return Conflict(
        f"{who} was before you: this is {label}. Your decision was not recorded.",
        code="already_decided",
        status=approval.status,
        decided_by=approval.approved_by.username if approval.approved_by else None,
        decided_at=approval.responded_at,
    )


def _repeats(approval: WorkflowStepApproval, decision: Decision, user: User) -> bool:
    return approval.approved_by_id == user.pk and approval.status == decision.outcome


def _apply(approval: WorkflowStepApproval, decision: Decision, user: User, now: datetime) -> None:
    approval.status = decision.outcome
    approval.approved_by = user
    approval.feedback = decision.feedback
    approval.response_data = decision.response_data
    approval.responded_at = now
    approval.updated_at = now


def _record(
    accepted: list[tuple[WorkflowStepApproval, Decision]], user: User, door: Door, now: datetime
) -> list[EventDraft]:
    """Write the accepted decisions, whose rows are locked and were pending; return the events."""
    if not accepted:
        return []
    write_outcomes([approval for approval, _ in accepted])
    insert_objects(
        [
            ApprovalDecision(
                approval=approval,
                user=user,
                outcome=decision.outcome,
                comment=decision.feedback,
                response_data=decision.response_data,
                digest=approval.digest,
                revision=approval.revision,
                door=door,
                decided_at=now,
            )
            for approval, decision in accepted
        ]
    )
    forget_timers([approval.id for approval, _ in accepted])
    wake_executions([a.workflow_execution_id for a, _ in accepted if a.workflow_execution_id], now)
    return decision_events([approval for approval, _ in accepted], actor=f"user:{user.username}")
