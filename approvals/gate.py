"""Steps of type ``approval``: they open a request, and end as it is decided."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.services.grants import look_for_grants
from approvals.services.records import decision_events
from approvals.services.requests import Request, open_requests, required_event, withdraw
from workflows.bulk import as_moment, as_uuid, select
from workflows.core.approval import ON_TIMEOUT, Approval
from workflows.core.canonical import MAX_BYTES, MAX_DEPTH, dumps_canonical
from workflows.core.ids import step_execution_id
from workflows.core.outcomes import Completed, Failed, Outcome, Revise
from workflows.core.steps import ApprovalStep
from workflows.events import SYSTEM, EventDraft
from workflows.handlers import Opening, StepContext

#: The gate fails if nobody decides: who escalates, or approves, has done so before.
_SILENCE_FAILS = ("fail", "approve", "escalate")
_KEPT = {
    "min_approvals",
    "policy",
    "form_schema",
    "reminders",
    "escalate_after_seconds",
    "escalate_to",
}


class _Decided(NamedTuple):
    """What a request came to; ``rules`` is its ``approval_metadata``."""

    status: str
    rules: dict[str, Any]
    payload: Any
    feedback: str
    response_data: Any
    digest: str
    decided_by: str | None

    @classmethod
    def read(cls, row: Sequence[Any]) -> "_Decided":
        status, rules, payload, feedback, data, digest, decided_by = row
        answer = data and json.loads(data)
        return cls(
            status, json.loads(rules), json.loads(payload), feedback, answer, digest, decided_by
        )


class _Before(NamedTuple):
    """The request before the one that a step opens now, and when its work had been sent back."""

    id: UUID
    revision_count: int
    revised_at: datetime | None


class ApprovalGate:
    """Opens requests in the transaction in which their steps begin to wait."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Ask for the decisions; return an ``approval_required`` event for each."""
        before = _requests_before([opening.context for opening in openings])
        requests = [
            _request(opening, before.get(opening.context.step_execution_id)) for opening in openings
        ]
        approvals = open_requests(requests, now)
        look_for_grants([approval.id for approval in approvals], now)
        return [required_event(approval, actor=SYSTEM) for approval in approvals]

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of the steps whose latest request was decided.

        There is one after a decision that was taken back, and one for each time that a step asks.
        """
        rows = select(
            "SELECT step_execution_id, status, approval_metadata, approval_data, feedback,"
            " response_data, digest,"
            " (SELECT u.username FROM workflows_user u WHERE u.id = approved_by_id)"
            " FROM workflow_step_approvals a"
            " WHERE step_execution_id = ANY(%s) AND status <> 'pending'"
            " AND NOT EXISTS (SELECT 1 FROM workflow_step_approvals again"
            " WHERE again.step_execution_id = a.step_execution_id"
            " AND (again.requested_at, again.id) > (a.requested_at, a.id))",
            list(step_execution_ids),
        )
        return {as_uuid(row[0]): _outcome(_Decided.read(row[1:])) for row in rows}

    def waits_for_people(self, step_execution_ids: Sequence[UUID]) -> Collection[UUID]:
        """Return all of them, for people are what an approval is about."""
        return step_execution_ids

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Withdraw the open requests of executions that have ended."""
        open_ids = (
            WorkflowStepApproval.objects.pending()
            .filter(workflow_execution_id__in=execution_ids)
            .values_list("id", flat=True)
        )
        return decision_events(withdraw(open_ids, now), actor=actor)

    def withdraw(
        self, step_execution_ids: Sequence[UUID], now: datetime, actor: str
    ) -> list[EventDraft]:
        """Withdraw the open requests of steps that were stopped."""
        open_ids = (
            WorkflowStepApproval.objects.pending()
            .filter(step_execution_id__in=step_execution_ids)
            .values_list("id", flat=True)
        )
        return decision_events(withdraw(open_ids, now), actor=actor)


def _requests_before(contexts: Sequence[StepContext]) -> dict[UUID, _Before]:
    """Return the latest request of each step that had one in an earlier revision."""
    steps = {
        step_execution_id(context.execution_id, context.name, revision): context.step_execution_id
        for context in contexts
        for revision in range(1, context.revision)
    }
    if not steps:
        return {}
    rows = select(
        "SELECT a.step_execution_id, a.id, a.revision_count, s.revised_at"
        " FROM workflow_step_approvals a"
        " JOIN workflows_workflowstepexecution s ON s.id = a.step_execution_id"
        " WHERE a.step_execution_id = ANY(%s) ORDER BY s.revision, a.requested_at, a.id",
        list(steps),
    )
    # The last of a step's is the latest.
    return {
        steps[as_uuid(step_id)]: _Before(as_uuid(request_id), count, as_moment(revised_at))
        for step_id, request_id, count, revised_at in rows
    }


def _request(opening: Opening, before: _Before | None) -> Request:
    context = opening.context
    approval = opening.approval
    assert approval is not None
    return Request(
        workspace_id=context.workspace_id,
        title=opening.texts["title"],
        description=opening.texts["description"],
        approval_data=opening.payload,
        required_approvers=approval.approvers,
        auto_approve_after_seconds=approval.auto_approve_after_seconds,
        expires_after_seconds=approval.expires_after_seconds,
        risk=approval.risk,
        prevent_self_approval=approval.prevent_self_approval,
        rules=_rules(opening, approval),
        project_id=context.project_id,
        requested_by_id=context.started_by_id,
        execution_id=context.execution_id,
        step_execution_id=context.step_execution_id,
        revision_count=_revision_count(context, before),
        parent_approval_id=before.id if before else None,
    )


def _revision_count(context: StepContext, before: _Before | None) -> int:
    """Return how often the work was done anew; a gate that failed may be retried without that."""
    if before is None:
        return 0
    return before.revision_count + (context.revised_at != before.revised_at)


def _rules(opening: Opening, approval: Approval) -> dict[str, Any]:
    """Return what a request keeps of its gate's rules besides its columns.

    Only where something can be done anew, it has ``revise``, and ``max_revisions``; only where a
    step has stopped to ask, ``asked_by_step``.
    """
    rules = approval.model_dump(mode="json", include=_KEPT, exclude_defaults=True)
    if opening.revises:
        rules |= {"revise": opening.revises, "max_revisions": approval.max_revisions}
    if not isinstance(opening.context.step, ApprovalStep):
        rules["asked_by_step"] = True
    return {"on_reject": approval.on_reject, "on_timeout": approval.on_timeout, **rules}


def _outcome(decided: _Decided) -> Outcome:
    match decided.status:
        case ApprovalStatus.APPROVED:
            return _completed(decided)
        case ApprovalStatus.REJECTED if (then := decided.rules.get("on_reject", "fail")) != "fail":
            return _completed(decided, then)
        case ApprovalStatus.REJECTED:
            return _refused(decided, "approval_rejected", "rejected it")
        case ApprovalStatus.REQUEST_CHANGES if decided.rules.get("revise"):
            output = _answer(decided)
            return Revise(decided.feedback, output, _text(output))
        case ApprovalStatus.REQUEST_CHANGES:
            return _refused(decided, "changes_requested", "asked for changes")
        case ApprovalStatus.TIMEOUT if (
            then := decided.rules.get("on_timeout", "fail")
        ) not in _SILENCE_FAILS:
            return _completed(decided, then)
        case ApprovalStatus.TIMEOUT:
            message = "Nobody decided in time"
            return Failed("approval_timeout", message, is_final=True, is_timeout=True)
        case _:
            return Failed("approval_cancelled", "The request was cancelled", is_final=True)


def _completed(decided: _Decided, then: str = "continue") -> Completed:
    output = _answer(decided)
    return Completed(output, _text(output), goes_to="" if then in ON_TIMEOUT else then)


def _answer(decided: _Decided) -> dict[str, object]:
    """Return the step's output: the decision, its words and data in places of their own, and
    ``payload``, exactly what was decided on."""
    return {
        "approved": decided.status == ApprovalStatus.APPROVED,
        "status": decided.status,
        "decided_by": decided.decided_by,
        "feedback": decided.feedback,
        "response_data": decided.response_data,
        "digest": decided.digest,
        "payload": decided.payload,
    }


def _text(output: dict[str, object]) -> str:
    """Return an answer's JSON: longer than other outputs by what people have added."""
    return dumps_canonical(output, max_bytes=3 * MAX_BYTES, max_depth=MAX_DEPTH + 1)


def _refused(decided: _Decided, code: str, words: str) -> Failed:
    who = decided.decided_by or "MGX"
    return Failed(code, f"{who} {words}: {decided.feedback}"[:2_000], is_final=True)
