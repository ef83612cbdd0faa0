"""How a request is decided: the one function behind the page, the admin, the API and the timers.

Everything is judged at that moment, in the transaction that records it: the person's right, the
status, the deadline, and that the content is what the person saw. The status moves by one
conditional update, so of many who decide at once exactly one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from approvals.files import contradiction
from approvals.models import ApprovalStatus, Door, WorkflowStepApproval
from approvals.rights import DELEGATED, RIGHT, explain_refusal
from approvals.services.chain import Heads, lock_heads, read_heads
from approvals.services.edits import edited_payload
from approvals.services.votes import Ballot, BallotBox
from approvals.timers import expire
from workflows.bulk import (
    as_moment,
    as_uuid,
    now_sql,
    query_objects,
    read_objects,
    select_each,
    together,
)
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import Conflict, InvalidInput, MgxError, NotPermitted, NotVisible
from workflows.events import append_events
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
        InvalidInput: ``feedback_required``, ``invalid_response``, or the outcome is wrong.
        Conflict: ``already_decided`` (with ``status``, ``decided_by``, ``decided_at``),
            ``expired``, ``execution_ended``, ``stale_digest`` (with ``digest``, ``revision``),
            ``revision_limit`` (with ``max_revisions``), ``files_contradict`` and
            ``files_not_reviewed``: the person said something else of the files.
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
        held = _lock(list(ids), user)
        judge = _Judge(user, door, held)
        for index, decision in enumerate(decisions):
            if index not in results:
                approval = held.approvals.get(decision.approval_id)
                results[index] = judge.take(approval, decision)
        events = expire(judge.expired, held.now) if judge.expired else []
        with together():
            append_events(judge.box.write() + events, held.now)
    return [results[index] for index in range(len(decisions))]


class _Held(NamedTuple):
    """What a transaction has locked: ``live`` are the ids of the executions that have not ended."""

    now: datetime
    live: set[UUID]
    approvals: dict[UUID, Any]
    heads: Heads


class _Judge:
    """Takes decisions of one person on locked requests, one after the other, or refuses them."""

    def __init__(self, user: User, door: Door, held: _Held) -> None:
        self.expired: list[UUID] = []
        self.box = BallotBox(held.now, held.heads)
        self._user = user
        self._door = door
        self._live = held.live
        self._now = held.now
        seen = [(approval, user.pk) for approval in held.approvals.values()]
        self.box.read(seen)
        self.box.read_delegates([pair for pair in seen if pair[0].right == DELEGATED])

    def take(self, approval: Any, decision: Decision) -> DecisionResult | MgxError:
        """Count a decision, unless this person had decided just this before."""
        refusal = self._refusal(approval, decision)
        if refusal is not None:
            if approval is not None and self._repeats(approval, decision):
                return DecisionResult(approval, repeated=True)
            if refusal.code == "expired":
                self.expired.append(approval.id)
            return refusal
        has_voted = decision.outcome == "approved" and self.box.has_vote_of(approval, self._user)
        stale = _stale(approval, decision)
        if stale is not None and not has_voted:
            return stale
        try:
            payload = edited_payload(approval, decision.outcome, decision.response_data)
        except InvalidInput as mistake:
            return mistake
        # A repeat may name the digest from before the edit that came with the first.
        if has_voted and payload is None:
            return DecisionResult(approval, repeated=True, is_final=False)
        return stale or self._count(approval, decision, payload)

    def _count(self, approval: Any, decision: Decision, payload: Any) -> DecisionResult:
        ballot = Ballot(
            approval,
            self._user,
            decision.outcome,
            self._door,
            feedback=decision.feedback,
            response_data=decision.response_data,
            payload=payload,
            is_delegate=approval.right == DELEGATED,
        )
        record = self.box.add(ballot)
        is_final = record is not None and record.is_final
        return DecisionResult(approval, repeated=record is None, is_final=is_final)

    def _refusal(self, approval: Any, decision: Decision) -> MgxError | None:
        """Return why the decision cannot be taken, or None."""
        if approval is None:
            return NotVisible("There is no such request.")
        is_delegate = approval.right == DELEGATED
        if not approval.right or (is_delegate and not self.box.delegators(approval, self._user)):
            eligibility = explain_refusal(self._user, approval)
            return NotPermitted(eligibility.why, code=eligibility.code)
        if approval.status != ApprovalStatus.PENDING:
            return already_decided(approval)
        if approval.workflow_execution_id and approval.workflow_execution_id not in self._live:
            return Conflict("The run has ended; nothing is left to decide.", code="execution_ended")
        is_running = approval.clock_stopped_at is None
        if is_running and approval.expires_at and approval.expires_at <= self._now:
            return Conflict(
                "This request has expired. It can no longer be decided.",
                code="expired",
                expired_at=approval.expires_at,
            )
        limit = _beyond_limit(approval, decision)
        return limit or contradiction(approval, decision.outcome, self._user)

    def _repeats(self, approval: WorkflowStepApproval, decision: Decision) -> bool:
        if approval.status != decision.outcome:
            return False
        is_winner = approval.approved_by_id == self._user.pk
        return is_winner or self.box.has_vote_of(approval, self._user)


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


def _lock(approval_ids: list[UUID], user: User) -> _Held:
    """Lock those requests that ``user`` sees; each says in ``right`` by which they may decide.

    Executions come before requests in the lock order, chains of records after them, and each
    among themselves by id.
    """
    executions = (
        "WITH locked AS (SELECT id FROM workflows_workflowexecution"
        " WHERE completed_at IS NULL AND id IN ("
        "SELECT a.workflow_execution_id FROM workflow_step_approvals a"
        " JOIN workflows_membership m ON m.workspace_id = a.workspace_id"
        " WHERE a.id = ANY(%s) AND m.user_id = %s) ORDER BY id FOR UPDATE)"
        f" SELECT {now_sql()}, locked.id FROM (SELECT 1) AS once LEFT JOIN locked ON true"
    )
    requests = query_objects(
        WorkflowStepApproval,
        "WHERE id = ANY(%s) AND workspace_id IN ("
        "SELECT m.workspace_id FROM workflows_membership m"
        " JOIN workflows_user u ON u.id = m.user_id WHERE m.user_id = %s AND u.is_active)"
        " ORDER BY id FOR UPDATE",
        extra=RIGHT,
    )
    live, found, heads = select_each(
        [
            (executions, [approval_ids, user.pk]),
            (requests, [user.pk, approval_ids, user.pk]),
            lock_heads(approval_ids),
        ]
    )
    approvals = read_objects(WorkflowStepApproval, found)
    for approval, right in approvals:
        approval.right = right
    return _Held(
        # The last row's time: the one after all the executions' locks.
        now=as_moment(live[-1][0]) or database_now(),
        live={as_uuid(row[1]) for row in live if row[1]},
        approvals={approval.id: approval for approval, _ in approvals},
        heads=read_heads(heads),
    )


def _stale(approval: WorkflowStepApproval, decision: Decision) -> Conflict | None:
    """Return the refusal of a decision on what is no longer shown, or None."""
    is_stale = decision.digest is not None and decision.digest != approval.digest
    if is_stale or (decision.revision is not None and decision.revision != approval.revision):
        return Conflict(
            "The content changed while you were reading. Your decision was not recorded.",
            code="stale_digest",
            digest=approval.digest,
            revision=approval.revision,
        )
    return None


def _beyond_limit(approval: WorkflowStepApproval, decision: Decision) -> Conflict | None:
    """Return the refusal of one request for changes too many, or None."""
    limit = approval.approval_metadata.get("max_revisions")
    if decision.outcome != "request_changes" or limit is None or approval.revision_count < limit:
        return None
    return Conflict(
        f"This was revised {approval.revision_count} times, as often as it may be. "
        "Approve it or reject it.",
        code="revision_limit",
        max_revisions=limit,
        revision=approval.revision,
    )


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
